"""Adjust probabilities to the class prior of a collection, and estimate that prior.

The probabilities of a model hold for music with the class balance of its training set. For another
class balance they are reweighted. The balance of a collection is estimated from its tags, and where
there are none from the mean of the probabilities, which is the first step of the method of Saerens,
Latinne and Decaestecker ("Adjusting the Outputs of a Classifier to New a Priori Probabilities",
Neural Computation 14, 2002). Its further steps amplify what a model does wrong on a collection.

A prior is an np.ndarray [shape=(n_labels,), dtype=float64]: shares above 0 that sum to 1.
"""

import numpy as np

SMALLEST_SHARE = 1e-9
ROUNDING = 1e-3  # by which the sum of stored shares may differ from 1
FEWEST_TRACKS = 0.5  # that a genre counts as, even without a training track
PRIOR_TRACKS = 20.0  # that the prior of the model counts as, beside the tracks of a collection
TRAINING_SHARE = 0.25  # of the model's prior in an estimate: no genre becomes 4 times as rare


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


def estimate(
    trained: np.ndarray,
    probabilities: np.ndarray,
    tagged: np.ndarray,
    n_others: int,
    training_share: float = TRAINING_SHARE,
) -> np.ndarray:
    """Estimate the class prior of a collection, of which some tracks are tagged.

    Every track counts once: a tagged one for its genre, any other for the mean prediction of those
    that have been analysed. The prior of the model counts as `PRIOR_TRACKS` further tracks in both,
    and makes up a share of the result.

    Parameters
    ----------
    trained : np.ndarray [shape=(n_labels,)]
        The prior of the model.
    probabilities : np.ndarray [shape=(n_tracks, n_labels)]
        Calibrated predictions of a sample of the tracks without a tag; may be empty.
    tagged : np.ndarray [shape=(n_labels,)]
        Number of tracks of each genre.
    n_others : int
        Number of tracks without a tag.
    training_share : float
        Share of the model's prior in the result, below 1.

    Raises
    ------
    ValueError
        When the sizes differ, or a row is not made of probabilities.
    """
    if len(probabilities):
        check_probabilities(probabilities, len(trained))
    predicted = probabilities.sum(axis=0) + PRIOR_TRACKS * trained
    predicted /= predicted.sum()
    tracks = tagged + (n_others + PRIOR_TRACKS) * predicted
    result: np.ndarray = (1 - training_share) * tracks / tracks.sum()
    result += training_share * trained
    return result
