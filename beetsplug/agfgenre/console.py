"""What a run tells while it goes on, and at its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from beets import ui
from beets.library import Item
from beets.util import displayable_path

if TYPE_CHECKING:
    from beets.logging import BeetsLogger

    from beetsplug.agfgenre.tag.decision import Model

SECONDS_BETWEEN_LINES = 30.0


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
