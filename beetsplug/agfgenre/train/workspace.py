"""Where `beet agftrain` keeps features and checkpoints; only one process trains there at a time."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from beets.ui import UserError

from agf_core.errors import why_not_written
from beetsplug.agfgenre.models import cache_folder

if TYPE_CHECKING:
    from beets.library import Library

LOCK_FILE = "lock"  # beside the checkpoints


def work_folder(lib: Library) -> Path:
    """Return the folder of a library's checkpoints."""
    library = hashlib.sha256(os.fsencode(lib.path)).hexdigest()[:16]
    return cache_folder() / "learning" / library


def checkpoint_folder(work: Path, facts: Iterable[str]) -> Path:
    """Return the folder of one training's checkpoints; remove those of any other.

    Parameters
    ----------
    work : Path
        The library's.
    facts : iterable of str
        All that the checkpoints depend on.
    """
    folder = work / hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    if work.is_dir():
        for other in work.iterdir():
            if other.is_dir() and other != folder:
                shutil.rmtree(other, ignore_errors=True)
    return folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from training there, as they would remove these checkpoints.

    The system releases the lock when the process ends, however it ends; the file stays.

    Raises
    ------
    UserError
        If another process trains there, or nothing can be written there.
    """
    from filelock import FileLock, Timeout  # which only --deep needs

    lock = FileLock(folder / LOCK_FILE, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise UserError(
            "agftrain: another `beet agftrain` is training on this library; "
            "wait until it ends, or stop it, and run again; nothing is changed"
        ) from None
    except OSError as error:
        message = why_not_written(folder / LOCK_FILE, error)
        raise UserError(f"agftrain: {message}; nothing is changed") from None
    try:
        yield
    finally:
        lock.release()


def ignore_interrupts_at_exit() -> None:
    """Ignore Ctrl-C while Python shuts down, which takes PyTorch long enough to be hit."""
    # What is registered last is called first.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
