"""The prediction of a track, and the result of one of many files."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from agf_core.bundle.format import Metadata, Style
from agf_core.calibration import apply_temperature
from agf_core.errors import AnyPath, AudioError

P = TypeVar("P", bound=AnyPath)


@dataclass(frozen=True, eq=False)
class Features:
    """What a network makes of a track, from which every light model upon it predicts.

    Attributes
    ----------
    embedding : np.ndarray [shape=(n_embedding,), dtype=float16]
        Mean over the windows; empty where the network has no such output.
    log_probabilities : np.ndarray [shape=(n_base,), dtype=float32]
        Of the network's own genres, calibrated.
    style_probabilities : np.ndarray [shape=(n_styles,), dtype=float32]
    """

    embedding: np.ndarray
    log_probabilities: np.ndarray
    style_probabilities: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass(frozen=True)
class Prediction:
    """Calibrated genre probabilities of one track.

    Attributes
    ----------
    labels : tuple of str
    probabilities : np.ndarray [shape=(n_labels,)]
        Sum to 1.
    styles : tuple of Style
        Empty where the model predicts none.
    style_probabilities : np.ndarray [shape=(n_styles,)]
        Each between 0 and 1 by itself: a track can have several styles or none.
    """

    labels: tuple[str, ...]
    probabilities: np.ndarray
    styles: tuple[Style, ...] = ()
    style_probabilities: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def top(self, n: int = 3) -> list[tuple[str, float]]:
        """Return the `n` most probable genres with their probabilities, best first."""
        best = np.argsort(-self.probabilities, kind="stable")[:n]
        return [(self.labels[i], float(self.probabilities[i])) for i in best]

    def top_styles(self, genre: str, n: int = 3) -> list[tuple[str, float]]:
        """Return the `n` most probable styles of a genre with their probabilities, best first."""
        order = np.argsort(-self.style_probabilities, kind="stable")
        best = [i for i in order if self.styles[i].genre == genre][:n]
        return [(self.styles[i].name, float(self.style_probabilities[i])) for i in best]


def predict(metadata: Metadata, features: Features) -> Prediction:
    """Return what a model, or a light model upon it, predicts from features.

    Parameters
    ----------
    metadata : Metadata
        Of the model.
    features : Features
        By that model, or by the base of the light model.
    """
    probabilities = predict_genres(metadata, features.embedding, features.log_probabilities)
    if not metadata.styles:  # as in a light model
        return Prediction(metadata.labels, probabilities)
    return Prediction(metadata.labels, probabilities, metadata.styles, features.style_probabilities)


def predict_genres(
    metadata: Metadata, embeddings: np.ndarray, log_probabilities: np.ndarray
) -> np.ndarray:
    """Return what `predict` does of the genres, for any number of tracks, (..., n_labels).

    Parameters
    ----------
    metadata : Metadata
    embeddings : np.ndarray [shape=(..., n_embedding)]
    log_probabilities : np.ndarray [shape=(..., n_base)]
    """
    if metadata.head is None:
        known = np.exp(log_probabilities)
        result: np.ndarray = known / known.sum(axis=-1, keepdims=True)
        return result
    raw = metadata.head.probabilities(embeddings, log_probabilities)
    return apply_temperature(raw, metadata.temperature)


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
    features : Features or None
        What the prediction was made from.
    key : str
        Of the sound (`agf_core.audio.decode.content_key`), where it is known.
    lost : float
        Seconds of the excerpt that are damaged or missing and were skipped.
    seconds : float
        Length of what was analysed instead or beside; 0 where features are stored ones.
    """

    path: P
    prediction: Prediction | None = None
    error: AudioError | None = None
    lost: float = 0.0
    features: Features | None = None
    key: str = ""
    seconds: float = 0.0
