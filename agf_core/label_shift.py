"""What music is there: how probable each genre is before anything has been heard.

A model's probabilities hold for music made up like that which it has learnt from. For music that is
made up in another way they are reweighted, and how it is made up can be estimated without a label,
from the probabilities alone (Saerens, Latinne and Decaestecker, "Adjusting the Outputs of a
Classifier to New a Priori Probabilities", Neural Computation 14, 2002).

A prior is np.ndarray [shape=(n_labels,), dtype=float64]: shares above 0 that sum to 1.
"""

import numpy as np

SMALLEST_SHARE = 1e-9
ROUNDING = 1e-3  # by which shares that were written down may miss 1 together
FEWEST_TRACKS = 0.5  # that a genre counts as, even if nothing was learnt from it
LEARNT_COUNTS_AS = 20.0  # tracks, beside those that are heard
MOST_STEPS = 1_000
STEADY = 1e-6  # change of a share by a step, below which the estimate stands


def check_prior(prior: np.ndarray, n_labels: int) -> None:
    """See that numbers are a prior; `ValueError` where they are none."""
    if prior.shape != (n_labels,):
        raise ValueError("its prior has another size")
    # Said so that a share that is no number fails, too.
    if not (prior.min() >= SMALLEST_SHARE and abs(prior.sum() - 1) <= ROUNDING):
        raise ValueError("its prior is not made of shares that sum to 1")


def check_probabilities(probabilities: np.ndarray, n_labels: int) -> None:
    """See that numbers are what a model hears in one or more tracks; `ValueError` otherwise."""
    if probabilities.ndim != 2 or probabilities.shape[1] != n_labels:
        raise ValueError(f"probabilities have shape {probabilities.shape}, not (n, {n_labels})")
    if not len(probabilities):
        raise ValueError("there is no track")
    sums = probabilities.sum(axis=1)
    if not (probabilities.min() >= 0 and np.abs(sums - 1).max() <= ROUNDING):
        raise ValueError("not every row is made of probabilities that sum to 1")


def training_prior(targets: np.ndarray) -> np.ndarray:
    """Return the prior of a model that learnt from these targets.

    Parameters
    ----------
    targets : np.ndarray [shape=(n_tracks, n_labels)]
        Of the genre, with the weights they have in the loss; rows of NaN do not count.
    """
    tracks = np.maximum(np.nansum(targets, axis=0, dtype=np.float64), FEWEST_TRACKS)
    result: np.ndarray = tracks / tracks.sum()
    return result


def adjust_prior(probabilities: np.ndarray, learnt: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Turn probabilities that hold for one prior into those that hold for another.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(..., n_labels)]
        Calibrated.
    learnt, wanted : np.ndarray [shape=(n_labels,)]
        The prior of the model, and the other one.
    """
    weights = probabilities * (wanted / learnt)
    result: np.ndarray = weights / weights.sum(axis=-1, keepdims=True)
    return result


def estimate(probabilities: np.ndarray, learnt: np.ndarray) -> np.ndarray:
    """Estimate the prior of tracks from what a model hears in them.

    The most probable prior, found by expectation maximisation as Saerens et al. (2002) do, but with
    a Dirichlet distribution of priors around that of the model: it counts as some more tracks, so
    that a few that are heard make no genre impossible.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_labels)]
        Calibrated.
    learnt : np.ndarray [shape=(n_labels,)]
        The prior of the model.

    Raises
    ------
    ValueError
        When there is no track, or the sizes differ, or a row is not made of probabilities.
    """
    check_probabilities(probabilities, len(learnt))
    shares = np.array(learnt)
    for _ in range(MOST_STEPS):
        tracks = adjust_prior(probabilities, learnt, shares).sum(axis=0) + LEARNT_COUNTS_AS * learnt
        before, shares = shares, tracks / tracks.sum()
        if np.abs(shares - before).max() < STEADY:
            break
    return np.maximum(shares, SMALLEST_SHARE)
