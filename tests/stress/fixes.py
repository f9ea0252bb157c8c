"""Ends `beet agfaudit --fix` at random moments, and looks at what it leaves behind.

python -m tests.stress.fixes [--kills 50] [--tracks 96] [--seed 0]

A third of a library's tracks have a wrong genre. At a terminal, `beet agfaudit --fix` suggests the
right one for each, and all are accepted. The command is ended by SIGKILL: every fifth time at any
moment, otherwise after the first track was changed. After the next `beet` command

- the library must open and be sound, as must the stored features,
- each file must decode to the samples it had,
- each track must have its old or its new genres, in the library and in the file,
- and either the next `beet agfaudit --fix` corrects the rest or, every third time,
  `beet agfgenre --undo` restores everything; neither leaves anything lying about.
"""

import os
import pty
import random
import subprocess
import termios
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.stress import analysed
from tests.stress.workplace import Kept, Workplace, show_counts, sound, workplace

COMMAND = ("agfaudit", "--fix", "-n", "0")


@contextmanager
def at_terminal(
    place: Workplace, answers: str, under: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen, Callable[[str], object]]]:
    """Start `beet agfaudit --fix` at a terminal; yield it, and what types more answers."""
    ours, theirs = pty.openpty()
    mode = termios.tcgetattr(theirs)
    mode[3] &= ~termios.ECHO  # nobody reads it
    termios.tcsetattr(theirs, termios.TCSANOW, mode)

    def answer(text: str) -> None:
        os.write(ours, text.encode())

    answer(answers)
    try:
        yield place.start(*COMMAND, under=under, stdin=theirs), answer
    finally:
        os.close(theirs)
        os.close(ours)


def fix(place: Workplace, answers: str, under: Sequence[str] = ()) -> tuple[int, str]:
    """Run `beet agfaudit --fix`; return the exit status and what it says on standard error."""
    with at_terminal(place, answers, under) as (process, _):
        _, said = process.communicate()
    assert "Traceback" not in said, said
    return process.returncode, said


def wait_for_change(place: Workplace, process: subprocess.Popen) -> None:
    """Wait until the first change is recorded."""
    folder = place.database.with_name(f"{place.database.name}-agfgenre")
    while process.poll() is None and not list(folder.glob("*.open")):
        time.sleep(0.001)


@dataclass
class Trial:
    """A library that is corrected again and again, and what its tracks had and get."""

    place: Workplace
    answers: str = ""
    sounds: dict[Path, str] = field(default_factory=dict)
    old: dict[Path, list[str]] = field(default_factory=dict)
    new: dict[Path, list[str]] = field(default_factory=dict)
    kept: Kept | None = None
    seconds: tuple[float, float] = (0, 0)  # until the first change, and until the end
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def prepare(cls, place: Workplace, tracks: int) -> "Trial":
        """Fill the library, and see how long a whole run takes and what it gives."""
        analysed.fill(place, tracks)
        trial = cls(place, "a\n" * tracks)
        trial.old = place.in_library()
        trial.sounds = {path: sound(path) for path in trial.old}
        assert trial.old == place.in_files()
        trial.kept = Kept(place, "kept")
        began = time.perf_counter()
        with at_terminal(place, trial.answers) as (process, _):
            wait_for_change(place, process)
            changed = time.perf_counter()
            process.communicate()
        trial.seconds = changed - began, time.perf_counter() - began
        trial.new = place.in_library()
        changes = sum(trial.new[path] != genres for path, genres in trial.old.items())
        assert changes == -(-tracks // analysed.WRONG_EVERY), changes
        trial.agree(trial.new)
        return trial

    def agree(self, genres: dict[Path, list[str]]) -> None:
        """Check that the library and the files have these genres, and nothing lies about."""
        assert self.place.in_library() == genres, "the library has other genres"
        assert self.place.in_files() == genres, "the files have other genres"
        assert not self.place.leftovers(), self.place.leftovers()

    def kill(self, after: float, *, while_changing: bool, undo: bool) -> None:
        """End one run, and check what is left of it."""
        assert self.kept
        self.kept.restore()
        with at_terminal(self.place, self.answers) as (process, _):
            if while_changing:
                wait_for_change(self.place, process)
            time.sleep(after)
            self.counts["had ended before"] += process.poll() is not None
            process.kill()
            process.communicate()
        self.counts["runs ended by SIGKILL"] += 1
        self.counts["files rolled back"] += "it is what it was before" in self.place.beet("ls")
        self.check()
        if undo:
            self.place.beet("agfgenre", "--undo", "-q")
            self.agree(self.old)
            self.counts["restored"] += 1
        else:
            self.place.beet("agfgenre", "--explain", "-p", "-q")  # recognises files by their sound
            status, said = fix(self.place, self.answers)
            assert status == 0, said
            self.agree(self.new)
            self.counts["finished by the next run"] += 1

    def check(self) -> None:
        """Check that everything is old or new."""
        assert analysed.stored(self.place) == len(self.old)
        library, files = self.place.in_library(), self.place.in_files()
        for path, samples in self.sounds.items():
            assert sound(path) == samples, f"{path} has changed its sound"
            for genres in (library[path], files[path]):
                assert genres in (self.old[path], self.new[path]), f"{path} has {genres}"
        changed = [path for path in files if self.old[path] != self.new[path]]
        done = sum(files[path] == self.new[path] for path in changed)
        apart = sum(library[path] != files[path] for path in changed)
        assert apart <= 1, "tracks are stored one by one"
        self.counts["ended with some but not all tracks corrected"] += 0 < done < len(changed)
        self.counts["files ahead of the library"] += apart


def run(kills: int, tracks: int, seed: int = 0) -> Counter[str]:
    """Do all of it; `AssertionError` says what was wrong."""
    rng = random.Random(seed)
    with workplace() as place:
        trial = Trial.prepare(place, tracks)
        first, end = trial.seconds
        for number in range(kills):
            while_changing = number % 5 > 0
            after = rng.uniform(0, end - first if while_changing else end)
            trial.kill(after, while_changing=while_changing, undo=number % 3 == 2)
            print(f"SIGKILL {after:.2f} s after {'changes' if while_changing else 'start'}")
        return trial.counts


if __name__ == "__main__":
    show_counts(__doc__, run, kills=50, tracks=96, seed=0)
