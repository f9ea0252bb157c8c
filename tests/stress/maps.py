"""Ends `beet agfmap` at random moments, and looks at what it leaves behind.

python -m tests.stress.maps [--kills 50] [--tracks 96] [--seed 0]

Every second time there is no layout yet, and no page; otherwise both are those of half of the
library. The command is ended by SIGKILL: in turns at any moment, while it writes the layout, and
while it writes the page. It writes slowly, or hardly any kill would fall into that. Then

- the library must open and be sound, and its genres and all files what they were,
- the stored features must be sound,
- the page must be the old one or the new one, to the last byte,
- and the next `beet agfmap` must write the new one.
"""

import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.stress import analysed
from tests.stress.training import contents
from tests.stress.workplace import Kept, Workplace, show_counts, workplace

PIECES, PAUSE = 40, 0.001  # that a file is written in, and seconds before each
LATER = PIECES * PAUSE  # seconds at most from the beginning of a write to the kill
SLOW = f"""
import io, pathlib, time

class Slow(io.FileIO):
    def write(self, content):
        time.sleep({PAUSE})
        return super().write(bytes(content[: len(content) // {PIECES} + 64]))

def slowly(path, mode="r", *others, opens=pathlib.Path.open, **more):
    slow = mode == "xb"
    return io.BufferedWriter(Slow(path, mode)) if slow else opens(path, mode, *others, **more)

pathlib.Path.open = slowly
"""
NONE, HALF = "no page", "the page of an earlier library"


@dataclass
class Trial:
    """A library of which maps are drawn again and again."""

    place: Workplace
    genres: dict[Path, list[str]] = field(default_factory=dict)
    files: dict[Path, str] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)
    old: dict[str, bytes] = field(default_factory=dict)  # pages; empty for none
    new: dict[str, bytes] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def page(self) -> Path:
        """The page."""
        return self.place.home / "maps" / "map.html"

    @classmethod
    def prepare(cls, place: Workplace, tracks: int) -> "Trial":
        """Fill the library, and see what whole runs take and write."""
        analysed.fill(place, tracks)
        trial = cls(place, place.in_library(), contents(place))
        trial.page.parent.mkdir()
        everything = Kept(place, "everything")
        trial.add(NONE)
        everything.restore()
        place.beet("remove", "-f", f"id:1..{tracks // 2}")
        trial.draw()
        trial.place.database.write_bytes((everything.folder / "library.db").read_bytes())
        trial.add(HALF)
        assert trial.old[HALF] != trial.new[HALF]
        return trial

    @property
    def slowly(self) -> tuple[str, str]:
        """The command by which Python writes slowly."""
        folder = self.place.home.with_name("slow")
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(SLOW)
        paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        return "env", f"PYTHONPATH={os.pathsep.join(paths)}"

    def draw(self) -> None:
        """Draw the map."""
        self.place.beet("agfmap", "-o", str(self.page))

    def read(self) -> bytes:
        """Return the page, if there is one."""
        return self.page.read_bytes() if self.page.exists() else b""

    def add(self, name: str) -> None:
        """Keep the workplace as it is now, and see what a run makes of it."""
        self.kept[name], self.old[name] = Kept(self.place, name), self.read()
        began = time.perf_counter()
        self.draw()
        self.seconds[name] = time.perf_counter() - began
        self.new[name] = self.read()

    def writes(self, folder: Path, process: subprocess.Popen) -> None:
        """Wait until something is written in a folder."""
        while process.poll() is None and not list(folder.glob(".*.partial")):
            pass

    def kill(self, name: str, wait: Callable[[subprocess.Popen], None]) -> None:
        """End one run, and check what is left of it."""
        self.kept[name].restore()
        process = self.place.start("agfmap", "-o", str(self.page), under=self.slowly)
        wait(process)
        self.counts["had ended before"] += process.poll() is not None
        process.kill()
        process.communicate()
        self.counts["runs ended by SIGKILL"] += 1
        assert self.place.in_library() == self.genres, "the library has other genres"
        assert contents(self.place) == self.files, "files have changed"
        assert analysed.stored(self.place) == len(self.genres)
        page = self.read()
        assert page in (self.old[name], self.new[name]), f"{len(page)} bytes of a page"
        self.counts["after which the new page was there"] += page == self.new[name]
        partial = list(self.page.parent.glob(".*.partial"))
        self.counts["left the beginning of a page"] += bool(partial)
        partial = list((self.place.cache / "map").glob(".*.partial"))
        self.counts["left the beginning of a layout"] += bool(partial)
        self.draw()
        assert self.read() == self.new[name]
        self.counts["finished by the next run"] += 1


def run(kills: int, tracks: int, seed: int = 0) -> Counter[str]:
    """Do all of it; `AssertionError` says what was wrong."""
    rng = random.Random(seed)
    with workplace() as place:
        trial = Trial.prepare(place, tracks)

        def any_moment(process: subprocess.Popen) -> None:
            time.sleep(rng.uniform(0.2, 1) * trial.seconds[name])

        def layout(process: subprocess.Popen) -> None:
            trial.writes(place.cache / "map", process)
            time.sleep(rng.uniform(0, LATER))

        def page(process: subprocess.Popen) -> None:
            trial.writes(trial.page.parent, process)
            time.sleep(rng.uniform(0, LATER))

        for number in range(kills):
            name = (NONE, HALF)[number % 2]
            wait = (page, layout, any_moment)[number % 3]
            trial.kill(name, wait)
            print(f"SIGKILL with {name} ({wait.__name__})", flush=True)
        return trial.counts


if __name__ == "__main__":
    show_counts(__doc__, run, kills=50, tracks=96, seed=0)
