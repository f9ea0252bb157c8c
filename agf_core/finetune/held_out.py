"""Predictions of a fine-tuned model for unseen artists."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Predictions of tracks by artists that were not trained on.

    Attributes
    ----------
    tracks : np.ndarray [shape=(n,), dtype=int]
        Indices of tagged tracks.
    truth : np.ndarray [shape=(n,), dtype=int]
        Their genres.
    raw, personal : np.ndarray [shape=(n, n_genres)]
        Of fine-tuned models, before and after calibration.
    before : np.ndarray [shape=(n, n_genres)]
        Of the base model, mapped to the genres of this collection.
    common : np.ndarray [shape=(n, n_genres)]
        1 for the most common genre of the training tracks.
    epochs : tuple of int
        Best epochs of networks and MLP; the median of the folds.
    parts : int
        Number of models that were trained for the predictions.
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
        """Concatenate the predictions of several folds."""
        networks, mlp = np.median([part.epochs for part in parts], axis=0)
        arrays = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("tracks", "truth", "raw", "personal", "before", "common")
        }
        return cls(**arrays, epochs=(round(networks), round(mlp)), parts=len(parts))
