"""Time and memory of `beet agfgenre` as a library grows, and of a second run with nothing to do.

python benchmarks/growth.py FOLDER [--tracks 100 1000 10000] [--again 50000]

The tracks are hard links of the files, several of each where there are too few (a sound that was
analysed under another name is analysed again). Tags are not written. For the second run the rows
of the first library are doubled until there are enough.
"""

import argparse
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import audio_files, cost, describe, fill, run, spread


def link(file: Path, path: Path) -> None:
    """Give a file another name; a copy where the folder is on another disk."""
    try:
        os.link(file, path)
    except OSError:
        shutil.copy(file, path)


def grow(home: Path, tracks: int) -> None:
    """Repeat the rows of a library until it has that many tracks."""
    with sqlite3.connect(home / "library.db") as database:

        def columns(table: str, *without: str) -> str:
            names = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            return ", ".join(f'"{name}"' for name in names if name not in without)

        (count,) = database.execute("SELECT max(id) FROM items").fetchone()
        for number in range(1, tracks // count):
            new = number * count
            for table, key, others in (
                ("items", "id", columns("items", "id")),
                ("item_attributes", "entity_id", columns("item_attributes", "id", "entity_id")),
            ):
                database.execute(
                    f"INSERT INTO {table} ({key}, {others})"
                    f" SELECT {key} + {new}, {others} FROM {table} WHERE {key} <= {count}"
                )
    database.close()


def measure(home: Path) -> None:
    """Run the command on a library, and print how long it took and the most memory of a process."""
    spent = cost(lambda: run(home, "agfgenre", "-W", "-q"))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # MiB, on Linux
    with sqlite3.connect(home / "library.db") as database:
        (tracks,) = database.execute("SELECT count(*) FROM items").fetchone()
    database.close()
    each = [seconds / tracks * 1e3 for seconds in spent]
    numbers = "".join(f"{number:>12.1f}" for number in (*spent, *each))
    print(f"{tracks:>8}{numbers}{peak:>10.0f}", flush=True)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tracks", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--again", type=int, default=50_000)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:  # in a process of its own, since a peak does not go down again
        measure(arguments.measure)
        return

    def measure_apart(home: Path) -> None:
        subprocess.run([sys.executable, __file__, str(home), "--measure", str(home)], check=True)

    print(describe())
    print(f"{'':8}{'seconds':>12}{'of':>12}{'ms a track':>12}{'of':>12}{'peak':>10}")
    names = "".join(f"{name:>12}" for name in 2 * ("by clock", "processors"))
    print(f"{'tracks':>8}{names}{'MiB':>10}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        files = audio_files(arguments.folder)
        first = Path(folder, str(arguments.tracks[0]))
        for tracks in arguments.tracks:
            home = Path(folder, str(tracks))
            fill(home, spread(files, tracks), link)
            measure_apart(home)
            if home != first:
                shutil.rmtree(home)
        print("again, with nothing to do", flush=True)
        grow(first, arguments.again)
        measure_apart(first)


if __name__ == "__main__":
    main()
