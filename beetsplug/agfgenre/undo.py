"""What a run replaces, noted before it does, and put back when the user wants that.

Every run notes in a file of its own, a line of JSON for each track or album, beside the library:
``library.db-agfgenre/<time>.jsonl``. A line is there before anything is changed, so that a run that
is killed can be put back as well, in the library and in the files. While a run goes on, its file
ends in ``.open``; one that is found so later was killed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from beets.library import Album, Item
from beets.ui import UserError
from beets.util import displayable_path, syspath
from mediafile import UnreadableFileError

from agf_core import storage

from .decision import Outcome, mark_ours, set_by_us
from .report import Summary, name_of, show_changes
from .storing import BATCH, folder_beside, store, uninterrupted, writing
from .writing import copy_beside, genres_in_file, try_write

try:
    import fcntl
except ImportError:  # Windows, where a file that is in use cannot be renamed or removed
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from beets.library import Library
    from beets.logging import BeetsLogger

    from .decision import Model
    from .settings import Settings

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


def put_back(
    lib: Library, query: Sequence[str], settings: Settings, log: BeetsLogger, summary: Summary
) -> bool:
    """Put back what the last run replaced, of all that matches; count what became of it.

    That is the last run that replaced anything of what matches, so that by putting back again
    and again one comes ever further back. What has other genres by now than that run gave it, in
    the library or in its file, is left alone and named.

    Returns
    -------
    bool
        Whether there was anything to put back.

    Raises
    ------
    UserError
        If the library or the notes cannot be written.
    """
    folder = folder_beside(lib)
    if folder is None or not folder.is_dir():
        return False
    with _usable(folder):
        tidy(folder)
    matches = _matching(lib, query)
    for path in sorted(folder.glob(f"*{CLOSED}"), reverse=True):
        with path.open(encoding="ascii") as file:
            notes = list(_read(file))
        chosen = [note for note in notes if matches(note)]
        if not chosen:
            continue
        undo = _Undo(lib, path.stem, settings, log, summary)
        if settings.pretend:
            undo.put_back(chosen)
        else:
            with _opened(path) as working:
                undo.put_back(chosen)
                with _usable(folder):
                    _replace(working, [note for note in notes if not matches(note)])
        return True
    return False


class _Undo:
    """Puts notes back, and counts what became of the tracks and albums."""

    def __init__(
        self, lib: Library, run: str, settings: Settings, log: BeetsLogger, summary: Summary
    ) -> None:
        self._lib, self._run, self._settings, self._log = lib, run, settings, log
        self.summary = summary

    def put_back(self, notes: Sequence[Note]) -> None:
        """Put back one note after the other, the last first, and store them by the batch."""
        remaining = reversed(notes)
        while batch := list(islice(remaining, BATCH)):
            models: dict[tuple[object, ...], Model] = {}  # an album may have been noted twice
            with writing(self._lib), uninterrupted():
                try:
                    for note in batch:
                        which = (note.path is None, note.id, note.added)
                        model = models.get(which)
                        model = note.find(self._lib) if model is None else model
                        if model is None:
                            self.summary.add(Outcome.GONE, Item if note.path else Album)
                        elif self._put_back(note, model):
                            models[which] = model
                finally:
                    if models and not self._settings.pretend:
                        with self._lib.transaction():
                            for model in models.values():
                                store(model)

    def _put_back(self, note: Note, model: Model) -> bool:
        """Put one back; return whether it is to be stored."""
        there = model.genres or []
        in_file = self._genres_in_file(model)
        old_in_file = note.old if note.in_file is None else note.in_file
        if there not in (note.old, note.new) or not (
            in_file is None or _alike(in_file, old_in_file) or _alike(in_file, note.new)
        ):
            self._log.warning(
                "{}: left alone, for its genres have been changed since", name_of(model)
            )
            self.summary.add(Outcome.CHANGED, type(model))
            return False
        in_file_too = in_file is not None and not _alike(in_file, old_in_file)
        if note.ours is not None:
            mark_ours(model, note.ours)
        if there == note.old and not in_file_too:
            self.summary.add(Outcome.UNCHANGED, type(model))
            return True
        model.genres = note.old
        if there != note.old and not self._settings.quiet:
            show_changes(model, ("genres",))
        if in_file_too and not self._settings.pretend:
            model.genres = old_in_file
            try_write(cast(Item, model), self._run, self.summary, self._log)
            model.genres = note.old
        self.summary.add(Outcome.TAGGED, type(model))
        return True

    def _genres_in_file(self, model: Model) -> list[str] | None:
        """Return what the file says, if there is one and files are to be written."""
        if not self._settings.write or not isinstance(model, Item):
            return None
        try:
            return genres_in_file(model)
        except UnreadableFileError as error:
            missing = not os.path.exists(syspath(model.path))
            what = f"{displayable_path(model.path)} does not exist" if missing else error
            self._log.error("{}; only the library is put back", what)
            return None


def _alike(one: Sequence[str], other: Sequence[str]) -> bool:
    """Compare genres; where ``id3v23`` is set, several are one in the file, joined by a slash."""
    return "/".join(one) == "/".join(other)


def _matching(lib: Library, query: Sequence[str]) -> Callable[[Note], bool]:
    """Return what tells whether a note is of a track or album that matches, or has such tracks."""
    if not query:
        return lambda note: True
    tracks = {item.id: item.album_id for item in lib.items(query)}
    albums = {album.id for album in lib.albums(query)} | set(tracks.values())
    return lambda note: note.id in (albums if note.path is None else tracks)


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


def _replace(path: Path, notes: Sequence[Note]) -> None:
    """Leave only these notes."""
    if not notes:
        path.unlink()
        return
    with storage.written(path) as file:
        file.writelines(_line(note).encode("ascii") for note in notes)
