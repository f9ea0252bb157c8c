"""Changing the library: in one piece, and with one clear line where it cannot be done."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from beets.dbcore.db import DBAccessError
from beets.library import Album
from beets.ui import UserError
from beets.util import displayable_path

if TYPE_CHECKING:
    from beets.library import Library

    from beetsplug.agfgenre.tag.decision import Model

BATCH = 16  # tracks or albums that are written and stored together, and lost if the run is killed


def store(model: Model) -> None:
    """Store a track, or an album by itself."""
    if isinstance(model, Album):
        model.store(inherit=False)  # or every track would get the album's genres
    else:
        model.store()


def folder_beside(lib: Library) -> Path | None:
    """Return the folder for what belongs to a library, which may be missing.

    None for a library in memory: what belongs to it ends with its process.
    """
    path = os.fsdecode(lib.path)
    return None if path == ":memory:" else Path(path + "-agfgenre")


@contextmanager
def writing(lib: Library) -> Iterator[None]:
    """Turn what the database has against it into one clear line, a `UserError`."""
    try:
        yield
    except (DBAccessError, sqlite3.Error) as error:
        path = displayable_path(os.fsencode(lib.path))
        raise UserError(f"agfgenre: the library {path} cannot be written: {error}") from error


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until a file has been written whole."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    presses: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: presses.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if presses:
        raise KeyboardInterrupt
