"""Time and peak memory of making artist groups of MFCC frames, as the number of tracks grows.

python benchmarks/grouping.py [--tracks 1000 5000 25000] [--folder DIR]

The frames are generated, as many as clips of 30 s have, and lie on disk as the feature cache keeps
them: 25,000 tracks (FMA-medium's size, 32 million frames) take 1.7 GB there while it runs. Each
size runs in a process of its own.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import describe

FRAMES = 1_290  # of 30 s
TRACKS_PER_ARTIST = 5
KINDS_OF_ARTIST = 60


def generate(folder: Path, tracks: int) -> None:
    """Write frames shaped like MFCCs: each artist has a sound, and frames drift around it."""
    from agf_core.features.cache import FeatureCache

    rng = np.random.default_rng(0)
    spread = 90 / np.arange(1, 26)  # of each coefficient, about as real music has it
    kinds = rng.normal(0, spread, (KINDS_OF_ARTIST, 4, 25))  # the sounds a kind of artist makes
    cache = FeatureCache(folder)
    for track in range(tracks):
        kind = kinds[track // TRACKS_PER_ARTIST % KINDS_OF_ARTIST]
        steps = np.cumsum(rng.random(FRAMES) < 0.02)  # changes of sound, every second or so
        frames = kind[rng.integers(4, size=steps[-1] + 1)[steps]]
        frames = frames + rng.normal(0, spread / 2, 25) + rng.normal(0, spread / 3, frames.shape)
        cache.get("mfcc", str(track), lambda frames=frames: frames.astype(np.float16))


def measure(folder: Path, tracks: int, source: str) -> None:
    """Make groups of that many tracks in this process and print a line of the table."""
    from agf_core.features.cache import FeatureCache
    from agf_core.features.descriptors import Stored
    from agf_core.groups.lda import group_targets

    frames = Stored(FeatureCache(folder), "mfcc", [str(i) for i in range(tracks)], source)
    artists = [f"artist {i // TRACKS_PER_ARTIST}" for i in range(tracks)]
    start = time.perf_counter()
    groups, _ = group_targets(source, frames, artists, np.arange(tracks))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # GiB, on Linux
    n_groups, n_words = groups.topics.shape
    print(
        f"{source:>6}{tracks:>9}{n_words:>7}{n_groups:>8}"
        f"{seconds:>10.0f}{seconds / tracks * 1e3:>12.1f}{peak:>10.2f}",
        flush=True,
    )


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tracks", type=int, nargs="+", default=[1_000, 5_000, 25_000])
    parser.add_argument("--sources", default="md")
    parser.add_argument("--folder", type=Path, help="where the frames are kept while it runs")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        source, tracks = arguments.measure
        measure(arguments.folder, int(tracks), source)
        return
    print(describe())
    header = f"{'source':>6}{'tracks':>9}{'words':>7}{'groups':>8}"
    print(f"{header}{'seconds':>10}{'ms a track':>12}{'peak GiB':>10}", flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        generate(Path(folder), max(arguments.tracks))
        command = [sys.executable, __file__, "--folder", folder, "--measure"]
        for source in arguments.sources:
            for tracks in arguments.tracks:
                subprocess.run([*command, source, str(tracks)], check=True)


if __name__ == "__main__":
    main()
