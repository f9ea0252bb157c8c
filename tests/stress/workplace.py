"""A throw-away beets library of real files, and looking into it from outside."""

import argparse
import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import beets
import numpy as np
from beets.library import Item, Library
from mediafile import MediaFile

from agf_core.audio import decode
from beetsplug.agfgenre.database import ROLLBACK_RECORD
from beetsplug.agfgenre.tag.file_writer import COPY_PREFIX

CLIPS = Path(__file__).parents[1] / "data"
SUFFIXES = {
    ".mp3",
    ".flac",
    ".m4a",
    ".ogg",
    ".opus",
    ".wma",
    ".wav",
    ".aiff",
    ".wv",
    ".mpc",
    ".ape",
}


def clips(folder: Path = CLIPS) -> list[Path]:
    """Return the audio files below a folder of which beets can read and write the tags."""
    found = sorted(path for path in folder.rglob("[!.]*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise SystemExit(f"no audio files in {folder}")
    return found


class Workplace:
    """A beets library in a folder of its own.

    Parameters
    ----------
    home : Path
        Where everything goes: configuration, library and music.
    options : str
        More lines of configuration.
    """

    def __init__(self, home: Path, options: str = "") -> None:
        self.home, self.music = home, home / "music"
        self.database = home / "library.db"
        self.cache = home / "cache" / "beets-agf"
        self.music.mkdir(parents=True)
        (home / "config.yaml").write_text(
            f"directory: {self.music}\nlibrary: {self.database}\nplugins: agfgenre\n{options}\n"
        )
        self.beet("ls")  # which makes the library

    def fill(
        self,
        sources: Sequence[Path],
        tracks: int,
        genres: Callable[[int], list[str]],
        artist: Callable[[int], str] = lambda number: "",
    ) -> None:
        """Copy as many files as wanted into the music folder, and add them to the library."""
        library = Library(os.fspath(self.database), directory=os.fspath(self.music))
        with library.music_dir_context(), library.transaction():
            for number in range(tracks):
                source = sources[number % len(sources)]
                path = self.music / f"{number // 10:02}" / f"{number:04}{source.suffix}"
                path.parent.mkdir(exist_ok=True)
                shutil.copy(source, path)
                file = MediaFile(path)
                file.genres = genres(number)
                if artist(number):
                    file.artist = artist(number)
                file.save()
                library.add(Item.from_path(os.fsencode(path)))
        library._close()

    def start(self, *arguments: str, under: Sequence[str] = (), **options) -> subprocess.Popen:
        """Start a `beet` command here, `under` another command if there is one.

        A shell that starts this in the background makes it, and what it starts, deaf to Ctrl-C.
        """
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return subprocess.Popen(
            [*under, sys.executable, "-m", "beets", *arguments],
            env=os.environ
            | {
                "BEETSDIR": str(self.home),
                "XDG_CACHE_HOME": str(self.cache.parent),
                "OMP_NUM_THREADS": "1",
            },
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options,
        )

    def wait_until_started(self, process: subprocess.Popen) -> None:
        """Wait until a `beet` command has opened the library: before, Ctrl-C is beets' matter."""
        descriptors = Path(f"/proc/{process.pid}/fd")
        while process.poll() is None:
            with suppress(FileNotFoundError):
                if self.database in map(Path.readlink, descriptors.iterdir()):
                    return
            time.sleep(0.001)

    def beet(self, *arguments: str) -> str:
        """Run a `beet` command here; return what it says on standard error."""
        process = self.start(*arguments)
        _, said = process.communicate()
        if process.returncode:
            raise AssertionError(f"beet {' '.join(arguments)} failed: {said}")
        return said

    def listed(self, form: str) -> list[str]:
        """Return a line for every track, as `beet ls -f` prints it."""
        process = self.start("ls", "-f", form)
        lines, _ = process.communicate()
        return lines.splitlines()

    def in_library(self) -> dict[Path, list[str]]:
        """Return the genres that the library has for each file; checks its integrity."""
        with sqlite3.connect(self.database) as database:
            (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
        database.close()
        assert verdict == "ok", verdict
        library = Library(os.fspath(self.database), directory=os.fspath(self.music))
        try:
            with library.music_dir_context():
                return {Path(os.fsdecode(item.path)): list(item.genres) for item in library.items()}
        finally:
            library._close()

    def in_files(self) -> dict[Path, list[str]]:
        """Return the genres in the tags of each file; formats may have one empty for none."""
        return {
            path: list(filter(None, MediaFile(path).genres or [])) for path in clips(self.music)
        }

    def leftovers(self) -> list[Path]:
        """Return what a run that has ended should have cleared away."""
        kept = (
            *self.home.glob("*-agfgenre/*.open"),
            *self.home.glob(f"*-agfgenre/{ROLLBACK_RECORD}*"),
        )
        return [*self.music.rglob(f"{COPY_PREFIX}*"), *kept]


class Kept:
    """A workplace as it was, to go back to."""

    def __init__(self, place: Workplace, name: str) -> None:
        self._place = place
        self.folder = place.home.with_name(name)
        shutil.copytree(place.home, self.folder)

    def restore(self) -> None:
        """Make the workplace what it was."""
        shutil.rmtree(self._place.home)
        shutil.copytree(self.folder, self._place.home)


@contextmanager
def workplace(folder: Path | None = None, options: str = "") -> Iterator[Workplace]:
    """Make a workplace that goes away again."""
    with TemporaryDirectory(dir=folder, prefix="agf-") as scratch, suppress(FileNotFoundError):
        yield Workplace(Path(scratch, "home"), options)


def write_noise(path: Path, seconds: float, *, low: bool, rng: np.random.Generator) -> None:
    """Write generated music as FLAC: low or high noise, of which no two are the same."""
    rate = 44_100
    noise = rng.normal(size=round(rate * seconds))
    kernel = np.ones(40) / 8 if low else np.array([1.0, -2.0, 1.0]) / 2
    samples = 0.05 * np.convolve(noise, kernel, "same")
    with av.open(os.fspath(path), "w", format="flac") as output:
        stream = output.add_stream("flac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray((samples * 32_767).astype("<i2")[None], "s16", "mono")
        frame.sample_rate = rate
        output.mux([*stream.encode(frame), *stream.encode(None)])


def sound(path: Path) -> str:
    """Return a fingerprint of all the samples in a file, whatever its tags."""
    return hashlib.sha256(decode.read(path).samples).hexdigest()


def show_counts(doc: str, run: Callable[..., Counter[str]], **defaults: Any) -> None:
    """Run from the command line what counts outcomes, with an option for each of its arguments."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    arguments = parser.parse_args()
    print(versions())
    for what, count in run(**vars(arguments)).items():
        print(f"{count:7} {what}")


def versions() -> str:
    """Say what was tried."""
    return f"beets {beets.__version__}, Python {sys.version.split()[0]}, {sys.platform}"
