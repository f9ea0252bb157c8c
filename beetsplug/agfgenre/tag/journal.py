"""The journal of a run: what it replaced, so that `beet agfgenre --undo` can restore it.

Every run has a journal beside the library, ``library.db-agfgenre/r<number>-<time>.jsonl``, with one
line of JSON for each change of a track or an album. The line is written before the change is made,
so that a killed run can be undone as well. While a run is going on, its journal ends in ``.open``;
an open journal that no process has locked is one of a killed run.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from beets.library import Item
from beets.ui import UserError
from beets.util import syspath

from agf_core.data.genre_names import composed
from agf_core.utils import atomic
from beetsplug.agfgenre.database import folder_beside, make_folder
from beetsplug.agfgenre.fields import genres_set_by_plugin, stored_genres
from beetsplug.agfgenre.tag.file_writer import copy_beside

try:
    import fcntl
except ImportError:  # Windows, where a file that is in use cannot be renamed or removed
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from beets.library import Library

    from beetsplug.agfgenre.fields import TrackOrAlbum


RUNS_KEPT = 20
OPEN_SUFFIX, CLOSED_SUFFIX = ".open", ".jsonl"


@dataclass(frozen=True)
class Change:
    """The genres that a track or an album had, and those that it gets.

    Attributes
    ----------
    id : int
        In the library.
    added : float
        When it was added to the library: ids are used again, times are not.
    path : str or None
        Of a track's file; an album has none.
    old, new : list of str
        Genres.
    ours : list of str or None
        Genres that the plugin had set before; journals of older releases do not have it.
    in_file : list of str or None
        Genres that the file had, where those were neither `old` nor `new`.
    """

    id: int
    added: float
    path: str | None
    old: list[str]
    new: list[str]
    ours: list[str] | None = None
    in_file: list[str] | None = None

    def find(self, lib: Library) -> TrackOrAlbum | None:
        """Return the track or the album, if the library still has it."""
        obj = lib.get_album(self.id) if self.path is None else lib.get_item(self.id)
        return obj if obj and obj.added == self.added else None


class Journal:
    """The journal that a run writes.

    Parameters
    ----------
    lib : Library
        A library in memory ends with its process and has no journal.
    """

    def __init__(self, lib: Library) -> None:
        folder = folder_beside(lib)
        self.run = f"r{_next_number(folder):08}-{datetime.now(UTC):%Y%m%dT%H%M%S-%f}-{os.getpid()}"
        self._path = folder and folder / (self.run + OPEN_SUFFIX)
        self._file: TextIO | None = None

    def record(
        self, obj: TrackOrAlbum, new: Sequence[str], in_file: Sequence[str] | None = None
    ) -> None:
        """Record the genres of a track or an album, and those that it is going to get.

        Parameters
        ----------
        obj : Item or Album
        new : sequence of str
        in_file : sequence of str, optional
            Those of its file, if it has one.

        Raises
        ------
        UserError
            If the journal cannot be written: then nothing may be replaced.
        """
        if self._path is None:
            return
        path = os.fsdecode(syspath(obj.path)) if isinstance(obj, Item) else None
        old, ours = stored_genres(obj), list(genres_set_by_plugin(obj))
        # A file that has the new genres already has them from a run that was killed.
        known = in_file is None or same_genres(in_file, old) or same_genres(in_file, new)
        others = None if known else list(in_file or ())
        change = Change(cast(int, obj.id), obj.added, path, old, list(new), ours, others)
        try:
            if self._file is None:
                self._file = self._begin()
            self._file.write(_line(change))
            self._file.flush()
        except OSError as error:
            raise UserError(
                f"agfgenre: the journal in {self._path.parent} cannot be written "
                f"({error.strerror}); make room there or allow writing, and run again; nothing "
                "more is changed"
            ) from error

    def close(self) -> None:
        """End the run."""
        if self._file is not None and self._path is not None:
            self._file.close()
            self._file = None
            self._path.rename(self._path.with_suffix(CLOSED_SUFFIX))

    def _begin(self) -> TextIO:
        assert self._path is not None
        make_folder(self._path.parent)
        tidy(self._path.parent, RUNS_KEPT - 1)  # and this one
        file = self._path.open("w", encoding="ascii")
        _lock(file)
        return file


def _next_number(folder: Path | None) -> int:
    """Return the number of a new run: runs are ordered by it, since a clock may be set back.

    Journals of older releases have no number. Their names begin with a digit and come first.
    """
    names = [path.name for path in folder.glob("r*")] if folder else []
    return 1 + max((int(name[1:9]) for name in names if name[1:9].isdecimal()), default=0)


def tidy(folder: Path, kept: int = RUNS_KEPT) -> None:
    """Remove the copies of files that killed runs left, and all but the last journals."""
    for path in folder.glob(f"*{OPEN_SUFFIX}"):
        with path.open(encoding="ascii") as file:
            if not _lock(file):
                continue  # the run is going on
            for change in map(_decoded, file):
                if change and (written := change.get("path")) is not None:
                    with suppress(OSError, TypeError, ValueError):
                        os.remove(copy_beside(os.path.realpath(written), path.stem))
        with suppress(OSError):
            path.rename(path.with_suffix(CLOSED_SUFFIX))
    for path in sorted(folder.glob(f"*{CLOSED_SUFFIX}"))[:-kept]:
        path.unlink(missing_ok=True)


def journals(lib: Library) -> Iterator[tuple[Path, list[Change]]]:
    """Yield the journals of a library with their changes, the last run first.

    Raises
    ------
    UserError
        If the journals cannot be used.
    """
    folder = folder_beside(lib)
    if folder is None or not folder.is_dir():
        return
    with usable(folder):
        tidy(folder)
        paths = sorted(folder.glob(f"*{CLOSED_SUFFIX}"), reverse=True)
    for path in paths:
        with usable(folder), path.open(encoding="ascii") as file:
            lines = [line for line in map(_decoded, file) if line is not None]
        try:
            changes = [Change(**line) for line in lines]
        except TypeError:
            raise UserError(
                f"agfgenre: a newer version of beets-agf has recorded the run {path.stem}; upgrade "
                f"beets-agf to undo it, or remove {path} to undo the run before"
            ) from None
        yield path, changes


def date_of(run: str) -> str:
    """Return when a run began, in local time, from the name of its journal."""
    if not (found := re.search(r"\d{8}T\d{6}", run)):
        return run
    began = datetime.strptime(found[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return f"{began.astimezone():%Y-%m-%d %H:%M}"


@contextmanager
def opened(path: Path) -> Iterator[Path]:
    """Mark a journal as open and lock it; close it again at the end, if it is still there."""
    working = path.with_suffix(OPEN_SUFFIX)
    with usable(path.parent):
        path.rename(working)
    try:
        if fcntl is None:
            yield working
            return
        with working.open(encoding="ascii") as file:
            _lock(file)
            yield working
    finally:
        with suppress(OSError):
            working.rename(path)


def replace_changes(path: Path, changes: Sequence[Change]) -> None:
    """Leave only these changes in a journal; remove a journal that is left without any."""
    with usable(path.parent):
        if not changes:
            path.unlink()
            return
        with atomic.written(path) as file:
            file.writelines(_line(change).encode("ascii") for change in changes)


@contextmanager
def usable(folder: Path) -> Iterator[None]:
    """Raise a `UserError` of one line where the system refuses to read or write journals."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"agfgenre: the journals in {folder} cannot be used ({error.strerror}); allow reading "
            "and writing there, and run again"
        ) from error


def same_genres(one: Sequence[str], other: Sequence[str]) -> bool:
    """Compare genres; where ``id3v23`` is set, the file has several as one, joined by a slash."""
    return composed("/".join(one)) == composed("/".join(other))


def _line(change: Change) -> str:
    return json.dumps(asdict(change)) + "\n"


def _decoded(line: str) -> dict[str, Any] | None:
    """Return a change as a journal has it; None for a line cut off when the run was killed."""
    with suppress(ValueError):
        change = json.loads(line)
        return change if isinstance(change, dict) else None
    return None


def _lock(file: TextIO) -> bool:
    """Lock a file as long as it is open; return False if another process has locked it."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass  # a file system without locks
    return True
