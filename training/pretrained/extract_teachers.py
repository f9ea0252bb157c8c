r"""Apply the teachers to all clips, and keep their features beside the others.

    python -m training.pretrained.extract_teachers --table collection.csv --unlabelled music \
        --work work --python PYTHON --efficientat EfficientAT

musicnn runs on TensorFlow 2.15, which conflicts with other packages that are needed here: PYTHON is
that of an environment of its own, made with

    pip install 'numpy<2' tensorflow==2.15.0 librosa torch torchaudio torchvision
    pip install --no-deps musicnn==0.1.0

The folder EfficientAT is a clone of https://github.com/fschmid56/EfficientAT, with
``mn04_as_mAP_432.pt`` of its release v0.0.1 in ``resources``. `training.teachers.features` has more
about both. All cores are used. Stopped, it goes on where it was.
"""

import argparse
import hashlib
import os
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import lru_cache, partial
from pathlib import Path
from queue import SimpleQueue
from typing import Self

import numpy as np
from tqdm import tqdm

from agf_core.data.tracks import Track
from agf_core.errors import AudioError
from agf_core.features.cache import FeatureCache
from training.augment import augmented_copies, read_samples
from training.cli import add_collection, add_unlabelled, one_line_errors
from training.datasets.collection import read_csv
from training.errors import RunError
from training.features import LONGEST
from training.pretrained.pretrain import music_for
from training.recipes import RECIPES
from training.teachers.features import EFFICIENTAT, MUSICNN, SAMPLE_RATE, Teacher

WORKER = Path(__file__).parents[1] / "teachers" / "worker.py"
MN04 = Path("resources", "mn04_as_mAP_432.pt")
MN04_SHA256 = "899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c"


class TeacherProcess:
    """A teacher in a process of its own, to be used in a ``with`` statement.

    Parameters
    ----------
    teacher : Teacher
    python : str
        The interpreter of its environment.
    arguments : sequence of str
        Further ones of `training.teachers.worker`.
    """

    def __init__(self, teacher: Teacher, python: str, *arguments: str) -> None:
        self.teacher, self.python, self.arguments = teacher, python, arguments

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [self.python, str(WORKER), self.teacher.name, *self.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for this process, which ends it in good order
        )
        return self

    def __exit__(self, *error: object) -> None:
        self.process.communicate()

    def extract(self, samples: np.ndarray) -> np.ndarray:
        """Return the features, (n_stretches, n_features), of mono samples at 16 kHz.

        Raises
        ------
        RunError
            When the process has ended; its own message is on standard error.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(np.int64(len(samples)).tobytes())
            self.process.stdin.write(samples.astype(np.float32).tobytes())
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer is missing, too
        n = self.teacher.n_features
        head = self.process.stdout.read(8)
        size = 4 * n * int(np.frombuffer(head, np.int64)[0]) if len(head) == 8 else 0
        answer = self.process.stdout.read(size)
        if not size or len(answer) != size:
            raise RunError(
                f"{self.python} has ended; see that its environment has what {self.teacher.name}"
                " needs"
            )
        return np.frombuffer(answer, np.float32).reshape(-1, n)


def check_clone(folder: Path) -> None:
    """Check that a clone of EfficientAT has the weights; `RunError` otherwise."""
    weights = folder / MN04
    try:
        found = hashlib.sha256(weights.read_bytes()).hexdigest()
    except OSError as error:
        raise RunError(f"{weights} cannot be read ({error.strerror}); fetch it there") from error
    if found != MN04_SHA256:
        raise RunError(f"{weights} is another file than that of release v0.0.1; fetch it anew")


def extract_all(
    tracks: Sequence[Track], cache: FeatureCache, python: str, clone: Path, n_processes: int
) -> None:
    """Put both teachers' features of every track into the cache; unreadable clips are listed.

    Parameters
    ----------
    n_processes : int
        Of each teacher.
    """
    idle: SimpleQueue[tuple[TeacherProcess, TeacherProcess]] = SimpleQueue()

    def apply(one: TeacherProcess, samples: Callable[[], np.ndarray]) -> np.ndarray:
        return one.extract(samples())

    def extract(track: Track) -> str:
        """Apply both teachers to a track; return why it cannot be read, if so."""
        # Read once for both, and not at all where both have their features.
        samples = lru_cache(partial(read_samples, track, LONGEST, SAMPLE_RATE))
        both = idle.get()
        try:
            for one in both:
                kind, fits = one.teacher.kind, one.teacher.fits
                cache.get(kind, track.track_id, partial(apply, one, samples), fits)
        except AudioError as error:
            return str(error)
        finally:
            idle.put(both)
        return ""

    with ExitStack() as stack:
        for _ in range(n_processes):
            musicnn = TeacherProcess(MUSICNN, python)
            efficientat = TeacherProcess(EFFICIENTAT, python, str(clone))
            idle.put((stack.enter_context(musicnn), stack.enter_context(efficientat)))
        pool = stack.enter_context(ThreadPoolExecutor(n_processes))
        stack.callback(pool.shutdown, cancel_futures=True)
        for error in tqdm(pool.map(extract, tracks), total=len(tracks), unit="clip"):
            if error:
                tqdm.write(f"left out: {error}")


@one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_collection(parser)
    add_unlabelled(parser)
    parser.add_argument("--python", required=True, help="of the teachers' environment")
    parser.add_argument("--efficientat", required=True, type=Path, help="its clone")
    parser.add_argument("--recipe", choices=RECIPES, default="ours", help="that needs the features")
    parser.add_argument(
        "--processes", type=int, help="of each teacher at a time; by default one per core"
    )
    arguments = parser.parse_args()
    check_clone(arguments.efficientat)
    recipe = RECIPES[arguments.recipe]
    music = music_for(recipe, arguments.unlabelled)
    tracks = [*read_csv(arguments.table).tracks, *music]
    extract_all(
        [*tracks, *augmented_copies(tracks, music, recipe.augmented_copies)],
        FeatureCache(arguments.work / "features"),
        arguments.python,
        arguments.efficientat,
        arguments.processes or os.cpu_count() or 1,
    )


if __name__ == "__main__":
    main()
