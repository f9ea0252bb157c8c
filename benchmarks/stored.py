"""Time and memory of the commands that work from stored features, as a library grows.

python benchmarks/stored.py [--tracks 1000 10000 100000]

The tracks are empty files in a library of their own, with generated embeddings: clusters of artists
within clusters of genres, ten tracks by each artist. Each command is a process of its own.
"""

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

from machine import beet, describe, make_home
from map import fill

COMMANDS = {
    "beet agfsimilar": ("agfsimilar", "id:1"),
    "... --to, a path of 20": ("agfsimilar", "-n", "20", "id:1", "--to", "id:999"),
    "beet agfaudit": ("agfaudit",),
    "beet agftrain": ("agftrain", "-q"),
    "beet agfmap": ("agfmap", "-o", "map.html"),
    "... again": ("agfmap", "-o", "map.html"),
}
ENDS = 0, 3  # exit status; 3: the new model is not better


def measure(home: Path, *arguments: str) -> tuple[float, float, float]:
    """Run a command; return its seconds by the clock and of processor, and its peak in MiB."""
    began = time.perf_counter()
    process = subprocess.Popen(
        beet(home, *arguments),
        cwd=home,
        env=os.environ | {"BEETSDIR": str(home), "XDG_CACHE_HOME": str(home / "cache")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in ENDS:
        raise SystemExit(f"beet {' '.join(arguments)} ended with {process.returncode}")
    processor = usage.ru_utime + usage.ru_stime
    return time.perf_counter() - began, processor, usage.ru_maxrss / 1024  # KiB, on Linux


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tracks", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    arguments = parser.parse_args()
    print(describe())
    print(f"{'tracks':>8}  {'':24}{'s by clock':>12}{'processor':>12}{'MiB':>8}", flush=True)
    for tracks in arguments.tracks:
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder, "home")
            make_home(home)
            fill(home, tracks)
            for name, command in COMMANDS.items():
                wall, processor, peak = measure(home, *command)
                row = f"{tracks:>8}  {name:24}{wall:>12.1f}{processor:>12.1f}{peak:>8.0f}"
                print(row, flush=True)


if __name__ == "__main__":
    main()
