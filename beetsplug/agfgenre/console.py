"""What a run prints: progress, changes, tables and numbers.

Names and genres of a library may contain anything. All text goes through `printable`: lines by
`show`, log lines by `make_printable`, errors by `agf_core.errors`, pages by `html_text` and
`markdown_text`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from logging import LogRecord
from typing import TYPE_CHECKING, Any

from beets import ui
from beets.library import Item
from beets.util import displayable_path

from agf_core.errors import printable, shown
from beetsplug.agfgenre.fields import stored_genres

if TYPE_CHECKING:
    from beets.logging import BeetsLogger

    from beetsplug.agfgenre.fields import TrackOrAlbum

SECONDS_BETWEEN_LINES = 30.0
LONGEST_LINE = 4_000  # characters


class Progress:
    """The progress of a step over tracks: a bar on a terminal, a line now and then elsewhere.

    With a total of 0 nothing is shown. The title of the bar says what is being done.
    """

    def __init__(self, total: int, log: BeetsLogger, title: str = "Analysing") -> None:
        self._total, self._log = total, log
        self._done, self._began = 0, time.monotonic()
        self._last_line = self._began
        self._bar = _bar(total, title) if total and sys.stderr.isatty() else None

    def step(self) -> None:
        """Count one more track."""
        self._done += 1
        if self._bar is not None:
            self._bar.update()
        elif self._total and time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._log_line()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Hide the bar while something else is printed."""
        if self._bar is None:
            yield
            return
        with self._bar.external_write_mode(file=sys.stdout):
            yield

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()

    def _log_line(self) -> None:
        self._last_line = time.monotonic()
        rate = self._done / (self._last_line - self._began)
        left = (self._total - self._done) / rate
        self._log.info(
            "{} of {} tracks done, {:.1f} a second, {} left",
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


def show(line: str) -> None:
    """Print a line."""
    ui.print_(printable(line, LONGEST_LINE))


def show_as_is(text: str) -> None:
    """Print text that is harmless by its making: JSON, or printable parts in beets' colours."""
    ui.print_(text)


def make_printable(record: LogRecord) -> bool:
    """Make a log line harmless to the terminal; a filter of a logger."""
    record.msg, record.args = printable(record.getMessage(), LONGEST_LINE), ()
    return True


def html_text(text: str) -> str:
    """Return text as a page of HTML can show it."""
    from html import escape  # only pages need it

    return escape(printable(text))


def markdown_text(text: str) -> str:
    """Return text as a page of Markdown can show it, in which tags of HTML would count."""
    return printable(text).replace("<", "&lt;")


def show_changes(obj: TrackOrAlbum, fields: Sequence[str] = ()) -> None:
    """Print a track or an album, and how some fields and its genres differ from the library's.

    Genres are in the order in which they are stored; beets would sort them.
    """
    show(name_of(obj))
    old = obj.get_fresh_from_db()
    if fields:
        ui.show_model_changes(obj, old=old, fields=fields, print_obj=False)
    for line in _genre_changes(stored_genres(old), stored_genres(obj)):
        show_as_is(f"  {line}")


def _genre_changes(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    removed = [f"  - {printable(genre)}" for genre in old if genre not in new]
    added = [f"  + {printable(genre)}" for genre in new if genre not in old]
    if removed or added:
        yield "genres:"
        yield from (ui.colorize("text_diff_removed", line) for line in removed)
        yield from (ui.colorize("text_diff_added", line) for line in added)
    elif list(old) != list(new):
        yield f"genres in another order: {printable('; '.join(new))}"


def name_of(obj: TrackOrAlbum) -> str:
    """Return a track or an album as beets shows it; by its file or folder if it has no name."""
    if not (obj.title if isinstance(obj, Item) else obj.album).strip():
        return printable(displayable_path(obj.path))
    return printable(format(obj))


def artist_and_title(track: Item | Mapping[str, Any]) -> tuple[str, str]:
    """Return a track's artist, or that of its album, and its title; its file if it has no title."""
    artist = (track["artist"] or track["albumartist"] or "").strip()
    title = (track["title"] or "").strip()
    return artist, title or shown(track["path"].replace(b"\\", b"/").rsplit(b"/", 1)[-1])


def duration(seconds: float) -> str:
    """Return hours, minutes and seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def plural(count: int, what: str) -> str:
    """Return a number and what it counts."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
