"""Temperature: makes a track's probabilities mean what they say (Guo et al., ICML 2017)."""

from collections.abc import Callable

import numpy as np

from agf_core import metrics


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Raise probabilities to the power 1 / `temperature` and normalise them.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(..., n_classes)]
        Of a track, averaged over its windows.
    temperature : float
        Above 1 makes them less sure, below 1 more.
    """
    logs = np.log(np.maximum(probabilities, metrics.SMALLEST)) / temperature
    powers = np.exp(logs - logs.max(axis=-1, keepdims=True))
    result: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return result


def fit_temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Find the temperature of least log loss on tracks of artists not learnt from.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_classes)]
    truth : np.ndarray [shape=(n_tracks,), dtype=int]

    Returns
    -------
    float
        Between 0.1 and 10.
    """
    from scipy.optimize import minimize_scalar  # only learning needs it

    best = minimize_scalar(
        lambda log_t: metrics.log_loss(apply_temperature(probabilities, np.exp(log_t)), truth),
        bounds=(np.log(0.1), np.log(10)),
        method="bounded",
    )
    return float(np.exp(best.x))


def cross_calibrate(
    probabilities: np.ndarray,
    truth: np.ndarray,
    parts: np.ndarray,
    *,
    fit: Callable[[np.ndarray, np.ndarray], float] = fit_temperature,
) -> tuple[np.ndarray, dict[int, float]]:
    """Give each part's tracks the temperature of all other parts, so that it has met none of them.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_classes)]
        Each by a model that has met no artist of the track's part.
    truth : np.ndarray [shape=(n_tracks,), dtype=int]
    parts : np.ndarray [shape=(n_tracks,), dtype=int]
        Of which no two share an artist; where there is but one, it stays as it is.
    fit : callable
        As `fit_temperature`.

    Returns
    -------
    calibrated : np.ndarray [shape=(n_tracks, n_classes)]
    temperatures : dict of float
        By part.
    """
    calibrated, temperatures = probabilities.copy(), {}
    for part in np.unique(parts).tolist():
        mine = parts == part
        temperatures[part] = 1.0 if mine.all() else fit(probabilities[~mine], truth[~mine])
        calibrated[mine] = apply_temperature(probabilities[mine], temperatures[part])
    return calibrated, temperatures
