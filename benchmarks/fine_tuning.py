"""Time and peak memory of each step of `beet agftrain` on a library of long MP3s.

python benchmarks/fine_tuning.py [--tracks 1000] [--minutes 4] [--folder DIR] [--whole s mds mdes]

The music is generated: stretches of noise and tones, encoded once and strung together in ever other
orders, four tracks to an artist and an artist to a genre: accuracy on it means nothing. The first
run analyses the music; the second, as well, has warm caches; those that follow train
the networks, too, with the groups given. On a busy machine, compare seconds of the processor.
"""

import argparse
import itertools
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from machine import describe

RATE = 44_100  # hertz
STRETCHES = 16
GENRES = ("Rumble", "Hiss", "Drone", "Chirp")


def stretch(kind: int, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Generate mono samples of one of four kinds."""
    n = int(seconds * RATE)
    noise = rng.normal(0, 0.1, n)
    if kind == 0:
        return np.convolve(noise, np.ones(32) / 8, "same")
    if kind == 1:
        return np.diff(noise, append=0)
    tone = np.cumsum(np.full(n, 2 * np.pi * rng.uniform(80, 400) / RATE))
    if kind == 2:
        return 0.3 * np.sin(tone) + 0.05 * noise
    return 0.3 * np.sin(tone * (1 + np.arange(n) / n)) + 0.05 * noise


def encode(samples: np.ndarray, path: Path) -> bytes:
    """Return samples as MP3 of 128 kbit/s, without any header of the container."""
    import av

    with av.open(str(path), "w", format="mp3", options={"write_xing": "0"}) as container:
        stream = container.add_stream("libmp3lame", rate=RATE, layout="mono")
        stream.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(
            samples.astype(np.float32)[None], format="fltp", layout="mono"
        )
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def make_library(home: Path, tracks: int, minutes: float) -> dict[str, str]:
    """Write MP3s and import them; return the environment to run beets in."""
    import mediafile

    music = home / "music"
    music.mkdir()
    rng = np.random.default_rng(0)
    seconds = minutes * 60 / STRETCHES
    parts = [
        [encode(stretch(kind, seconds, rng), home / "part.mp3") for _ in range(STRETCHES)]
        for kind in range(len(GENRES))
    ]
    for track in range(tracks):
        artist = track // 4
        kind = artist % len(GENRES)
        path = music / f"{track}.mp3"
        order = rng.permutation(STRETCHES)
        path.write_bytes(b"".join(parts[kind][i] for i in order))
        tags = mediafile.MediaFile(path)
        tags.update({"title": str(track), "artist": f"Artist {artist}", "genres": [GENRES[kind]]})
        tags.save()
    (home / "config.yaml").write_text(
        f"directory: {music}\nlibrary: {home}/library.db\nplugins: agfgenre\n"
        "import: {copy: no, quiet: yes, autotag: no, write: no}\n"
    )
    environment = os.environ | {"BEETSDIR": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    subprocess.run(
        [sys.executable, "-m", "beets", "import", "-s", str(music)],
        env=environment,
        check=True,
        capture_output=True,
    )
    return environment


def cpu_seconds(session: int) -> float:
    """Seconds of processor that the processes of a session have taken; 0 where /proc is missing."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[3]) == session:
            ticks += sum(map(int, fields[11:15]))  # its own and those of children that have ended
    return ticks / os.sysconf("SC_CLK_TCK")


def timed(environment: dict[str, str], *options: str) -> None:
    """Run `beet agftrain` from the shipped model on; print the time of each line that it logs."""
    beet = [sys.executable, "-m", "beets"]
    shipped = [*beet, "agfmodels", "use", "shipped"]
    subprocess.run(shipped, env=environment, check=True, capture_output=True)
    phases = [(time.perf_counter(), 0.0, "starting")]
    process = subprocess.Popen(
        [*beet, "agftrain", *options],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("agfgenre: "):
            what = line.removeprefix("agfgenre: ").strip()
            phases.append((time.perf_counter(), cpu_seconds(process.pid), what))
    process.wait()
    begun, (last, cpu, _) = phases[0][0], phases[-1]
    for (begin, used, what), (end, used_then, _) in itertools.pairwise(phases):
        print(f"  {what:88}{end - begin:8.1f} s{used_then - used:8.1f} s")
    print(
        f"agftrain {' '.join(options):81}{last - begun:8.1f} s{cpu:8.1f} s, "
        f"exit {process.returncode}",
        flush=True,
    )


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tracks", type=int, default=1_000)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--folder", type=Path, help="where the music is kept while it runs")
    parser.add_argument("--whole", nargs="*", default=["s"], help="groups of the whole runs")
    arguments = parser.parse_args()
    print(f"{describe()}, load {os.getloadavg()[0]:.1f} before")
    print(f"{arguments.tracks} MP3s of {arguments.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        environment = make_library(Path(folder).resolve(), arguments.tracks, arguments.minutes)
        print(f"  {'phase':88}{'time':>10}{'processor':>10}")
        timed(environment)
        timed(environment)
        for groups in arguments.whole:
            timed(environment, "--deep", "--groups", groups)
        cached: Counter[str] = Counter()
        for path in Path(folder, "cache").rglob("*.npy"):
            cached[path.parent.name] += path.stat().st_size
    for kind, size in cached.items():
        print(f"cache: {size / arguments.tracks / 1024:.1f} KiB a track of {kind}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # GiB, on Linux
    print(f"peak memory of the largest process: {peak:.2f} GiB")
    print(f"load {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
