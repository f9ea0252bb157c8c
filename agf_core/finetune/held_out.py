"""What a personal model says of artists that it has not learnt from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Predictions of tracks by artists that were not learnt from.

    Attributes
    ----------
    tracks : np.ndarray [shape=(n,), dtype=int]
        Which of the teaching tracks.
    truth : np.ndarray [shape=(n,), dtype=int]
        Their genres.
    raw, personal : np.ndarray [shape=(n, n_genres)]
        Of personal models, before and after the temperature.
    before : np.ndarray [shape=(n, n_genres)]
        Of the model that was begun with, in the words of this collection.
    common : np.ndarray [shape=(n, n_genres)]
        1 for the genre that was most common among what was learnt from.
    epochs : tuple of int
        That the networks and the MLP took to be at their best; the median of the parts.
    parts : int
        How many models were made for these.
    """

    tracks: np.ndarray
    truth: np.ndarray
    raw: np.ndarray
    personal: np.ndarray
    before: np.ndarray
    common: np.ndarray
    epochs: tuple[int, int]
    parts: int = 1

    @classmethod
    def of(cls, parts: Sequence["HeldOut"]) -> "HeldOut":
        """Put several parts together."""
        networks, mlp = np.median([part.epochs for part in parts], axis=0)
        arrays = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("tracks", "truth", "raw", "personal", "before", "common")
        }
        return cls(**arrays, epochs=(round(networks), round(mlp)), parts=len(parts))
