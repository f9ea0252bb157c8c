"""Ends processes that write stored features, and takes their disk away.

python -m tests.stress.store [--kills 50] [--seed 0]

A process stores features of track after track, records that files have moved, and removes those of
a second model. It is ended by SIGKILL at a random moment. Then SQLite must find no fault with the
file, all that the process had reported as stored must be found as it was, and the next process must
be able to go on. Then two processes write and remove at once; the disk is full; and the file may
not be written: then what is stored must still be found. The full disk is a real
one, which only root may mount; others leave it out.
"""

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from agf_core.inference.embeddings import EmbeddingStore
from tests.stress.situations import POWERLESS, small_disk
from tests.stress.store_writer import BATCH, MODEL, N_BASE, track
from tests.stress.workplace import show_counts


def start(folder: Path, first: int) -> subprocess.Popen[str]:
    """Start a process that writes."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.stress.store_writer", folder, str(first)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill(process: subprocess.Popen[str], after: float) -> tuple[int, str]:
    """End a process some time after its first track; return the first number not stored."""
    assert process.stdout is not None
    reported = process.stdout.readline()
    time.sleep(after)
    process.kill()
    rest, errors = process.communicate()
    numbers = (reported + rest).split()
    return int(numbers[-1]) if numbers else 0, errors


def check(folder: Path, numbers: range) -> None:
    """Check the file, and that these tracks are found as they were stored."""
    with sqlite3.connect(folder / "embeddings.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    store = EmbeddingStore(folder / "embeddings.db")
    expected = [track(folder, number) for number in numbers]
    for result in expected:
        found = store.features(MODEL, result.key)
        assert found is not None, f"track {result.path} is not there ({store.problem})"
        assert np.array_equal(found.embedding, result.features.embedding)
    table = store.table(MODEL, [result.path for result in expected], N_BASE)
    assert len(table.files) == len(expected), "files are not known any more"
    store.close()


def killed(folder: Path, kills: int, rng: random.Random, counts: Counter[str]) -> None:
    """End processes one after another, each of which goes on where the one before was ended."""
    first = 0
    for _ in range(kills):
        stored, errors = kill(start(folder, first), rng.uniform(0, 0.3))
        assert not errors, errors
        check(folder, range(max(0, stored - 5 * BATCH), stored))
        journals = [path for path in folder.iterdir() if path.name.endswith("-journal")]
        counts["processes ended by SIGKILL"] += 1
        counts["left a journal, which the next one rolled back"] += bool(journals)
        first = stored
    check(folder, range(first))
    counts["tracks stored by them, all found"] += first


def two_at_once(folder: Path, counts: Counter[str]) -> None:
    """Let two processes write and remove at once."""
    processes = {first: start(folder, first) for first in (0, 1_000_000)}
    for first, process in processes.items():
        stored, errors = kill(process, 0.5)
        assert not errors, errors
        check(folder, range(first, stored))
        counts["tracks stored by two at once, all found"] += stored - first


def full_disk(folder: Path, counts: Counter[str]) -> None:
    """Fill the disk."""
    with small_disk(folder, 400_000):
        process = start(folder, 0)
        out, errors = process.communicate()
        assert "embeddings.db cannot be used (database or disk is full)" in errors, errors
        assert errors.count("\n") == 1, errors
        stored = int(out.split()[-1])
        check(folder, range(stored))
        counts["tracks stored before the disk was full, all found"] += stored


def read_only(folder: Path, counts: Counter[str]) -> None:
    """Take the right to write away; what is stored must be found before and after a write."""
    stored, _ = kill(start(folder, 0), 0.1)
    check(folder, range(stored))
    program = (
        "import sys; from pathlib import Path; from tests.stress import store_writer as store; "
        "folder = Path(sys.argv[1]); one = store.EmbeddingStore(folder / 'embeddings.db'); "
        "first = store.track(folder, 0); one.add(store.MODEL, [first]); "
        "assert 'readonly' in one.problem, one.problem; "
        "assert one.features(store.MODEL, first.key) is not None"
    )
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    try:
        subprocess.run(
            [*POWERLESS, sys.executable, "-c", program, folder],
            check=True,
        )
    finally:
        folder.chmod(0o755)
    counts["read-only stores that are read all the same"] += 1


def run(kills: int, seed: int = 0) -> Counter[str]:
    """Do all of it; `AssertionError` says what was wrong."""
    rng, counts = random.Random(seed), Counter[str]()
    with TemporaryDirectory() as scratch:
        folders = [Path(scratch, name) for name in ("killed", "two", "full", "read-only")]
        for folder in folders:
            folder.mkdir()
        killed(folders[0], kills, rng, counts)
        two_at_once(folders[1], counts)
        if os.geteuid() == 0:
            full_disk(folders[2], counts)
        read_only(folders[3], counts)
    return counts


if __name__ == "__main__":
    show_counts(__doc__, run, kills=50, seed=0)
