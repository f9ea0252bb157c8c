"""What two teachers predict for windows of music: targets of the pretrained model.

    python -m training.pretrained.extract_teachers --table collection.csv --unlabelled music \
        --work work --python PYTHON --efficientat EfficientAT

puts windows of every track, and what the teachers predict for each, beside the other features.
Predicting needs none of it. musicnn runs on TensorFlow 2.15, which does not get along with what
else is needed here: PYTHON is that of an environment of its own, with

    pip install 'numpy<2' tensorflow==2.15.0 librosa torch torchaudio torchvision
    pip install --no-deps musicnn==0.1.0

The folder EfficientAT is a clone of https://github.com/fschmid56/EfficientAT, with
``mn04_as_mAP_432.pt`` of its release v0.0.1 in ``resources``.

Tracks are analysed on all cores. Stopped, the command goes on where it was.
"""

import argparse
import hashlib
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Self

import numpy as np
from tqdm import tqdm

from agf_core.audio import decode
from agf_core.data.tracks import Track
from agf_core.features.cache import FeatureCache
from agf_core.utils.workers import processes_for
from training.cli import add_collection, add_unlabelled, one_line_errors, positive
from training.datasets.collection import read_csv
from training.datasets.folders import read_folder
from training.errors import leave_to_the_sound
from training.pretrained.ontology import audioset_indices
from training.recipes import OURS
from training.teachers.features import EFFICIENTAT, MUSICNN, Teacher
from training.teachers.windows import EXCERPT, PARTS, make_windows

WORKER_PROGRAM = Path(__file__).parents[1] / "teachers" / "worker.py"
MN04_WEIGHTS = Path("resources", "mn04_as_mAP_432.pt")
MN04_SHA256 = "899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c"


class TeacherProcess:
    """A teacher in a process of its own, to be used in a ``with`` statement.

    Parameters
    ----------
    teacher : Teacher
    python : str
        The interpreter of an environment that has what it needs.
    arguments : sequence of str
        Further ones of `teacher_child`.
    """

    def __init__(self, teacher: Teacher, python: str, *arguments: str) -> None:
        self.teacher, self.python, self.arguments = teacher, python, arguments

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [self.python, str(WORKER_PROGRAM), self.teacher.name, *self.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for this process, which ends it in good order
        )
        return self

    def __exit__(self, *error: object) -> None:
        self.process.communicate()

    def analyse(self, samples: np.ndarray) -> np.ndarray:
        """Return the outputs, (n_stretches, n_features), of mono samples at 16 kHz.

        Raises
        ------
        RuntimeError
            When the process has ended; it has printed the reason.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(np.int64(len(samples)).tobytes())
            self.process.stdin.write(samples.astype(np.float32).tobytes())
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # its outputs are missing, too
        n = self.teacher.n_features
        head = self.process.stdout.read(8)
        size = 4 * n * int(np.frombuffer(head, np.int64)[0]) if len(head) == 8 else 0
        outputs = self.process.stdout.read(size)
        if not size or len(outputs) != size:
            raise RuntimeError(
                f"{self.python} has ended; has its environment what {self.teacher.name} needs?"
            )
        return np.frombuffer(outputs, np.float32).reshape(-1, n)


def the_clone(path: str) -> str:
    """Return the path of EfficientAT's clone if its weights are there, or end with a message."""
    weights = Path(path) / MN04_WEIGHTS
    try:
        found = hashlib.sha256(weights.read_bytes()).hexdigest()
    except OSError as error:
        raise SystemExit(f"{weights} cannot be read: {error.strerror}") from error
    if found != MN04_SHA256:
        raise SystemExit(
            f"{weights} is another file than the one that "
            "training.pretrained.extract_teachers describes"
        )
    return path


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_collection(parser)
    add_unlabelled(parser)
    parser.add_argument("--python", required=True, help="of the teachers' environment")
    parser.add_argument("--efficientat", required=True, type=the_clone, help="its clone")
    parser.add_argument(
        "--processes", type=positive, help="of each teacher at a time; by default one per core"
    )
    with one_line_errors():
        _extract(parser.parse_args())


def predict_with(
    teachers: Mapping[Teacher, TeacherProcess],
) -> Callable[[Teacher, np.ndarray], np.ndarray]:
    """Return a function that predicts by one of running teachers."""
    return lambda teacher, samples: teachers[teacher].analyse(samples)


def _extract(arguments: argparse.Namespace) -> None:
    cache = FeatureCache(arguments.work / "features")
    tracks = list(read_csv(arguments.table).tracks)
    tracks += read_folder(arguments.unlabelled) if arguments.unlabelled else []
    idle: SimpleQueue[dict[Teacher, TeacherProcess]] = SimpleQueue()

    def analyse(track: Track) -> str:
        """Analyse a track by both teachers; return a sentence on what is wrong with it, or ""."""
        teachers = idle.get()
        try:
            for part in PARTS:
                make_windows(
                    track,
                    part,
                    OURS.input,
                    cache,
                    predict_with(teachers),
                )
        except decode.AudioTooShortError:
            return ""  # there is nothing between the pieces of its excerpt
        except decode.AudioError as error:
            if part == EXCERPT:  # else it was analysed before, and its file may be gone since
                leave_to_the_sound(error)
            return str(error)
        finally:
            idle.put(teachers)
        return ""

    classes = ",".join(map(str, audioset_indices()))
    n_processes = processes_for(arguments.processes, len(tracks))
    with ExitStack() as stack:
        for _ in range(n_processes):
            musicnn = TeacherProcess(MUSICNN, arguments.python)
            efficientat = TeacherProcess(
                EFFICIENTAT, arguments.python, arguments.efficientat, classes
            )
            both = {one.teacher: stack.enter_context(one) for one in (musicnn, efficientat)}
            idle.put(both)
        pool = stack.enter_context(ThreadPoolExecutor(n_processes))
        stack.callback(pool.shutdown, cancel_futures=True)
        try:
            for error in tqdm(pool.map(analyse, tracks), total=len(tracks), unit="track"):
                if error:
                    tqdm.write(f"left out: {error}")
        except RuntimeError as error:
            raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
