"""Features of two published networks, the teachers, as targets of task t (distillation).

musicnn 0.1.0 (Pons and Serra, 2019; ISC licence) was trained on 50 tags of the Million Song
Dataset; its features are the layer before the last and the logits. EfficientAT (Schmid et al.,
2023; MIT licence) was trained on the 527 sound classes of AudioSet, with the help of transformers;
its features are the layer before the last of the network mn04_as.
`training.pretrained.extract_teachers` makes them. Prediction needs none of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from agf_core.data.tracks import Track
from agf_core.errors import CorpusError
from agf_core.features.cache import FeatureCache

TASK = "t"  # its letter; its targets are features, those of all other tasks distributions
STRETCH_SECONDS = 2.992  # of each feature vector: 187 frames of musicnn's, of 256 samples
FARTHEST = 4.0  # standard deviations that a target lies from the mean at most
SAMPLE_RATE = 16_000  # hertz; at a higher one the bandwidth would give a clip's collection away


@dataclass(frozen=True)
class Teacher:
    """A network whose features are targets.

    Attributes
    ----------
    name : str
        As `training.teachers.worker` knows it.
    kind : str
        Of its features in the cache.
    n_features : int
        Of a stretch.
    regularisation : float
        scikit-learn's C, of a logistic regression on its features.
    """

    name: str
    kind: str
    n_features: int
    regularisation: float

    def fits(self, stored: np.ndarray) -> bool:
        """Whether an array can be the features of a track, by shape and values."""
        right = stored.ndim == 2 and stored.shape[1] == self.n_features and len(stored) > 0
        return right and bool(np.isfinite(stored).all())


# By the folds .003 was worse for the first; for the second, beside it, .02 was best of three.
MUSICNN = Teacher("musicnn", "musicnn-msd-stretches", 250, 0.03)
EFFICIENTAT = Teacher("efficientat", "efficientat-mn04-stretches", 512, 0.02)
TEACHERS = (MUSICNN, EFFICIENTAT)
EACH = [teacher.n_features for teacher in TEACHERS]
N_FEATURES = sum(EACH)


def teacher_features(
    tracks: Sequence[Track], cache: FeatureCache, teachers: Sequence[Teacher] = TEACHERS
) -> list[np.ndarray]:
    """Return the features of each track, those of the teachers side by side.

    Returns
    -------
    list of np.ndarray [shape=(n_stretches, n_features)]
        Of stretches of 3 s.

    Raises
    ------
    CorpusError
        When those of a track are missing.
    """

    def missing(track: Track) -> np.ndarray:
        raise CorpusError(
            f"{track.path} has no features of the teachers; run python -m "
            "training.pretrained.extract_teachers first"
        )

    found = []
    for track in tracks:
        rows = [
            cache.get(teacher.kind, track.track_id, partial(missing, track), teacher.fits)
            for teacher in teachers
        ]
        shortest = min(len(one) for one in rows)
        found.append(np.concatenate([one[:shortest] for one in rows], axis=1))
    return found


@dataclass(frozen=True)
class Scale:
    """Normaliser of the teachers' features, to mean 0 and deviation 1.

    Attributes
    ----------
    mean, std : np.ndarray [shape=(n_features,)]
    """

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def fit(cls, features: Iterable[np.ndarray]) -> Self:
        """Fit it on the stretches of training tracks, each (n_stretches, n_features)."""
        rows = np.concatenate(list(features))
        return cls(rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-3))

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Scale rows and clip outliers: (n, n_features), float32."""
        scaled: np.ndarray = (rows - self.mean) / self.std
        return scaled.clip(-FARTHEST, FARTHEST).astype(np.float32)


def mean_over_tracks(features: Sequence[np.ndarray]) -> np.ndarray:
    """Average the features of each track: (n_tracks, n_features)."""
    return np.stack([rows.mean(axis=0) for rows in features])
