"""Changing the library: in one piece, and with one clear line where it cannot be done."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beets.dbcore.db import DBAccessError
from beets.dbcore.types import MULTI_VALUE_DSV, BaseString
from beets.library import Album
from beets.ui import UserError
from beets.util import displayable_path

if TYPE_CHECKING:
    from beets.library import Library

    from .decision import Model

BATCH = 16  # tracks or albums that are written and stored together, and lost if the run is killed


class Labels(BaseString[tuple[str, ...], tuple[str, ...]]):
    """Several labels in one field, written as beets writes its own, but a tuple.

    Of lists beets (2.14.1) cannot show that ``beet modify FIELD!`` takes them away.
    """

    model_type: type[tuple[str, ...]] = tuple

    def format(self, value: tuple[str, ...]) -> str:
        """Show labels to people."""
        return MULTI_VALUE_DSV.format(list(value))

    def parse(self, string: str) -> tuple[str, ...]:
        """Read labels as they are in the library, or as people write them."""
        return tuple(MULTI_VALUE_DSV.parse(string))

    def normalize(self, value: Any) -> tuple[str, ...]:
        """Return labels, however they are given, as a tuple."""
        return tuple(MULTI_VALUE_DSV.normalize(list(value) if isinstance(value, tuple) else value))

    def to_sql(self, model_value: tuple[str, ...]) -> str:
        """Write labels as they are in the library."""
        return MULTI_VALUE_DSV.to_sql(list(model_value))


LABELS = Labels()


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
