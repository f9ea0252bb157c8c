"""Calibrate probabilities of tracks by temperature scaling (Guo et al., ICML 2017)."""

from collections.abc import Callable

import numpy as np

from agf_core import metrics

BISECTION_STEPS = 40


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Raise probabilities to the power 1 / `temperature` and normalise them.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(..., n_classes)]
        Of tracks, averaged over their windows.
    temperature : float
        Above 1 lowers the confidence, below 1 raises it.
    """
    logs = np.log(np.maximum(probabilities, metrics.SMALLEST_PROBABILITY)) / temperature
    powers = np.exp(logs - logs.max(axis=-1, keepdims=True))
    result: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return result


def fit_temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Find the temperature with the lowest log loss on tracks of unseen artists.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_classes)]
    truth : np.ndarray [shape=(n_tracks,), dtype=int]

    Returns
    -------
    float
        Between 0.1 and 10.
    """
    logs = np.log(np.maximum(probabilities, metrics.SMALLEST_PROBABILITY))
    mean_true = logs[np.arange(len(truth)), truth].mean()

    def slope(log_t: float) -> float:
        """Return a number that is above 0 where a higher temperature has less log loss."""
        powers = apply_temperature(probabilities, np.exp(log_t))
        return float((powers * logs).sum(axis=1).mean() - mean_true)

    low, high = np.log(0.1), np.log(10)
    for _ in range(BISECTION_STEPS):  # the log loss is convex in 1 / temperature
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return float(np.exp((low + high) / 2))


def cross_calibrate(
    probabilities: np.ndarray,
    truth: np.ndarray,
    folds: np.ndarray,
    *,
    fit: Callable[[np.ndarray, np.ndarray], float] = fit_temperature,
) -> tuple[np.ndarray, dict[int, float]]:
    """Calibrate the tracks of each fold by the temperature fitted on all other folds.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_classes)]
        Each by a model trained without the artists of the track's fold.
    truth : np.ndarray [shape=(n_tracks,), dtype=int]
    folds : np.ndarray [shape=(n_tracks,), dtype=int]
        No two share an artist; a single fold is not calibrated.
    fit : callable
        A function such as `fit_temperature`.

    Returns
    -------
    calibrated : np.ndarray [shape=(n_tracks, n_classes)]
    temperatures : dict of float
        By fold.
    """
    calibrated, temperatures = probabilities.copy(), {}
    for fold in np.unique(folds).tolist():
        inside = folds == fold
        temperatures[fold] = 1.0 if inside.all() else fit(probabilities[~inside], truth[~inside])
        calibrated[inside] = apply_temperature(probabilities[inside], temperatures[fold])
    return calibrated, temperatures
