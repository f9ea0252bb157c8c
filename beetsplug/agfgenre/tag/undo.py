"""``beet agfgenre --undo``: restore the genres that the last run replaced."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, cast

from beets.library import Album, Item
from beets.util import displayable_path, syspath
from mediafile import UnreadableFileError

from beetsplug.agfgenre.console import name_of, show_changes
from beetsplug.agfgenre.database import BATCH_SIZE, store, uninterrupted, writing
from beetsplug.agfgenre.fields import mark_set_by_plugin, shown_genres, stored_genres
from beetsplug.agfgenre.summary import Outcome, Summary
from beetsplug.agfgenre.tag.file_writer import FileTags, try_write, written_genres
from beetsplug.agfgenre.tag.journal import (
    Change,
    date_of,
    journals,
    opened,
    replace_changes,
    same_genres,
)

if TYPE_CHECKING:
    from beets.library import Library
    from beets.logging import BeetsLogger

    from beetsplug.agfgenre.config import Settings
    from beetsplug.agfgenre.fields import TrackOrAlbum


def restore(
    lib: Library, query: Sequence[str], settings: Settings, log: BeetsLogger, summary: Summary
) -> bool:
    """Restore what the last run replaced, of all that matches; count what became of it.

    The last run is the last one that replaced anything of what matches, so that repeated calls go
    further and further back. Tracks and albums whose genres have changed since that run, in the
    library or in the file, are skipped and reported.

    Returns
    -------
    bool
        Whether there was anything to restore.

    Raises
    ------
    UserError
        If the library or the journals cannot be written.
    """
    matches: Callable[[Change], bool] | None = None
    for path, changes in journals(lib):
        matches = matches or _matching(lib, query)
        chosen = [change for change in changes if matches(change)]
        if not chosen:
            continue
        undo = _Undo(lib, path.stem, settings, log, summary)
        log.info("restoring what the run of {} replaced", date_of(path.stem))
        if settings.pretend:
            undo.restore(chosen, lambda: None)
        else:
            others = [one for one in changes if not matches(one)]
            with opened(path) as working:
                undo.restore(chosen, partial(replace_changes, working, others))
        return True
    return False


class _Undo:
    """Undoes changes of one run, and counts what became of the tracks and albums."""

    def __init__(
        self, lib: Library, run: str, settings: Settings, log: BeetsLogger, summary: Summary
    ) -> None:
        self._lib, self._run, self._settings, self._log = lib, run, settings, log
        self._summary = summary

    def restore(self, changes: Sequence[Change], forget: Callable[[], None]) -> None:
        """Undo one change after the other, the last first, and store the objects by the batch.

        Ctrl-C stops it between two batches. The last one ends with `forget`, which removes the
        changes from the journal, and is not stopped: another call would undo the run before.
        """
        reverse = changes[::-1]
        *batches, last = [reverse[i : i + BATCH_SIZE] for i in range(0, len(reverse), BATCH_SIZE)]
        for batch in batches:
            with uninterrupted():
                self._restore_batch(batch)
        with suppress(KeyboardInterrupt), uninterrupted():
            self._restore_batch(last)
            forget()

    def _restore_batch(self, changes: Iterable[Change]) -> None:
        objs: dict[tuple[bool, int, float], TrackOrAlbum] = {}  # one may have changed twice
        with writing(self._lib):
            try:
                for change in changes:
                    key = (change.path is None, change.id, change.added)
                    obj = objs.get(key)
                    obj = change.find(self._lib) if obj is None else obj
                    if obj is None:
                        self._summary.add(Outcome.GONE, Item if change.path else Album)
                    elif self._restore(change, obj):
                        objs[key] = obj
            finally:
                if objs and not self._settings.pretend:
                    with self._lib.transaction():
                        for obj in objs.values():
                            store(obj)

    def _restore(self, change: Change, obj: TrackOrAlbum) -> bool:
        """Undo one change; return whether the object is to be stored."""
        with self._read(obj) as file:
            return self._restore_both(change, obj, file)

    def _restore_both(self, change: Change, obj: TrackOrAlbum, file: FileTags | None) -> bool:
        """Undo one change in the library and in the file, where there is one to be written."""
        genres = stored_genres(obj)
        in_file = file.genres if file else None
        old_in_file = change.old if change.in_file is None else change.in_file
        is_old = same_genres(genres, change.old)
        if not (is_old or same_genres(genres, change.new)) or not (
            in_file is None
            or same_genres(in_file, old_in_file)
            or same_genres(in_file, change.new)
            or same_genres(in_file, shown_genres(obj, change.new))
            or same_genres(in_file, written_genres(cast(Item, obj), change.new))
        ):
            self._log.warning("{}: skipped, its genres have changed since that run", name_of(obj))
            self._summary.add(Outcome.CHANGED, type(obj))
            return False
        if change.ours is not None:
            mark_set_by_plugin(obj, change.ours)
        file_differs = in_file is not None and not same_genres(in_file, old_in_file)
        if is_old and not file_differs:
            self._summary.add(Outcome.UNCHANGED, type(obj))
            return True
        obj.genres = change.old
        if not is_old and not self._settings.quiet:
            show_changes(obj)
        if file_differs and not self._settings.pretend:
            item = cast(Item, obj)
            try_write(item, self._run, self._summary, self._log, old_in_file, file)
        self._summary.add(Outcome.TAGGED, type(obj))
        return True

    @contextmanager
    def _read(self, obj: TrackOrAlbum) -> Iterator[FileTags | None]:
        """Yield the tags of a track's file, if there is one and files are to be written."""
        with ExitStack() as stack:
            file = None
            if self._settings.write and isinstance(obj, Item):
                try:
                    file = stack.enter_context(FileTags(obj))
                except UnreadableFileError as error:
                    missing = not os.path.exists(syspath(obj.path))
                    problem = f"{displayable_path(obj.path)} does not exist" if missing else error
                    self._log.error("{}; its genres are restored in the library only", problem)
            yield file


def _matching(lib: Library, query: Sequence[str]) -> Callable[[Change], bool]:
    """Return a function for whether a change is of a track or an album that matches.

    An album matches, too, if one of its tracks does.
    """
    if not query:
        return lambda change: True
    tracks = {item.id: item.album_id for item in lib.items(query)}
    albums = {album.id for album in lib.albums(query)} | set(tracks.values())
    return lambda change: change.id in (albums if change.path is None else tracks)
