"""Give a track or an album its genres: record, show and write what changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, cast

from beets.library import Album, Item
from mediafile import UnreadableFileError

from agf_core.data.genre_names import composed, fold_genre_name
from beetsplug.agfgenre.console import name_of, show, show_changes
from beetsplug.agfgenre.fields import (
    genres_set_by_plugin,
    is_set_by_plugin,
    mark_set_by_plugin,
    shown_genres,
    stored_genres,
)
from beetsplug.agfgenre.summary import Outcome, Summary
from beetsplug.agfgenre.tag.decision import Decision, decide, rank, rank_styles, single
from beetsplug.agfgenre.tag.file_writer import FileTags, try_write, written_genres
from beetsplug.agfgenre.tag.journal import same_genres
from beetsplug.agfgenre.vocabulary import unique

if TYPE_CHECKING:
    from beets.logging import BeetsLogger

    from agf_core.inference.prediction import Prediction
    from beetsplug.agfgenre.config import Settings
    from beetsplug.agfgenre.fields import TrackOrAlbum
    from beetsplug.agfgenre.tag.decision import StoredPrediction
    from beetsplug.agfgenre.tag.journal import Journal
    from beetsplug.agfgenre.vocabulary import Vocabulary

SHOWN_FIELDS = ("agf_confidence",)
EXPLAINED, EXPLAINED_STYLES = 5, 3  # how many are shown


class GenreApplier:
    """Gives tracks and albums their genres, and counts what became of them.

    It changes objects and files; its user stores the objects.

    Parameters
    ----------
    vocabulary : Vocabulary
    settings : Settings
    log : BeetsLogger
    journal : Journal, optional
        Where changes are recorded before they are made; without one, no file is written.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        settings: Settings,
        log: BeetsLogger,
        journal: Journal | None = None,
    ) -> None:
        self._vocabulary, self._settings, self._log = vocabulary, settings, log
        self._journal = None if settings.pretend else journal
        self.summary = Summary()

    def may_change(self, obj: TrackOrAlbum) -> bool:
        """Return whether the user wants other genres for a track or an album, should there be any.

        That is so of one without genres, and by the options of some that have them.
        """
        if self._settings.force or self._settings.keep_existing:
            return True
        return not self.current_genres(obj) or self._may_remove(obj)

    def current_genres(self, obj: TrackOrAlbum) -> list[str]:
        """Return the genres that a track or an album has now; placeholders are none."""
        return self._vocabulary.genres_of(stored_genres(obj))

    def decide(self, obj: TrackOrAlbum, prediction: StoredPrediction) -> Decision:
        """Decide by a prediction what a track or an album gets; change nothing."""
        decision = decide(prediction, self._vocabulary, self._settings)
        if not self.may_change(obj):
            return Decision(outcome=Outcome.HAS_GENRES)
        if not decision.genres and not self._may_remove(obj):
            return decision
        if not self._differs(obj, decision.genres):
            return Decision(outcome=Outcome.UNCHANGED) if decision.genres else decision
        return decision if decision.genres else Decision(outcome=Outcome.REMOVED)

    def apply(self, obj: TrackOrAlbum, decision: Decision) -> bool:
        """Do what was decided, and count it; return whether the object has changed."""
        outcome = decision.outcome
        if decision.changes:
            with self._read(obj) as file:
                if self._file_has_others(obj, decision.genres, file):
                    outcome = Outcome.IN_FILE
                else:
                    self._change(obj, decision.genres, file)
        self.summary.add(outcome, type(obj))
        return decision.changes and outcome is not Outcome.IN_FILE

    def apply_common(self, album: Album, genres: Sequence[str]) -> bool:
        """Give an album the genres that its tracks have in common; return whether it has changed.

        Without any, those that the plugin had set are removed, if the user wants that.
        """
        if not (genres or self._may_remove(album)) or not self._differs(album, genres):
            return False
        self._change(album, genres)
        self.summary.add(Outcome.TAGGED if genres else Outcome.REMOVED, type(album))
        return True

    def choose(self, obj: TrackOrAlbum, genres: Sequence[str]) -> None:
        """Give a track or an album genres that the user has chosen, which are not the plugin's."""
        with self._read(obj) as file:
            self._change(obj, genres, file, by_user=True)
        self.summary.add(Outcome.TAGGED, type(obj))

    def _may_remove(self, obj: TrackOrAlbum) -> bool:
        settings = self._settings
        return (
            settings.renew
            and not settings.keep_existing
            and is_set_by_plugin(obj, self.current_genres(obj))
        )

    def _change(
        self,
        obj: TrackOrAlbum,
        genres: Sequence[str],
        file: FileTags | None = None,
        *,
        by_user: bool = False,
    ) -> None:
        """Record, set and show genres, and write the file."""
        wanted = self._wanted(obj, genres)
        if self._journal:
            self._journal.record(obj, wanted, file.genres if file else None)
        kept = len(self.current_genres(obj)) if self._settings.keep_existing else 0
        # A genre that is removed is no longer ours: the user may set it again. But where files are
        # not written, it may come back from them.
        there = set(map(fold_genre_name, wanted))
        ours = (
            genre
            for genre in genres_set_by_plugin(obj)
            if fold_genre_name(genre) in there or not self._settings.write
        )
        mark_set_by_plugin(obj, () if by_user else unique([*ours, *wanted[kept:]]))
        obj.genres = wanted
        if not self._settings.quiet:
            show_changes(obj, SHOWN_FIELDS)
        if self._journal and self._settings.write and isinstance(obj, Item):
            try_write(obj, self._journal.run, self.summary, self._log, read=file)

    def _differs(self, obj: TrackOrAlbum, genres: Sequence[str]) -> bool:
        wanted, there = self._wanted(obj, genres), self.current_genres(obj)
        return list(map(composed, wanted)) != list(map(composed, there))

    def _wanted(self, obj: TrackOrAlbum, genres: Sequence[str]) -> list[str]:
        """Return all genres that a track or an album is to have."""
        there = self.current_genres(obj) if self._settings.keep_existing else []
        known = set(map(fold_genre_name, there))
        new = unique(shown_genres(obj, genres))  # beets stores genres as other plugins show them
        return there + [genre for genre in new if fold_genre_name(genre) not in known]

    def _file_has_others(
        self, obj: TrackOrAlbum, genres: Sequence[str], file: FileTags | None
    ) -> bool:
        """Return whether writing would replace genres that the library lacks; report them.

        The file may have those that are to be written from a run that was killed.
        """
        settings = self._settings
        if settings.force or not settings.write or not (self._journal or settings.pretend):
            return False
        ours = [*stored_genres(obj), *genres]
        known = single([*ours, *shown_genres(obj, ours)])
        in_file = self._vocabulary.genres_of(file.genres if file else None)
        others = [genre for genre in in_file if not single([genre]) <= known]
        if others and self._is_written(cast(Item, obj), in_file, (stored_genres(obj), genres)):
            return False
        if others:
            self._log.info(
                "{}: skipped, its file has genres that the library lacks ({}); import them with "
                "`beet update`, or replace them with -f",
                *(name_of(obj), ", ".join(others)),
            )
        return bool(others)

    @staticmethod
    def _is_written(item: Item, in_file: list[str], choices: Iterable[Sequence[str]]) -> bool:
        """Return whether other plugins write genres to a file as those that it has."""
        return any(same_genres(in_file, written_genres(item, genres)) for genres in choices)

    @contextmanager
    def _read(self, obj: TrackOrAlbum) -> Iterator[FileTags | None]:
        """Yield the tags of a track's file; None for an album and for an unreadable file."""
        with ExitStack() as stack:
            file = None
            if isinstance(obj, Item) and (self._journal or self._settings.pretend):
                with suppress(UnreadableFileError):
                    file = stack.enter_context(FileTags(obj))
            yield file

    def explain(self, obj: TrackOrAlbum, predictions: Sequence[Prediction]) -> None:
        """Show the most probable genres, if the user wants to see them."""
        if self._settings.explain:
            show(name_of(obj))
            shares = rank(predictions)[:EXPLAINED]
            show(f"  {listed(shares)}")
            styles = rank_styles(predictions, shares[0][0])[:EXPLAINED_STYLES]
            if styles:
                show(f"  styles of {shares[0][0]}: {listed(styles)}")

    def explain_more(self, lines: Iterable[str]) -> None:
        """Show more lines about a track."""
        for line in lines:
            show(f"  {line}")

    def fail(self, error: Exception | None) -> None:
        """Count and report a file that could not be analysed."""
        self.summary.fail(error)
        self._log.warning("{}", error)


def listed(shares: Iterable[tuple[str, float]]) -> str:
    """Return genres with their probabilities, as text."""
    return ", ".join(f"{genre} {share:.2f}" for genre, share in shares)
