"""Adjust probabilities to the class prior of a collection, and estimate that prior.

The probabilities of a model hold for music with the class balance of its training set. For another
class balance they are reweighted. The balance of a collection can be estimated without labels, from
the probabilities alone (Saerens, Latinne and Decaestecker, "Adjusting the Outputs of a
Classifier to New a Priori Probabilities", Neural Computation 14, 2002).

A prior is an np.ndarray [shape=(n_labels,), dtype=float64]: shares above 0 that sum to 1.
"""

import numpy as np

SMALLEST_SHARE = 1e-9
ROUNDING = 1e-3  # by which the sum of stored shares may differ from 1
FEWEST_TRACKS = 0.5  # that a genre counts as, even without a training track
PRIOR_TRACKS = 20.0  # that the prior of the model counts as, beside the predicted tracks
MOST_STEPS = 1_000
CONVERGED_CHANGE = 1e-6  # change of a share in a step, below which the estimate has converged


def check_prior(prior: np.ndarray, n_labels: int) -> None:
    """Raise `ValueError` where numbers are not a prior."""
    if prior.shape != (n_labels,):
        raise ValueError("its prior has another size")
    # Written so that NaN fails, too.
    if not (prior.min() >= SMALLEST_SHARE and abs(prior.sum() - 1) <= ROUNDING):
        raise ValueError("its prior is not made of shares that sum to 1")


def check_probabilities(probabilities: np.ndarray, n_labels: int) -> None:
    """Raise `ValueError` where numbers are not probabilities of one or more tracks."""
    if probabilities.ndim != 2 or probabilities.shape[1] != n_labels:
        raise ValueError(f"probabilities have shape {probabilities.shape}, not (n, {n_labels})")
    if not len(probabilities):
        raise ValueError("there is no track")
    sums = probabilities.sum(axis=1)
    if not (probabilities.min() >= 0 and np.abs(sums - 1).max() <= ROUNDING):
        raise ValueError("not every row is made of probabilities that sum to 1")


def training_prior(targets: np.ndarray) -> np.ndarray:
    """Return the prior of a model that was trained on these targets.

    Parameters
    ----------
    targets : np.ndarray [shape=(n_tracks, n_labels)]
        Genre targets, with their weights in the loss; rows of NaN do not count.
    """
    tracks = np.maximum(np.nansum(targets, axis=0, dtype=np.float64), FEWEST_TRACKS)
    result: np.ndarray = tracks / tracks.sum()
    return result


def adjust_prior(probabilities: np.ndarray, trained: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Convert probabilities that hold for one prior to those for another.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(..., n_labels)]
        Calibrated.
    trained, wanted : np.ndarray [shape=(n_labels,)]
        The prior of the model, and the other one.
    """
    weights = probabilities * (wanted / trained)
    result: np.ndarray = weights / weights.sum(axis=-1, keepdims=True)
    return result


def estimate(probabilities: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Estimate the class prior of tracks from the predictions of a model.

    The most probable prior, found by expectation maximisation as in Saerens et al. (2002), but with
    a Dirichlet distribution around the prior of the model, which counts as `PRIOR_TRACKS` tracks:
    few predictions never make a genre impossible.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_labels)]
        Calibrated.
    trained : np.ndarray [shape=(n_labels,)]
        The prior of the model.

    Raises
    ------
    ValueError
        When there is no track, or the sizes differ, or a row is not made of probabilities.
    """
    check_probabilities(probabilities, len(trained))
    shares: np.ndarray = np.array(trained)
    for _ in range(MOST_STEPS):
        tracks = adjust_prior(probabilities, trained, shares).sum(axis=0) + PRIOR_TRACKS * trained
        before, shares = shares, tracks / tracks.sum()
        if np.abs(shares - before).max() < CONVERGED_CHANGE:
            break
    result: np.ndarray = np.maximum(shares, SMALLEST_SHARE)
    return result
