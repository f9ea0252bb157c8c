"""What a teacher hears: musicnn, which has learnt 50 tags from the Million Song Dataset.

    python -m training.teacher --table development.csv --audio corpora --work work --python PYTHON

puts what it hears of every clip beside the other features, to be learnt from as task t; predicting
needs none of it. musicnn 0.1.0 (Pons and Serra, 2019; ISC licence) runs on TensorFlow 2.15, which
does not get along with what else is needed here: PYTHON is that of an environment of its own, with

    pip install 'numpy<2' tensorflow==2.15.0 librosa
    pip install --no-deps musicnn==0.1.0

Stopped, it goes on where it was.
"""

import argparse
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
from tqdm import tqdm

from agf_core import audio
from agf_core.cache import FeatureCache
from agf_core.corpus import Track

KIND = "musicnn-msd"
N_FEATURES = 250  # see `musicnn_child`
FARTHEST = 4.0  # standard deviations that a target lies from the mean at most
SAMPLE_RATE = 16_000  # hertz, musicnn's
CHILD = Path(__file__).with_name("musicnn_child.py")


def heard(tracks: Sequence[Track], cache: FeatureCache) -> list[np.ndarray]:
    """Return what the teacher has heard of each track, (250,), averaged over the clip.

    Raises
    ------
    ValueError
        When it has not heard one.
    """

    def missing(track: Track) -> np.ndarray:
        raise ValueError(
            f"the teacher has not heard {track.path}; run python -m training.teacher first"
        )

    return [cache.get(KIND, t.track_id, partial(missing, t), _fits) for t in tracks]


def teacher_targets(features: Sequence[np.ndarray], train: np.ndarray) -> np.ndarray:
    """Return features as targets: of mean 0 and deviation 1 over the training tracks.

    Returns
    -------
    np.ndarray [shape=(n_tracks, 250), dtype=float32]
    """
    rows = np.stack(features)
    mean, std = rows[train].mean(axis=0), rows[train].std(axis=0)
    scaled: np.ndarray = (rows - mean) / np.maximum(std, 1e-3)
    return scaled.clip(-FARTHEST, FARTHEST).astype(np.float32)


def _fits(stored: np.ndarray) -> bool:
    return stored.shape == (N_FEATURES,) and bool(np.isfinite(stored).all())


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
        """Return what it hears, (250,), of mono samples at 16 kHz.

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
        answer = self.process.stdout.read(4 * N_FEATURES)
        if len(answer) != 4 * N_FEATURES:
            raise RuntimeError(f"{self.python} has ended; has its environment musicnn?")
        return np.frombuffer(answer, np.float32)


def main() -> None:
    """Run the command."""
    # Here, because these learn from what is heard.
    from training.corpora import read_table
    from training.options import add_corpora

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_corpora(parser)
    parser.add_argument("--python", required=True, help="of an environment that has musicnn")
    arguments = parser.parse_args()
    cache = FeatureCache(arguments.work / "features")
    with Teacher(arguments.python) as teacher:
        for track in tqdm(read_table(arguments.table, arguments.audio), unit="clip"):

            def compute(track: Track = track) -> np.ndarray:
                return teacher.listen(audio.read(track.path, sample_rate=SAMPLE_RATE).samples)

            try:
                cache.get(KIND, track.track_id, compute, _fits)
            except audio.AudioError as error:
                tqdm.write(f"left out: {error}")
            except RuntimeError as error:
                raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
