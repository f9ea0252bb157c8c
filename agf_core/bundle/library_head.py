"""The small head of a light model: from a base model's features of a track to other genres."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agf_core.not_music import is_not_music

WEIGHT_DIGITS = 7  # of a weight in model.json
LEAST_LOG = -16.0  # log probabilities of the base model are no less
LARGEST_LAYER = 10_000  # inputs or outputs


def head_inputs(embedding: np.ndarray, log_probabilities: np.ndarray) -> np.ndarray:
    """Return the inputs of a head, (..., n_embedding + n_base)."""
    return np.concatenate([embedding, np.maximum(log_probabilities, LEAST_LOG)], axis=-1)


@dataclass(frozen=True, eq=False)
class LibraryHead:
    """A linear layer upon a base model's embedding and log probabilities.

    Attributes
    ----------
    base_id : str
        The base model's `model_id`: embeddings of another model mean something else.
    base_labels : tuple of str
        The base model's genres.
    base_temperature : float
        The base model's, see `agf_core.calibration`.
    weights : np.ndarray [shape=(n_labels, n_embedding + n_base), dtype=float32]
    bias : np.ndarray [shape=(n_labels,), dtype=float32]
    music_only : bool
        Whether every genre is predicted alike where the base model finds no music.
    """

    base_id: str
    base_labels: tuple[str, ...]
    base_temperature: float
    weights: np.ndarray
    bias: np.ndarray
    music_only: bool = False

    def __post_init__(self) -> None:
        n_labels, n_inputs = self.weights.shape if self.weights.ndim == 2 else (0, 0)
        if not (
            self.bias.shape == (n_labels,)
            and len(self.base_labels) <= n_inputs <= LARGEST_LAYER
            and 1 < n_labels <= LARGEST_LAYER
            and np.isfinite(self.weights).all()
            and np.isfinite(self.bias).all()
            and 0 < self.base_temperature <= 100
        ):
            raise ValueError("its head is impossible")

    @property
    def n_embedding(self) -> int:
        """Size of the embedding."""
        return int(self.weights.shape[1]) - len(self.base_labels)

    def probabilities(self, embedding: np.ndarray, log_probabilities: np.ndarray) -> np.ndarray:
        """Return genre probabilities before any temperature, (..., n_labels).

        Parameters
        ----------
        embedding : np.ndarray [shape=(..., n_embedding)]
            The base model's, in half precision as it is stored.
        log_probabilities : np.ndarray [shape=(..., n_base)]
            Of the base model, calibrated.
        """
        logits = head_inputs(embedding, log_probabilities) @ self.weights.T + self.bias
        if self.music_only:
            logits = np.where(is_not_music(np.exp(log_probabilities))[..., None], 0, logits)
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        result: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
        return result

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return {
            "base_id": self.base_id,
            "base_labels": list(self.base_labels),
            "base_temperature": self.base_temperature,
            "weights": [_rounded(row) for row in self.weights],
            "bias": _rounded(self.bias),
            "music_only": self.music_only,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "LibraryHead":
        """Read what `to_dict` made; `KeyError`, `TypeError` or `ValueError` otherwise."""
        return cls(
            base_id=str(values["base_id"]),
            base_labels=tuple(map(str, values["base_labels"])),
            base_temperature=float(values["base_temperature"]),
            weights=np.array(values["weights"], np.float32),
            bias=np.array(values["bias"], np.float32),
            music_only=values.get("music_only") is True,  # former models lack it
        )


def _rounded(numbers: Sequence[float] | np.ndarray) -> list[float]:
    return [float(f"{number:.{WEIGHT_DIGITS}g}") for number in numbers]
