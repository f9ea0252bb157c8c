"""Two published networks that are the teachers, trained on far more music, and their outputs.

musicnn 0.1.0 (Pons and Serra, 2019; ISC licence) predicts 50 tags of the Million Song Dataset.
EfficientAT's mn04_as (Schmid et al., 2023; MIT licence) predicts 527 classes of AudioSet, of which
those of voices, music and noise are used (``classes.json``).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

LARGEST_DEVIATION = 4.0  # standard deviations that a target lies from the mean at most
SAMPLE_RATE = 16_000  # hertz; of more, the bandwidth would reveal which collection a clip is from
STRETCH_SAMPLES = 187 * 256  # samples that musicnn analyses at once: 2.992 s


@dataclass(frozen=True)
class Teacher:
    """A network whose outputs a student is trained to predict.

    Attributes
    ----------
    name : str
        In `training.teachers.worker`.
    kind : str
        Of its outputs in the cache.
    n_hidden : int
        Size of its layer before the last.
    n_classes : int
    """

    name: str
    kind: str
    n_hidden: int
    n_classes: int

    @property
    def n_features(self) -> int:
        """Number of outputs per window: the layer before the last, then class logits."""
        return self.n_hidden + self.n_classes

    def fits(self, stored: np.ndarray) -> bool:
        """Return whether an array can be what the teacher predicted of a track's windows."""
        right = stored.ndim == 2 and stored.shape[1] == self.n_features and len(stored) > 0
        return right and bool(np.isfinite(stored).all())


MUSICNN = Teacher("musicnn", "window-musicnn-msd", 200, 50)
EFFICIENTAT = Teacher("efficientat", "window-efficientat-mn04", 512, 186)


@dataclass(frozen=True)
class Scale:
    """Gives the teachers' features mean 0 and standard deviation 1.

    Attributes
    ----------
    mean, std : np.ndarray [shape=(n_features,)]
    """

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def fit(cls, features: Iterable[np.ndarray]) -> Self:
        """Fit it on the windows of training tracks, each (n_windows, n_features)."""
        rows = np.concatenate(list(features))
        return cls(rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-3))

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Scale rows and clip what lies too far out: (n, n_features), float32."""
        scaled: np.ndarray = (rows - self.mean) / self.std
        return scaled.clip(-LARGEST_DEVIATION, LARGEST_DEVIATION).astype(np.float32)
