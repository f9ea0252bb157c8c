"""Correct suspects one by one, as the user decides; `beet agfgenre --undo` restores them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from beets import ui
from beets.library import Album, Item

from agf_core.data.genre_names import fold_genre_name
from beetsplug.agfgenre.audit.show import show_suspect
from beetsplug.agfgenre.console import name_of, plural, show
from beetsplug.agfgenre.database import store, uninterrupted, writing
from beetsplug.agfgenre.fields import stored_genres
from beetsplug.agfgenre.tag.apply import GenreApplier
from beetsplug.agfgenre.tag.journal import Journal, same_genres
from beetsplug.agfgenre.vocabulary import unique

if TYPE_CHECKING:
    from beets.library import Library
    from beets.logging import BeetsLogger

    from beetsplug.agfgenre.audit.find import Suspect
    from beetsplug.agfgenre.config import Settings
    from beetsplug.agfgenre.fields import TrackOrAlbum
    from beetsplug.agfgenre.vocabulary import Vocabulary

CHOICES = ("accept", "keep", "type", "skip", "quit")
SKIP = "s"  # what Enter does: nothing is changed by mistake


class Fixer:
    """Walks through suspects; what was decided on is written and stored at once.

    Parameters
    ----------
    lib : Library
    vocabulary : Vocabulary
    settings : Settings
        Whether files are written.
    log : BeetsLogger
    """

    def __init__(
        self, lib: Library, vocabulary: Vocabulary, settings: Settings, log: BeetsLogger
    ) -> None:
        self._lib, self._log, self._vocabulary = lib, log, vocabulary
        # What the user accepts replaces the wrong genre, also where tagging adds to what is there.
        self._settings = replace(settings, keep_existing=False)
        self._changed = self._kept = 0

    def walk(self, suspects: Sequence[Suspect]) -> None:
        """Show one suspect after the other, and do what the user chooses.

        Raises
        ------
        UserError
            If the library or the journal cannot be written.
        KeyboardInterrupt
            On Ctrl-C; what was decided before is done.
        """
        with closing(Journal(self._lib)) as journal:
            self._applier = GenreApplier(self._vocabulary, self._settings, self._log, journal)
            try:
                for place, suspect in enumerate(suspects, start=1):
                    obj = self._current(suspect)
                    if obj is None:
                        continue
                    show("")
                    show(f"{place} of {len(suspects)}")
                    show_suspect(suspect, obj)
                    if not self._decide(suspect, obj):
                        break
            finally:
                self._log.info("{}", self._text())

    def _current(self, suspect: Suspect) -> TrackOrAlbum | None:
        """Return the track or album, if it has the genres that were checked: walks take long."""
        fetch = self._lib.get_album if suspect.is_album else self._lib.get_item
        obj: TrackOrAlbum | None = fetch(suspect.id)
        if obj and tuple(self._vocabulary.genres_of(stored_genres(obj))) == suspect.has:
            return obj
        name = name_of(obj) if obj else f"id:{suspect.id}"
        self._log.info("{}: skipped, it has changed meanwhile", name)
        return None

    def _decide(self, suspect: Suspect, obj: TrackOrAlbum) -> bool:
        """Do what the user chooses; return False to quit."""
        choice = ui.input_options(CHOICES, default=SKIP)
        if choice == "q":
            return False
        if choice == "k":
            obj["agf_kept"] = list(suspect.has)
            with writing(self._lib), uninterrupted():
                store(obj)
            self._kept += 1
        elif genres := self._wanted(suspect, cast(str, choice)):
            with writing(self._lib), uninterrupted():
                self._change(obj, genres)
        return True

    def _wanted(self, suspect: Suspect, choice: str) -> list[str]:
        """Return the genres that the user wants; none to change nothing."""
        if choice == "a":
            return unique([suspect.suggested, *suspect.has[1:]])
        if choice == "t":
            typed = ui.input_("Genres, separated by ; (Enter: skip):")
            return unique(filter(None, (name.strip() for name in typed.split(";"))))
        return []

    def _change(self, obj: TrackOrAlbum, genres: Sequence[str]) -> None:
        """Give a track, or an album and its tracks that have its genres, other genres."""
        old = stored_genres(obj)
        objs: list[TrackOrAlbum] = [obj]
        if isinstance(obj, Album):
            objs += [item for item in obj.items() if same_genres(stored_genres(item), old)]
        try:
            for one in objs:
                self._applier.choose(one, genres)
                self._changed += 1
        finally:
            with self._lib.transaction():
                for one in objs:
                    store(one)
        if isinstance(obj, Item) and (album := obj.get_album()):
            self._complete(album)

    def _complete(self, album: Album) -> None:
        """Give an album whose tracks have the same genres by now these genres."""
        common = {tuple(map(fold_genre_name, stored_genres(item))) for item in album.items()}
        genres = stored_genres(cast(Item, album.items().get()))
        if len(common) == 1 and not same_genres(stored_genres(album), genres):
            self._applier.choose(album, genres)
            store(album)

    def _text(self) -> str:
        parts = [f"changed {plural(self._changed, 'genre')}"]
        if self._kept:
            parts.append(f"kept {self._kept}")
        if self._changed:
            parts.append("`beet agfgenre --undo` restores what was changed")
        return "; ".join(parts)
