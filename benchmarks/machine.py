"""The machine, files and libraries to run on, and a clock, for all benchmarks."""

import contextlib
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

import av

from agf_core.inference.worker import WORKER_ENVIRONMENT

FORMATS = ["mp3", "flac", "m4a", "ogg", "opus", "wma", "wav", "aiff", "wv", "mpc", "ape", "tta"]


def describe() -> str:
    """Return processor, cores, Python version and how busy the machine is in a line."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        name = names[0].split(":")[1].strip() if names else name
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    return (
        f"{name}, {cores()} cores, {load}, {platform.system()}, Python {platform.python_version()}"
    )


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def audio_files(folder: Path) -> list[Path]:
    """Return the audio files below `folder`; ends the program where there are none."""
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower()[1:] in FORMATS)
    if not files:
        raise SystemExit(f"no audio files in {folder}")
    return files


def spread(files: Sequence[Path], count: int) -> list[Path]:
    """Return `count` of the files, as far apart as can be; some of them again if there are few."""
    step = max(1, len(files) // count)
    return list(islice(cycle(files[::step]), count))


class Cost(NamedTuple):
    """Seconds that a step took: by the clock, and of processors, child processes included."""

    wall: float
    processor: float


def cost(step: Callable[[], object]) -> Cost:
    """Run a step; where the machine has other work, processor time is what can be compared."""

    def processor() -> float:
        used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(one.ru_utime + one.ru_stime for one in used)

    before, start = processor(), time.perf_counter()
    step()
    return Cost(time.perf_counter() - start, processor() - before)


def beet(home: Path, *arguments: str) -> list[str]:
    """Return the `beet` command line of a library, for `subprocess`."""
    return [sys.executable, "-m", "beets", "-c", str(home / "config.yaml"), *arguments]


def make_home(home: Path, options: str = "", plugins: str = "agfgenre") -> None:
    """Make a folder with the configuration of a beets library in it."""
    home.mkdir()
    (home / "config.yaml").write_text(
        f"plugins: [{plugins}]\nlibrary: {home}/library.db\ndirectory: {home}/music\n{options}\n"
    )


@contextlib.contextmanager
def library(home: Path) -> Iterator:
    """Open the library of a folder."""
    from beets.library import Library

    lib = Library(str(home / "library.db"), directory=str(home / "music"))
    with lib.music_dir_context(), lib.transaction():
        yield lib
    lib._close()


def fill(
    home: Path, files: Sequence[Path], place: Callable[[Path, Path], object], options: str = ""
) -> None:
    """Make a library of files, less their genres; `place` puts each into its music folder."""
    from beets.library import Item

    make_home(home, options)
    with library(home) as lib:
        for number, file in enumerate(files):
            path = home / "music" / f"{number // 100:03}" / f"{number:05}{file.suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            place(file, path)
            item = Item.from_path(os.fsencode(path))
            item.genres = []
            lib.add(item)


def run(home: Path, *arguments: str, status: int = 0) -> None:
    """Run a `beet` command to its end with an exit status; its cache is of this library alone."""
    surroundings = os.environ | {"XDG_CACHE_HOME": str(home / "cache")}
    surroundings.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled
    command = beet(home, *arguments)
    process = subprocess.run(command, stdout=subprocess.DEVNULL, env=surroundings)
    if process.returncode != status:
        raise subprocess.CalledProcessError(process.returncode, command)


def make_songs(clips: Sequence[Path], folder: Path, count: int, seconds: float) -> list[Path]:
    """Make MP3 files of that many seconds by joining the frames of MP3 clips, as they are.

    The clips are those of the highest rate, of which most music is. Ten files are made, and copied
    where more are wanted: nothing that is measured here recognises a song.
    """
    folder.mkdir()
    kinds: dict[tuple[int, int, int], list[Path]] = {}
    for clip in clips:
        with av.open(str(clip)) as source:
            stream = source.streams.audio[0]
            if stream.codec_context.name.startswith("mp3"):
                kind = (stream.sample_rate, stream.channels, stream.bit_rate or 0)
                kinds.setdefault(kind, []).append(clip)
    if not kinds:
        raise SystemExit("no MP3 files among the clips")
    parts = cycle(max(kinds.items(), key=lambda kind: (kind[0][0], len(kind[1])))[1])
    songs: list[Path] = []
    for number in range(count):
        song = folder / f"{number:04}.mp3"
        if number < 10:
            _join(parts, song, seconds)
        else:
            shutil.copy(songs[number % 10], song)
        songs.append(song)
    return songs


def _join(parts: Iterator[Path], song: Path, seconds: float) -> None:
    with av.open(str(song), "w") as output:
        stream, ticks, tick = None, 0, 0.0
        while ticks * tick < seconds:
            with av.open(str(next(parts))) as source:
                stream_in = source.streams.audio[0]
                stream = stream or output.add_stream_from_template(stream_in)
                tick = float(stream_in.time_base)
                for packet in source.demux(stream_in):
                    if packet.dts is not None:  # the last one is empty
                        packet.pts = packet.dts = ticks
                        ticks += packet.duration
                        packet.stream = stream
                        output.mux(packet)


def in_worker_environment() -> None:
    """Start this program again in the environment of the plugin's worker, unless it is there.

    Memory and threads are set up when a process starts.
    """
    if not WORKER_ENVIRONMENT.keys() <= os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.argv], WORKER_ENVIRONMENT | os.environ)
