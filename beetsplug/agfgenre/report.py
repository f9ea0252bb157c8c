"""What a run tells while it goes on, and at its end."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from beets import ui
from beets.library import Album, Item
from beets.util import displayable_path

from .decision import Outcome

if TYPE_CHECKING:
    from beets.logging import BeetsLogger

    from .decision import Model

SECONDS_BETWEEN_LINES = 30.0

REASONS = {
    "NoAudioStreamError": "without audio",
    "UnreadableAudioError": "unreadable",
    "AudioTooShortError": "shorter than one second",
    "SilentAudioError": "silent",
}


class Summary:
    """Counts of tracks and albums by what became of them."""

    def __init__(self) -> None:
        self._outcomes: Counter[tuple[Outcome, type]] = Counter()
        self._reasons: Counter[str] = Counter()
        self.unwritten = 0
        self.missing = 0

    def add(self, outcome: Outcome, kind: type[Album | Item], count: int = 1) -> None:
        """Count tracks or albums."""
        self._outcomes[outcome, kind] += count

    def fail(self, error: Exception | None) -> None:
        """Count a track that could not be listened to."""
        self._outcomes[Outcome.FAILED, Item] += 1
        self._reasons[REASONS.get(type(error).__name__, "for other reasons")] += 1

    def __iadd__(self, other: Summary) -> Self:
        """Count what another has counted, too."""
        self._outcomes += other._outcomes
        self._reasons += other._reasons
        self.unwritten += other.unwritten
        self.missing += other.missing
        return self

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self._outcomes)

    @property
    def tagged(self) -> int:
        """How many tracks and albums got genres."""
        return self._count(Outcome.TAGGED)

    @property
    def failed(self) -> int:
        """How many tracks could not be listened to."""
        return self._outcomes[Outcome.FAILED, Item]

    @property
    def all_failed(self) -> bool:
        """Whether there was something to do and nothing of it could be done."""
        return bool(self.failed) and self.failed == self._outcomes.total()

    def text(self, done: str = "tagged") -> str:
        """Return the whole summary as one line; `done` says what was done to what was changed."""
        parts = [f"{done} {self._amount(Outcome.TAGGED)}"]
        if self.unwritten:
            files = plural(self.unwritten, "file")
            parts.append(f"of these, {files} could not be written (`beet write` tries again)")
        if self.missing:
            files = plural(self.missing, "file")
            parts.append(f"of these, {files} could not be found (`beet update` looks into it)")
        parts += [
            f"{outcome.value}: {self._amount(outcome)}"
            for outcome in Outcome
            if outcome is not Outcome.TAGGED and self._count(outcome)
        ]
        if self._reasons:
            parts[-1] += f" ({', '.join(f'{n} {what}' for what, n in self._reasons.items())})"
        return "; ".join(parts)

    def _count(self, outcome: Outcome) -> int:
        return self._outcomes[outcome, Item] + self._outcomes[outcome, Album]

    def _amount(self, outcome: Outcome) -> str:
        albums = self._outcomes[outcome, Album]
        tracks = self._outcomes[outcome, Item]
        amounts = [plural(tracks, "track")] if tracks or not albums else []
        return " and ".join(amounts + ([plural(albums, "album")] if albums else []))


class Progress:
    """How far the listening has come: a bar on a terminal, a line now and then elsewhere.

    With a total of 0 it says nothing. The bar's title says what is being done.
    """

    def __init__(self, total: int, log: BeetsLogger, title: str = "Listening") -> None:
        self._total, self._log = total, log
        self._done, self._began = 0, time.monotonic()
        self._told = self._began
        self._bar = _bar(total, title) if total and sys.stderr.isatty() else None

    def step(self) -> None:
        """Count one more track that has been listened to."""
        self._done += 1
        if self._bar is not None:
            self._bar.update()
        elif self._total and time.monotonic() - self._told >= SECONDS_BETWEEN_LINES:
            self._tell()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Keep the bar off the terminal while something else is printed."""
        if self._bar is None:
            yield
            return
        with self._bar.external_write_mode(file=sys.stdout):
            yield

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def _tell(self) -> None:
        self._told = time.monotonic()
        rate = self._done / (self._told - self._began)
        left = (self._total - self._done) / rate
        self._log.info(
            "{} of {} tracks, {:.1f} a second, {} left",
            *(self._done, self._total, rate, duration(left)),
        )


def _bar(total: int, title: str) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, unit=" tracks", desc=title, dynamic_ncols=True, leave=False)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each row of a table, its cells one below the other."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def show_changes(model: Model, fields: Sequence[str]) -> None:
    """Print a track or an album and how its fields differ from what the library has."""
    ui.print_(name_of(model))
    ui.show_model_changes(model, fields=fields, print_obj=False)


def name_of(model: Model) -> str:
    """Return a track or an album as beets shows it, but a track without title by its file."""
    if isinstance(model, Item) and not model.title:
        return displayable_path(model.path)
    return format(model)


def duration(seconds: float) -> str:
    """Return hours, minutes and seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def plural(count: int, what: str) -> str:
    """Return a number and what it counts."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
