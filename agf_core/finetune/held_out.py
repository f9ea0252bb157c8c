"""Predictions of a fine-tuned model for unseen artists."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agf_core.data.genre_names import namesakes


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Predictions of tracks by artists that were not trained on.

    Attributes
    ----------
    tracks : np.ndarray [shape=(n,), dtype=int]
        Indices of tagged tracks.
    truth : np.ndarray [shape=(n,), dtype=int]
        Their genres.
    raw, fine_tuned : np.ndarray [shape=(n, n_genres)]
        Of fine-tuned models, before and after calibration.
    base : np.ndarray [shape=(n, n_genres)]
        Of the base model, mapped to the genres of this collection.
    common : np.ndarray [shape=(n, n_genres)]
        1 for the most common genre of the training tracks.
    epochs : tuple of int
        Best epochs of networks and MLP; the median of the folds.
    folds : int
        Number of models that were trained for the predictions.
    """

    tracks: np.ndarray
    truth: np.ndarray
    raw: np.ndarray
    fine_tuned: np.ndarray
    base: np.ndarray
    common: np.ndarray
    epochs: tuple[int, int]
    folds: int = 1

    @classmethod
    def of(cls, folds: Sequence["HeldOut"]) -> "HeldOut":
        """Concatenate the predictions of several folds."""
        networks, mlp = np.median([fold.epochs for fold in folds], axis=0)
        arrays = {
            name: np.concatenate([getattr(fold, name) for fold in folds])
            for name in ("tracks", "truth", "raw", "fine_tuned", "base", "common")
        }
        return cls(**arrays, epochs=(round(networks), round(mlp)), folds=len(folds))


def map_to_genres(
    test: np.ndarray,
    train: np.ndarray,
    targets: np.ndarray,
    labels: Sequence[str],
    genres: Sequence[str],
) -> np.ndarray:
    """Translate predictions of a model into the genres of a library.

    A label counts as the genre of its name. One that has none counts as the genres of the training
    tracks, in the proportion in which it is predicted for them.

    Parameters
    ----------
    test : np.ndarray [shape=(n_test, n_labels)]
        Probabilities to translate.
    train : np.ndarray [shape=(n_train, n_labels)]
        Probabilities of the training tracks.
    targets : np.ndarray [shape=(n_train, n_genres)]
        Their genres, with their weights.
    labels, genres : sequence of str

    Returns
    -------
    np.ndarray [shape=(n_test, n_genres), dtype=float64]
    """
    mapping = train.T @ targets  # (n_labels, n_genres)
    mapping /= mapping.sum(axis=1, keepdims=True)
    for label, genre in enumerate(namesakes(genres, labels)):
        if genre is not None:
            mapping[label] = np.eye(len(genres))[genre]
    translated: np.ndarray = test @ mapping
    return translated
