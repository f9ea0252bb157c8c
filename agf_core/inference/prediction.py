"""The prediction of a track, and the result of one of many files."""

import os
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from agf_core.errors import AudioError

PathLike = str | bytes | os.PathLike
P = TypeVar("P", bound=PathLike)


@dataclass(frozen=True)
class Prediction:
    """Calibrated genre probabilities of one track.

    Attributes
    ----------
    labels : tuple of str
    probabilities : np.ndarray [shape=(n_labels,)]
        Sum to 1.
    """

    labels: tuple[str, ...]
    probabilities: np.ndarray

    def top(self, n: int = 3) -> list[tuple[str, float]]:
        """Return the `n` most probable genres with their probabilities, best first."""
        best = np.argsort(-self.probabilities, kind="stable")[:n]
        return [(self.labels[i], float(self.probabilities[i])) for i in best]


@dataclass(frozen=True)
class FileResult(Generic[P]):
    """The result of one of many files: a prediction or an error.

    Attributes
    ----------
    path
        As it was given.
    prediction : Prediction or None
    error : AudioError or None
        Why there is no prediction.
    lost : float
        Seconds of the excerpt that are damaged and were skipped.
    """

    path: P
    prediction: Prediction | None = None
    error: AudioError | None = None
    lost: float = 0.0
