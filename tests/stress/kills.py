"""Ends `beet agfgenre` at random moments, and looks at what it leaves behind.

python -m tests.stress.kills [--kills 50] [--interrupts 20] [--undos 20] [--tracks 200]
                            [--folder MUSIC] [--seed 0]

A library of copies of the clips (or of the files in MUSIC) is tagged, a third of them with genres
that are replaced. In three runs of four the tracks were analysed before, so that they do nothing
but write. The run is ended by SIGKILL, or SIGINT, after a time drawn from how long it takes. After
the next `beet` command, whatever it is,

- the library must open and be sound,
- each file must decode to the samples it had,
- each track must have all of its old genres or all of its new ones, in the library and in the file,
- and either the next run brings all tracks to their new genres in both, or, every third time,
  `--undo` brings all to their old ones; neither leaves anything lying about.

Then as many times as `--undos` says, `--undo` is ended in the same way, every third time by SIGINT,
and a second `--undo` must finish it.
"""

import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.stress.workplace import CLIPS, Kept, Workplace, clips, show_counts, sound, workplace

OLD = ["Old Genre"]
COMMAND = ("agfgenre", "-f", "-q")
UNDO = ("agfgenre", "--undo", "-q")


@dataclass
class Trial:
    """A library that is tagged again and again, and what its tracks had and get."""

    place: Workplace
    sounds: dict[Path, str] = field(default_factory=dict)
    old: dict[Path, list[str]] = field(default_factory=dict)
    new: dict[Path, list[str]] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)  # by what the run does
    seconds: dict[str, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def prepare(cls, place: Workplace, sources: list[Path], tracks: int) -> "Trial":
        """Fill the library, and see how long whole runs take and what they give."""
        place.fill(sources, tracks, lambda number: OLD if number % 3 == 0 else [])
        trial = cls(place)
        trial.sounds = {path: sound(path) for path in place.in_library()}
        trial.old = place.in_library()
        assert trial.old == place.in_files()
        for doing in ("analysing", "writing"):
            trial.kept[doing] = Kept(place, doing)
            start = time.perf_counter()
            place.beet(*COMMAND)
            trial.seconds[doing] = time.perf_counter() - start
            trial.new = place.in_library()
            assert trial.new == place.in_files()
            assert all(new != trial.old[path] for path, new in trial.new.items())
            if doing == "writing":
                trial.kept["undoing"] = Kept(place, "undoing")
            start = time.perf_counter()
            place.beet(*UNDO)  # predictions stay in the library
            trial.seconds["undoing"] = time.perf_counter() - start
            trial.agree(trial.old)
        return trial

    def agree(self, genres: dict[Path, list[str]]) -> None:
        """Check that the library and the files have these genres, and nothing lies about."""
        assert self.place.in_library() == genres, "the library has other genres"
        assert self.place.in_files() == genres, "the files have other genres"
        assert not self.place.leftovers(), self.place.leftovers()

    def end(self, how: signal.Signals, doing: str, after: float, undo: bool) -> None:
        """End one run, and check what is left of it."""
        self.kept[doing].restore()
        process = self.place.start(*(UNDO if doing == "undoing" else COMMAND))
        time.sleep(after)
        process.send_signal(how)
        process.communicate()
        self.counts["files rolled back"] += "it is what it was before" in self.place.beet("ls")
        library, files = self.place.in_library(), self.place.in_files()
        for path, samples in self.sounds.items():
            assert sound(path) == samples, f"{path} has changed its sound"
            for genres in (library[path], files[path]):
                assert genres in (self.old[path], self.new[path]), f"{path} has {genres}"
        apart = sum(library[path] != files[path] for path in self.sounds)
        begun = sum(files[path] == self.new[path] for path in self.sounds)
        assert how == signal.SIGKILL or not apart, "Ctrl-C left files and library apart"
        what = "undos" if doing == "undoing" else "runs"
        self.counts[f"{what} ended by {how.name}"] += 1
        self.counts[f"{what} ended with some but not all tracks done"] += 0 < begun < len(files)
        self.counts[f"{what} ended with leftovers"] += bool(self.place.leftovers())
        self.counts["files ahead of the library"] += apart
        self.counts["tracks looked at"] += len(files)
        if undo:
            self.place.beet(*UNDO)
            self.agree(self.old)
            self.counts["restored"] += 1
        else:
            self.place.beet(*COMMAND)
            self.agree(self.new)
            self.counts["finished by the next run"] += 1


def run(
    kills: int, interrupts: int, undos: int, tracks: int, folder: Path, seed: int = 0
) -> Counter[str]:
    """Do all of it; `AssertionError` says what was wrong."""
    rng = random.Random(seed)
    with workplace(options="agfgenre:\n  min_confidence: 0") as place:
        trial = Trial.prepare(place, clips(folder), tracks)
        for number in range(kills + interrupts):
            how = signal.SIGKILL if number < kills else signal.SIGINT
            doing = "writing" if number % 4 else "analysing"
            after = rng.uniform(0.2, 1) * trial.seconds[doing]
            trial.end(how, doing, after, undo=number % 3 == 2)
            print(f"{how.name} while {doing}, after {after:.2f} s: all well", flush=True)
        for number in range(undos):
            how = signal.SIGINT if number % 3 == 2 else signal.SIGKILL
            after = rng.uniform(0.2, 1) * trial.seconds["undoing"]
            trial.end(how, "undoing", after, undo=True)
            print(f"{how.name} while undoing, after {after:.2f} s: all well", flush=True)
        return trial.counts


if __name__ == "__main__":
    show_counts(__doc__, run, kills=50, interrupts=20, undos=20, tracks=200, folder=CLIPS, seed=0)
