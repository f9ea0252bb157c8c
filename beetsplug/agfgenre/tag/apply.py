"""What a track or an album gets: decided, shown, and written to its file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from beets import ui
from beets.library import Item
from mediafile import UnreadableFileError

from agf_core.data.genre_names import composed, fold_genre_name
from beetsplug.agfgenre.console import name_of, show_changes
from beetsplug.agfgenre.summary import Summary
from beetsplug.agfgenre.tag.decision import (
    Outcome,
    decide,
    is_ours,
    mark_ours,
    rank,
    set_by_us,
    single,
)
from beetsplug.agfgenre.tag.file_writer import genres_in_file, try_write
from beetsplug.agfgenre.vocabulary import unique

if TYPE_CHECKING:
    from beets.logging import BeetsLogger

    from agf_core.inference.prediction import Prediction
    from beetsplug.agfgenre.config import Settings
    from beetsplug.agfgenre.tag.decision import Heard, Model
    from beetsplug.agfgenre.tag.journal import Journal
    from beetsplug.agfgenre.vocabulary import Vocabulary

SHOWN_FIELDS = ("genres", "agf_confidence")
EXPLAINED = 5  # genres


class GenreApplier:
    """Gives tracks and albums the genres that were heard in them, and counts what became of them.

    It changes objects and files; storing the objects is left to its user.

    Parameters
    ----------
    vocabulary : Vocabulary
    settings : Settings
    log : BeetsLogger
    journal : Journal, optional
        Where it is noted what is replaced; without one, no file is written.
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

    def may_change(self, model: Model) -> bool:
        """Whether the user wants other genres for this track or album, should there be any."""
        if self._settings.force or self._settings.keep_existing:
            return True
        return not self.current_genres(model) or self._may_withdraw(model)

    def current_genres(self, model: Model) -> list[str]:
        """Return the genres that a track or an album has now; placeholders are none."""
        return self._vocabulary.genres_of(model.genres)

    def settle(self, model: Model, heard: Heard) -> bool:
        """Give a track or an album what was heard, as far as wanted; return whether it changed."""
        decision = decide(heard, self._vocabulary, self._settings)
        outcome = decision.outcome
        if not self.may_change(model):
            outcome = Outcome.TAKEN
        elif outcome is Outcome.TAGGED or self._may_withdraw(model):
            if not self._differs(model, decision.genres):
                outcome = Outcome.UNCHANGED if decision.genres else outcome
            elif self._file_says_more(model, decision.genres):
                outcome = Outcome.IN_FILE
            else:
                self.change(model, decision.genres)
                outcome = Outcome.TAGGED if decision.genres else Outcome.WITHDRAWN
        self.summary.add(outcome, type(model))
        return outcome in (Outcome.TAGGED, Outcome.WITHDRAWN)

    def withdraw(self, model: Model) -> bool:
        """Take back genres of ours, if the user wants that; return whether there were any."""
        return self._may_withdraw(model) and self.change(model, ())

    def _may_withdraw(self, model: Model) -> bool:
        settings = self._settings
        return (
            settings.renew
            and not settings.keep_existing
            and is_ours(model, self.current_genres(model))
        )

    def change(self, model: Model, genres: Sequence[str]) -> bool:
        """Set genres, show the difference and write the file; return whether they are new."""
        if not self._differs(model, genres):
            return False
        wanted = self._wanted(model, genres)
        if self._journal:
            self._journal.note(model, wanted, self._in_file(model))
        kept = len(self.current_genres(model)) if self._settings.keep_existing else 0
        # What has gone is ours no longer, should the user want it again; but where files are not
        # written, it may come back from them.
        there = set(map(fold_genre_name, wanted))
        ours = (
            genre
            for genre in set_by_us(model)
            if fold_genre_name(genre) in there or not self._settings.write
        )
        mark_ours(model, unique([*ours, *wanted[kept:]]))
        model.genres = wanted
        if not self._settings.quiet:
            show_changes(model, SHOWN_FIELDS)
        if self._journal and self._settings.write and isinstance(model, Item):
            try_write(model, self._journal.run, self.summary, self._log)
        return True

    def _differs(self, model: Model, genres: Sequence[str]) -> bool:
        wanted, there = self._wanted(model, genres), self.current_genres(model)
        return list(map(composed, wanted)) != list(map(composed, there))

    def _wanted(self, model: Model, genres: Sequence[str]) -> list[str]:
        """Return all genres that a track or an album is to have."""
        there = self.current_genres(model) if self._settings.keep_existing else []
        known = set(map(fold_genre_name, there))
        return there + [genre for genre in genres if fold_genre_name(genre) not in known]

    def _file_says_more(self, model: Model, genres: Sequence[str]) -> bool:
        """Whether writing would replace genres that the library does not know; they are named.

        Those that are to be written may be there from a run that was killed.
        """
        settings = self._settings
        if settings.force or not settings.write or not (self._journal or settings.pretend):
            return False
        in_file = self._vocabulary.genres_of(self._in_file(model))
        known = single([*self.current_genres(model), *genres])
        if not (more := [genre for genre in in_file if not single([genre]) <= known]):
            return False
        self._log.info(
            "{}: left alone, for its file has genres that the library does not know ({}); "
            "`beet update` takes them over, -f replaces them",
            *(name_of(model), ", ".join(more)),
        )
        return True

    def _in_file(self, model: Model) -> list[str] | None:
        """Return the genres of a track's file; an album has none, nor has a broken file."""
        if isinstance(model, Item):
            with suppress(UnreadableFileError):
                return genres_in_file(model)
        return None

    def explain(self, model: Model, predictions: Sequence[Prediction]) -> None:
        """Show the most probable genres, if the user wants to know."""
        if self._settings.explain:
            ui.print_(name_of(model))
            shares = rank(predictions)[:EXPLAINED]
            ui.print_("  " + ", ".join(f"{genre} {share:.2f}" for genre, share in shares))

    def fail(self, error: Exception | None) -> None:
        """Count and name a file that could not be listened to."""
        self.summary.fail(error)
        self._log.warning("{}", error)
