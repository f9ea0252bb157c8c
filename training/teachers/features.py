"""What two teachers hear, which have learnt from far more music than there is here.

    python -m training.pretrained.extract_teachers --table collection.csv \
        --unlabelled music \
        --work work --python PYTHON --efficientat EfficientAT

puts what they hear of every clip beside the other features, to be learnt from as task t; predicting
needs none of it. musicnn 0.1.0 (Pons and Serra, 2019; ISC licence) has learnt 50 tags from the
Million Song Dataset, and runs on TensorFlow 2.15, which does not get along with what else is needed
here: PYTHON is that of an environment of its own, with

    pip install 'numpy<2' tensorflow==2.15.0 librosa torch torchaudio torchvision
    pip install --no-deps musicnn==0.1.0

EfficientAT (Schmid et al., 2023; MIT licence) has learnt 527 classes of sound from AudioSet, with
the help of transformers; what is asked for is the layer before the last of its network mn04_as. The
folder is a clone of https://github.com/fschmid56/EfficientAT, with ``mn04_as_mAP_432.pt`` of its
release v0.0.1 in ``resources``.

Clips are heard on all cores. Stopped, it goes on where it was.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np

from agf_core.data.tracks import Track
from agf_core.errors import CorpusError
from agf_core.features.cache import FeatureCache

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

TASK = "t"  # its letter; its targets are features, those of all other tasks distributions
STRETCH_SECONDS = 2.992  # what is heard at once: 187 frames of musicnn's, of 256 samples
FARTHEST = 4.0  # standard deviations that a target lies from the mean at most
SAMPLE_RATE = 16_000  # hertz; more would tell by its bandwidth which collection a clip is from


@dataclass(frozen=True)
class Teacher:
    """One whose features are learnt to be told.

    Attributes
    ----------
    name : str
        To `teacher_child`.
    kind : str
        Of what is kept of it.
    n_features : int
        What it hears in a stretch.
    regularisation : float
        scikit-learn's C, of a logistic regression upon its features.
    """

    name: str
    kind: str
    n_features: int
    regularisation: float

    def fits(self, stored: np.ndarray) -> bool:
        """Tell whether that can be what it has heard of a track."""
        right = stored.ndim == 2 and stored.shape[1] == self.n_features and len(stored) > 0
        return right and bool(np.isfinite(stored).all())


# By the folds .003 was worse for the first; for the second, beside it, .02 was best of three.
MUSICNN = Teacher("musicnn", "musicnn-msd-stretches", 250, 0.03)
EFFICIENTAT = Teacher("efficientat", "efficientat-mn04-stretches", 512, 0.02)
TEACHERS = (MUSICNN, EFFICIENTAT)
EACH = [teacher.n_features for teacher in TEACHERS]
N_FEATURES = sum(EACH)


def heard(
    tracks: Sequence[Track], cache: FeatureCache, teachers: Sequence[Teacher] = TEACHERS
) -> list[np.ndarray]:
    """Return what teachers have heard of each track, side by side.

    Returns
    -------
    list of np.ndarray [shape=(n_stretches, n_features)]
        Of stretches of 3 s.

    Raises
    ------
    CorpusError
        When one has not heard a track.
    """

    def missing(track: Track) -> np.ndarray:
        raise CorpusError(
            f"a teacher has not heard {track.path}; run python -m "
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
    """What makes the teachers' features of mean 0 and deviation 1.

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
        """Scale rows, and bring in what lies too far out: (n, n_features), float32."""
        scaled: np.ndarray = (rows - self.mean) / self.std
        return scaled.clip(-FARTHEST, FARTHEST).astype(np.float32)


def over_tracks(features: Sequence[np.ndarray]) -> np.ndarray:
    """Average what was heard over each track: (n_tracks, n_features)."""
    return np.stack([rows.mean(axis=0) for rows in features])


def classifier(regularisation: float) -> "Pipeline":
    """Return a logistic regression upon features of a track, not yet fitted.

    Parameters
    ----------
    regularisation : float
        scikit-learn's C.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=regularisation, max_iter=1_000))
