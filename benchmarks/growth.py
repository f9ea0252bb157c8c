"""Time per track and peak memory of predicting ever more files, each size in a process of its own.

python benchmarks/growth.py FOLDER [--tracks 100 1000 10000]

Fewer files than asked for are gone through again: what grows with the number of tracks shows all
the same.
"""

import argparse
import itertools
import resource
import subprocess
import sys
import time
from pathlib import Path

from machine import audio_files, describe


def measure(folder: Path, tracks: int) -> None:
    """Predict that many files in this process and print a line of the table."""
    from agf_core.tagger import GenreTagger

    files = itertools.islice(itertools.cycle(audio_files(folder)), tracks)
    tagger = GenreTagger.load()
    start = time.perf_counter()
    failed = sum(result.error is not None for result in tagger.predict_files(files))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB, on Linux
    print(f"{tracks:>8}{failed:>8}{seconds / tracks * 1e3:>12.1f}{peak:>12.0f}", flush=True)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tracks", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.folder, arguments.measure)
        return
    print(describe())
    print(f"{'tracks':>8}{'failed':>8}{'ms a track':>12}{'peak MiB':>12}", flush=True)
    for tracks in arguments.tracks:
        subprocess.run(
            [sys.executable, __file__, str(arguments.folder), "--measure", str(tracks)], check=True
        )


if __name__ == "__main__":
    main()
