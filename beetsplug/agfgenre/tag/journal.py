"""The journal of a run, from which `beet agfgenre --undo` restores genres."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from beets.library import Item
from beets.ui import UserError
from beets.util import syspath

from beetsplug.agfgenre.database import folder_beside
from beetsplug.agfgenre.tag.decision import set_by_us
from beetsplug.agfgenre.tag.file_writer import copy_beside

try:
    import fcntl
except ImportError:  # Windows, where a file that is in use cannot be renamed or removed
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from beets.library import Library

    from beetsplug.agfgenre.tag.decision import Model


RUNS_KEPT = 20
OPEN, CLOSED = ".open", ".jsonl"


@dataclass(frozen=True)
class Note:
    """What a track or an album had, and what it gets.

    Attributes
    ----------
    id : int
        In the library.
    added : float
        When it came there: numbers are used again, times are not.
    path : str or None
        Of a track's file; an album has none.
    old, new : list of str
        Genres.
    ours : list of str or None
        Genres that the plugin had set until then; notes of older releases do not say.
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

    def find(self, lib: Library) -> Model | None:
        """Return the track or the album, if it is there still."""
        model = lib.get_album(self.id) if self.path is None else lib.get_item(self.id)
        return model if model and model.added == self.added else None


class Journal:
    """The notes of one run.

    Parameters
    ----------
    lib : Library
        A library in memory ends with its process: of such a one nothing is noted.
    """

    def __init__(self, lib: Library) -> None:
        self.run = f"{datetime.now(UTC):%Y%m%dT%H%M%S-%f}-{os.getpid()}"
        folder = folder_beside(lib)
        self._path = folder and folder / (self.run + OPEN)
        self._file: TextIO | None = None

    def note(self, model: Model, new: Sequence[str], in_file: Sequence[str] | None = None) -> None:
        """Note the genres of a track or an album, and which it is going to get.

        Parameters
        ----------
        model : Album or Item
        new : sequence of str
        in_file : sequence of str, optional
            Those of its file, if it has one.

        Raises
        ------
        UserError
            If that cannot be noted: then nothing may be replaced.
        """
        if self._path is None:
            return
        path = os.fsdecode(syspath(model.path)) if isinstance(model, Item) else None
        old, ours = list(model.genres or ()), list(set_by_us(model))
        # A file that has the new ones already has them from a run that was killed.
        told = in_file is None or _alike(in_file, old) or _alike(in_file, new)
        others = None if told else list(in_file or ())
        note = Note(cast(int, model.id), model.added, path, old, list(new), ours, others)
        try:
            if self._file is None:
                self._file = self._begin()
            self._file.write(_line(note))
            self._file.flush()
        except OSError as error:
            raise UserError(
                f"agfgenre: what is to be replaced cannot be noted in {self._path.parent}"
                f" ({error.strerror}); see that it may be written and has room; nothing more is "
                "changed"
            ) from error

    def close(self) -> None:
        """End the run."""
        if self._file is not None and self._path is not None:
            self._file.close()
            self._file = None
            self._path.rename(self._path.with_suffix(CLOSED))

    def _begin(self) -> TextIO:
        assert self._path is not None
        self._path.parent.mkdir(exist_ok=True)
        tidy(self._path.parent, RUNS_KEPT - 1)  # and this one
        file = self._path.open("w", encoding="ascii")
        _locked(file)
        return file


def tidy(folder: Path, kept: int = RUNS_KEPT) -> None:
    """Remove the copies that killed runs left, and the notes of all but the last runs."""
    for path in folder.glob(f"*{OPEN}"):
        with path.open(encoding="ascii") as file:
            if not _locked(file):
                continue  # it goes on
            for note in _read(file):
                if note.path is not None:
                    with suppress(OSError):
                        os.remove(copy_beside(os.path.realpath(note.path), path.stem))
        with suppress(OSError):
            path.rename(path.with_suffix(CLOSED))
    for path in sorted(folder.glob(f"*{CLOSED}"))[:-kept]:
        path.unlink(missing_ok=True)


def _alike(one: Sequence[str], other: Sequence[str]) -> bool:
    """Compare genres; where ``id3v23`` is set, several are one in the file, joined by a slash."""
    return "/".join(one) == "/".join(other)


# The files


def _line(note: Note) -> str:
    return json.dumps(asdict(note)) + "\n"


def _read(file: TextIO) -> Iterator[Note]:
    """Yield a run's notes; a line that was being written when the run was killed is none."""
    for line in file:
        with suppress(ValueError, TypeError):
            yield Note(**json.loads(line))


def _locked(file: TextIO) -> bool:
    """Lock a file as long as it is open; False if another process has done so."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass  # a file system without locks
    return True


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    """Turn what the disk has against the notes into one clear line."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"agfgenre: the notes in {folder} cannot be used ({error.strerror}); see that they "
            "may be written"
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[Path]:
    """Hold a run's notes as those of a run that goes on, and let go of them if they are left."""
    working = path.with_suffix(OPEN)
    with _usable(path.parent):
        path.rename(working)
    try:
        with working.open(encoding="ascii") as file:
            _locked(file)
            yield working
    finally:
        with suppress(OSError):
            working.rename(path)
