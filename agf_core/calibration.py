"""Temperature: makes a track's probabilities mean what they say (Guo et al., ICML 2017)."""

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
