"""What became of tracks and albums: the summary at the end of a run."""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Self

from beets.library import Album, Item

from beetsplug.agfgenre.console import plural

REASONS = {
    "NoAudioStreamError": "without audio",
    "UnreadableAudioError": "unreadable",
    "AudioTooShortError": "shorter than one second",
    "SilentAudioError": "silent",
}


class Outcome(Enum):
    """What became of a track or an album."""

    TAGGED = "tagged"
    REMOVED = "removed because unsure or no longer wanted"
    UNCHANGED = "already right"
    UNSURE = "skipped because unsure"
    UNWANTED = "not wanted by whitelist or aliases"
    HAS_GENRES = "already had genres"
    IN_FILE = "skipped because the file has other genres"
    CHANGED = "skipped because changed since that run"
    GONE = "no longer in the library"
    FAILED = "failed"


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
        """Count a track that could not be analysed."""
        self._outcomes[Outcome.FAILED, Item] += 1
        self._reasons[REASONS.get(type(error).__name__, "for other reasons")] += 1

    def __iadd__(self, other: Summary) -> Self:
        """Add the counts of another summary."""
        self._outcomes += other._outcomes
        self._reasons += other._reasons
        self.unwritten += other.unwritten
        self.missing += other.missing
        return self

    def __bool__(self) -> bool:
        """Whether anything was counted."""
        return bool(self._outcomes)

    @property
    def tagged(self) -> int:
        """How many tracks and albums got genres."""
        return self._count(Outcome.TAGGED)

    @property
    def failed(self) -> int:
        """How many tracks could not be analysed."""
        return self._outcomes[Outcome.FAILED, Item]

    @property
    def all_failed(self) -> bool:
        """Whether there was something to do and all of it failed."""
        return bool(self.failed) and self.failed == self._outcomes.total()

    def text(self, done: str = "tagged") -> str:
        """Return the summary as one line; `done` is the verb for what was changed."""
        parts = [f"{done} {self._amount(Outcome.TAGGED)}"]
        if self.unwritten:
            files = plural(self.unwritten, "file")
            parts.append(f"of these, {files} could not be written (`beet write` tries again)")
        if self.missing:
            files = plural(self.missing, "file")
            parts.append(f"of these, {files} could not be found (see `beet update`)")
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
