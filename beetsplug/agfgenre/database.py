"""Change the library: whole batches at a time, with one clear line where that fails."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from beets.dbcore.db import DBAccessError
from beets.library import Album
from beets.ui import UserError
from beets.util import displayable_path

from agf_core.utils import atomic

if TYPE_CHECKING:
    from beets.library import Library

    from beetsplug.agfgenre.fields import TrackOrAlbum

SUFFIX = "-agfgenre"  # of the folder beside a library
LOGGER = "beets.agfgenre"  # the plugin's
ROLLBACK_RECORD = "write.rollback"  # name of a file
BATCH_SIZE = 16  # tracks or albums that are written and stored together


def store(obj: TrackOrAlbum) -> None:
    """Store a track, or an album without its tracks."""
    if isinstance(obj, Album):
        obj.store(inherit=False)  # or every track would get the album's genres
    else:
        obj.store()


def folder_beside(lib: Library) -> Path | None:
    """Return the folder for the plugin's files about a library, which need not exist yet.

    None for a library in memory, which ends with its process.
    """
    path = os.fsdecode(lib.path)
    return None if path == ":memory:" else Path(path + SUFFIX)


def make_folder(folder: Path) -> None:
    """Make the folder beside a library, so that whoever may write the library may write there.

    Raises
    ------
    OSError
        If it is not there and cannot be made.
    """
    try:
        folder.mkdir()
    except FileExistsError:
        return
    with suppress(OSError):
        status = os.stat(str(folder).removesuffix(SUFFIX))
        atomic.give_owner(folder, status)
        rights = status.st_mode & 0o666
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | rights | rights >> 2 & 0o111)


def rollback_record(lib: Library) -> Path | None:
    """Return the file in which `beetsplug.agfgenre.tag.rollback` notes what it is writing."""
    folder = folder_beside(lib)
    return folder and folder / ROLLBACK_RECORD


@contextmanager
def writing(lib: Library) -> Iterator[None]:
    """Raise a `UserError` of one line where the database refuses to be written."""
    try:
        yield
    except (DBAccessError, sqlite3.Error) as error:
        path = displayable_path(os.fsencode(lib.path))
        raise UserError(
            f"agfgenre: the library {path} cannot be written ({error}); make room there, allow "
            "writing, or end what else uses it, and run again"
        ) from error


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C until the end of the block, so that files are written whole."""
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
