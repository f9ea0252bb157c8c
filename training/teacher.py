"""What a teacher hears: musicnn, which has learnt 50 tags from the Million Song Dataset.

    python -m training.teacher --table development.csv --audio corpora --unlabelled music \
        --work work --python PYTHON

puts what it hears of every clip beside the other features, to be learnt from as task t; predicting
needs none of it. musicnn 0.1.0 (Pons and Serra, 2019; ISC licence) runs on TensorFlow 2.15, which
does not get along with what else is needed here: PYTHON is that of an environment of its own, with

    pip install 'numpy<2' tensorflow==2.15.0 librosa
    pip install --no-deps musicnn==0.1.0

Stopped, it goes on where it was.
"""

import argparse
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from tqdm import tqdm

from agf_core import audio
from agf_core.cache import FeatureCache
from agf_core.corpus import CorpusError, Track

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

KIND = "musicnn-msd-stretches"
N_FEATURES = 250  # see `musicnn_child`
STRETCH_SECONDS = 2.992  # what it hears at once: 187 frames of 256 samples
REGULARISATION = 0.03  # of a logistic regression; .003 was worse on the folds
OPINIONS = 5  # classifiers, each of which leaves some artists to be judged
FARTHEST = 4.0  # standard deviations that a target lies from the mean at most
SAMPLE_RATE = 16_000  # hertz, musicnn's
CHILD = Path(__file__).with_name("musicnn_child.py")


def heard(tracks: Sequence[Track], cache: FeatureCache) -> list[np.ndarray]:
    """Return what the teacher has heard of each track, (n_stretches, 250) of stretches of 3 s.

    Raises
    ------
    CorpusError
        When it has not heard one.
    """

    def missing(track: Track) -> np.ndarray:
        raise CorpusError(
            f"the teacher has not heard {track.path}; run python -m training.teacher first"
        )

    return [cache.get(KIND, t.track_id, partial(missing, t), _fits) for t in tracks]


@dataclass(frozen=True)
class Scale:
    """What makes the teacher's features of mean 0 and deviation 1.

    Attributes
    ----------
    mean, std : np.ndarray [shape=(250,)]
    """

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def fit(cls, features: Iterable[np.ndarray]) -> Self:
        """Fit it on the stretches of training tracks, each (n_stretches, 250)."""
        rows = np.concatenate(list(features))
        return cls(rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-3))

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Scale rows, and bring in what lies too far out: (n, 250), float32."""
        scaled: np.ndarray = (rows - self.mean) / self.std
        return scaled.clip(-FARTHEST, FARTHEST).astype(np.float32)


def over_tracks(features: Sequence[np.ndarray]) -> np.ndarray:
    """Average what was heard over each track: (n_tracks, 250)."""
    return np.stack([rows.mean(axis=0) for rows in features])


def classifier(regularisation: float = REGULARISATION) -> "Pipeline":
    """Return a logistic regression upon features of a track, not yet fitted.

    Parameters
    ----------
    regularisation : float
        scikit-learn's C. The default is for what the teacher hears.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=regularisation, max_iter=1_000))


def opinions(
    features: np.ndarray, genres: Sequence[int], n_genres: int, artists: Sequence[str]
) -> np.ndarray:
    """What classifiers upon the teacher's features say of every track, whatever its label says.

    Each is judged by one that has learnt from other artists alone, of five.

    Parameters
    ----------
    features : np.ndarray [shape=(n_tracks, n_features)]
        See `over_tracks`; of training tracks only.
    genres : sequence of int
        Index of each track's genre, -1 where it has none.
    artists : sequence of str

    Returns
    -------
    np.ndarray [shape=(n_tracks, n_genres), dtype=float32]
    """
    from sklearn.model_selection import GroupKFold

    truth = np.array(genres)
    known = truth >= 0
    groups = np.array(artists)
    said = np.zeros((len(features), n_genres), np.float32)

    def judge(asked: np.ndarray, learnt_from: np.ndarray) -> None:
        model = classifier().fit(features[learnt_from], truth[learnt_from])
        said[asked] = 0
        said[np.ix_(asked, model.classes_)] = model.predict_proba(features[asked])

    judge(np.arange(len(features)), np.flatnonzero(known))
    places = np.flatnonzero(known)
    parts = GroupKFold(min(OPINIONS, len(set(groups[known]))))
    for learnt_from, asked in parts.split(places, groups=groups[known]):
        theirs = np.isin(groups, groups[places[asked]])
        judge(np.flatnonzero(theirs), places[learnt_from])
    return said


def _fits(stored: np.ndarray) -> bool:
    right = stored.ndim == 2 and stored.shape[1] == N_FEATURES and len(stored) > 0
    return right and bool(np.isfinite(stored).all())


class Teacher:
    """musicnn in a process of its own, to be used in a ``with`` statement.

    Parameters
    ----------
    python : str
        The interpreter of an environment that has it.
    """

    def __init__(self, python: str) -> None:
        self.python = python

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [self.python, str(CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(self, *error: object) -> None:
        self.process.communicate()

    def listen(self, samples: np.ndarray) -> np.ndarray:
        """Return what it hears, (n_stretches, 250), of mono samples at 16 kHz.

        Raises
        ------
        RuntimeError
            When it has ended; it has said why.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(np.int64(len(samples)).tobytes())
            self.process.stdin.write(samples.astype(np.float32).tobytes())
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer is missing, too
        head = self.process.stdout.read(8)
        size = 4 * N_FEATURES * int(np.frombuffer(head, np.int64)[0]) if len(head) == 8 else 0
        answer = self.process.stdout.read(size)
        if not size or len(answer) != size:
            raise RuntimeError(f"{self.python} has ended; has its environment musicnn?")
        return np.frombuffer(answer, np.float32).reshape(-1, N_FEATURES)


def main() -> None:
    """Run the command."""
    # Here, because these learn from what is heard.
    from training.corpora import LONGEST, music_for, read_table
    from training.options import add_corpora, add_unlabelled, one_line_errors
    from training.recipes import RECIPES
    from training.variants import samples_of, variants_of

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_corpora(parser)
    add_unlabelled(parser)
    parser.add_argument("--python", required=True, help="of an environment that has musicnn")
    parser.add_argument("--recipe", choices=RECIPES, default="ours", help="to be learnt by")
    arguments = parser.parse_args()
    recipe = RECIPES[arguments.recipe]
    cache = FeatureCache(arguments.work / "features")
    with one_line_errors():
        tracks = read_table(arguments.table, arguments.audio)
        music = music_for(recipe, arguments.unlabelled)
    tracks += music
    tracks += variants_of(tracks, music, recipe.variants)
    with Teacher(arguments.python) as teacher:
        for track in tqdm(tracks, unit="clip"):

            def compute(track: Track = track) -> np.ndarray:
                return teacher.listen(samples_of(track, LONGEST, SAMPLE_RATE))

            try:
                cache.get(KIND, track.track_id, compute, _fits)
            except audio.AudioError as error:
                tqdm.write(f"left out: {error}")
            except RuntimeError as error:
                raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
