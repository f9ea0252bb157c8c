"""What a run replaces, noted before it does, and put back when the user wants that.

Every run notes in a file of its own, a line of JSON for each track or album, beside the library:
``library.db-agfgenre/<time>.jsonl``. A line is there before anything is changed, so that a run that
is killed can be put back as well, in the library and in the files. While a run goes on, its file
ends in ``.open``; one that is found so later was killed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

from beets.library import Album, Item
from beets.util import displayable_path, syspath
from mediafile import UnreadableFileError

from agf_core.utils import atomic
from beetsplug.agfgenre.console import name_of, show_changes
from beetsplug.agfgenre.database import BATCH, folder_beside, store, uninterrupted, writing
from beetsplug.agfgenre.summary import Summary
from beetsplug.agfgenre.tag.decision import Outcome, mark_ours
from beetsplug.agfgenre.tag.file_writer import genres_in_file, try_write
from beetsplug.agfgenre.tag.journal import (
    CLOSED,
    Note,
    _alike,
    _line,
    _opened,
    _read,
    _usable,
    tidy,
)

try:
    import fcntl
except ImportError:  # Windows, where a file that is in use cannot be renamed or removed
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from beets.library import Library
    from beets.logging import BeetsLogger

    from beetsplug.agfgenre.config import Settings
    from beetsplug.agfgenre.tag.decision import Model


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


def _matching(lib: Library, query: Sequence[str]) -> Callable[[Note], bool]:
    """Return what tells whether a note is of a track or album that matches, or has such tracks."""
    if not query:
        return lambda note: True
    tracks = {item.id: item.album_id for item in lib.items(query)}
    albums = {album.id for album in lib.albums(query)} | set(tracks.values())
    return lambda note: note.id in (albums if note.path is None else tracks)


def _replace(path: Path, notes: Sequence[Note]) -> None:
    """Leave only these notes."""
    if not notes:
        path.unlink()
        return
    with atomic.written(path) as file:
        file.writelines(_line(note).encode("ascii") for note in notes)
