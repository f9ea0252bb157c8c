"""Multinomial logistic regression in numpy, regularised towards given weights."""

from collections import deque
from collections.abc import Callable

import numpy as np

REMEMBERED_STEPS = 10  # steps that L-BFGS remembers
MOST_STEPS = 200
GRADIENT_TOLERANCE = 1e-4  # of the largest component of the gradient
ARMIJO_SHARE = 1e-4  # share of the decrease that a line search demands (Armijo's condition)

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log probabilities, normalised along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def fit_logistic(
    inputs: np.ndarray,
    targets: np.ndarray,
    strength: float,
    *,
    weights: np.ndarray | None = None,
    towards: np.ndarray | None = None,
    start: np.ndarray | None = None,
    bias_strength: float = 0.0,
    tolerance: float = GRADIENT_TOLERANCE,
) -> np.ndarray:
    """Fit a multinomial logistic regression by L-BFGS.

    Minimises ``sum(weights * cross_entropy) + strength / 2 * sum((W - towards) ** 2)``; the last
    column of ``W``, the bias, has a strength of its own. That is scikit-learn's
    ``LogisticRegression(C=1 / strength)`` where `towards` and `bias_strength` are zero.

    Parameters
    ----------
    inputs : np.ndarray [shape=(n_tracks, n_inputs)]
    targets : np.ndarray [shape=(n_tracks, n_classes)]
        Each row a distribution over classes.
    strength : float
        Above 0.
    weights : np.ndarray [shape=(n_tracks,)], optional
        How much each track counts; 1 by default.
    towards, start : np.ndarray [shape=(n_classes, n_inputs + 1)], optional
        Weights that cost nothing, and initial weights; zero, and `towards`, by default.
    bias_strength : float
        Strength of the regularisation of the bias.
    tolerance : float
        Largest component of the gradient of the mean objective at which the fit ends.

    Returns
    -------
    np.ndarray [shape=(n_classes, n_inputs + 1), dtype=float64]
    """
    n, n_classes = targets.shape
    inputs = inputs.astype(np.float32, copy=False)
    targets = targets.astype(np.float32)
    weights = np.ones(n) if weights is None else weights
    share = (weights / weights.sum()).astype(np.float32)[:, None]
    shape = (n_classes, inputs.shape[1] + 1)
    prior = np.zeros(shape) if towards is None else np.asarray(towards, np.float64)
    strengths = np.full(shape, strength / weights.sum())
    strengths[:, -1] = bias_strength / weights.sum()

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        current = flat.reshape(shape)
        moved, single = current - prior, current.T.astype(np.float32)
        logs = log_softmax(inputs @ single[:-1] + single[-1])
        value = -float((share * targets * logs).sum(dtype=np.float64))
        errors = share * (np.exp(logs) * targets.sum(axis=1, keepdims=True) - targets)
        gradient = strengths * moved
        gradient[:, :-1] += errors.T @ inputs
        gradient[:, -1] += errors.sum(axis=0)
        return value + float((strengths * moved**2).sum()) / 2, gradient.ravel()

    first = prior if start is None else np.asarray(start, np.float64)
    return _lbfgs(objective, first.ravel(), tolerance).reshape(shape)


def _lbfgs(objective: Objective, x: np.ndarray, tolerance: float) -> np.ndarray:
    """Minimise a convex function (Nocedal, "Updating quasi-Newton matrices", 1980)."""
    pairs: deque[tuple[np.ndarray, np.ndarray, float]] = deque(maxlen=REMEMBERED_STEPS)
    value, gradient = objective(x)
    for _ in range(MOST_STEPS):
        if np.abs(gradient).max() < tolerance:
            break
        direction = -_inverse_hessian_times(pairs, gradient)
        slope = float(direction @ gradient)
        step = 1.0 if pairs else min(1.0, 1 / float(np.abs(gradient).sum()))
        while True:
            new_x = x + step * direction
            new_value, new_gradient = objective(new_x)
            if new_value <= value + ARMIJO_SHARE * step * slope:
                break
            step /= 2
            if step < 1e-8:  # rounding is all that is left
                return x
        moved, turned = new_x - x, new_gradient - gradient
        curvature = float(moved @ turned)
        if curvature > 0:
            pairs.append((moved, turned, 1 / curvature))
        x, value, gradient = new_x, new_value, new_gradient
    return x


def _inverse_hessian_times(
    pairs: deque[tuple[np.ndarray, np.ndarray, float]], gradient: np.ndarray
) -> np.ndarray:
    """Return the product by the two loops of L-BFGS."""
    result = gradient.copy()
    factors = []
    for moved, turned, inverse in reversed(pairs):
        factor = inverse * float(moved @ result)
        factors.append(factor)
        result -= factor * turned
    if pairs:
        moved, turned, inverse = pairs[-1]
        result /= inverse * float(turned @ turned)
    for (moved, turned, inverse), factor in zip(pairs, reversed(factors), strict=True):
        result += (factor - inverse * float(turned @ result)) * moved
    return result
