"""What the situations of `tests.stress.world` are made of."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.stress.workplace import Workplace

OPTIONS = "agfgenre:\n  min_confidence: 0"
ROOT = os.geteuid() == 0
# Root may write what nobody may; without this power it is as everybody else.
POWERLESS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if ROOT else ()
Situation = Callable[[Workplace], None]


class Situations(dict[str, Situation]):
    """Situations by name; as a decorator it enters a function under its own."""

    def __call__(self, function: Situation) -> Situation:
        self[function.__name__] = function
        return function


@contextmanager
def small_disk(at: Path, size: int) -> Iterator[None]:
    """Mount a disk of so many bytes there, with what is there on it."""
    aside = at.with_name(at.name + "-aside")
    at.rename(aside)
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "agf", at], check=True)
    try:
        shutil.copytree(aside, at, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", at], check=True)


def size_of(folder: Path) -> int:
    """Return the bytes that files in a folder take on a disk."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*"))


def give_odd_names(place: Workplace) -> None:
    """Give files names with newlines, bytes that are no UTF-8, or many or odd characters."""
    for number, path in enumerate(sorted(place.in_files())):
        odd = (b"new\nline", b"caf\xe9", b"-f", b"%s", b"\xff\xfe", b"x" * 236)[number % 6]
        folder = os.fsencode(place.music) + b"/" + odd[:9]
        os.makedirs(folder, exist_ok=True)
        new = folder + b"/" + odd + str(number).encode() + os.fsencode(path.suffix)
        os.rename(path, new)
        with sqlite3.connect(place.database) as database:
            stored = os.path.relpath(new, os.fsencode(place.music))
            before = os.path.relpath(path, place.music).encode()
            full = os.fsencode(path), new
            changed = database.execute(
                "UPDATE items SET path = CASE path WHEN ? THEN ? ELSE ? END WHERE path IN (?, ?)",
                (full[0], full[1], stored, full[0], before),
            ).rowcount
        database.close()
        assert changed == 1
