"""What a track or an album gets: decided, shown, and written to its file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from beets import ui
from beets.library import FileOperationError, Item
from beets.util import displayable_path, syspath

from .decision import Outcome, current_genres, decide, rank
from .report import Summary

if TYPE_CHECKING:
    from beets.logging import BeetsLogger

    from agf_core.tagger import Prediction

    from .decision import Heard, Model
    from .settings import Settings
    from .vocabulary import Vocabulary

SHOWN_FIELDS = ("genres", "agf_confidence")
EXPLAINED = 5  # genres


class Settler:
    """Gives tracks and albums the genres that were heard in them, and counts what became of them.

    It changes objects and files; storing the objects is left to its user.

    Parameters
    ----------
    vocabulary : Vocabulary
    settings : Settings
    log : BeetsLogger
    """

    def __init__(self, vocabulary: Vocabulary, settings: Settings, log: BeetsLogger) -> None:
        self._vocabulary, self._settings, self._log = vocabulary, settings, log
        self.summary = Summary()

    def may_change(self, model: Model) -> bool:
        """Whether the user wants other genres for this track or album, should there be any."""
        return not (self._settings.open_only and current_genres(model))

    def settle(self, model: Model, heard: Heard) -> bool:
        """Give a track or an album what was heard, as far as wanted; return whether it changed."""
        decision = decide(heard, self._vocabulary, self._settings)
        outcome = decision.outcome
        if not self.may_change(model):
            outcome = Outcome.TAKEN
        elif outcome is Outcome.TAGGED and not self.change(model, decision.genres):
            outcome = Outcome.UNCHANGED
        self.summary.add(outcome, model)
        return outcome is Outcome.TAGGED

    def change(self, model: Model, genres: Sequence[str]) -> bool:
        """Set genres, show the difference and write the file; return whether they are new."""
        there = current_genres(model) if self._settings.keep_existing else []
        known = {genre.casefold() for genre in there}
        wanted = there + [genre for genre in genres if genre.casefold() not in known]
        if wanted == current_genres(model):
            return False
        model.genres = wanted
        if not self._settings.quiet:
            ui.show_model_changes(model, fields=SHOWN_FIELDS)
        if self._settings.write and not self._settings.pretend and isinstance(model, Item):
            self._write(model)
        return True

    def explain(self, model: Model, predictions: Sequence[Prediction]) -> None:
        """Show the most probable genres, if the user wants to know."""
        if self._settings.explain:
            ui.print_(format(model))
            shares = rank(predictions)[:EXPLAINED]
            ui.print_("  " + ", ".join(f"{genre} {share:.2f}" for genre, share in shares))

    def fail(self, error: Exception | None) -> None:
        """Count and name a file that could not be listened to."""
        self.summary.fail(error)
        self._log.warning("{}", error)

    def _write(self, item: Item) -> None:
        try:
            item.write()
        except (FileOperationError, OSError) as error:
            if os.path.exists(syspath(item.path)):
                self.summary.unwritten += 1
            else:
                self.summary.missing += 1
            path = displayable_path(item.path)
            reason = _reason(error, path)
            self._log.error("{} cannot be written ({}); the library has its genres", path, reason)


def _reason(error: Exception, path: str) -> str:
    """Return why a file cannot be written, without its path."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    reason = str(getattr(error, "reason", error))
    return reason.removeprefix(f"{path}: ").replace(path, "the file")
