"""Print what an audit has found, for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from beets import ui

from agf_core.errors import printable
from agf_core.finetune.label_issues import FEWEST_ARTISTS
from beetsplug.agfgenre.console import name_of, plural, show, show_as_is

if TYPE_CHECKING:
    from beetsplug.agfgenre.audit.consistency import Consistency, Outliers
    from beetsplug.agfgenre.audit.find import Found, Suspect, SuspectArtist
    from beetsplug.agfgenre.audit.rows import Row
    from beetsplug.agfgenre.fields import TrackOrAlbum

SHOWN = 3  # tracks of an album or artist that have another genre


@dataclass(frozen=True)
class Report:
    """All that an audit shows.

    Attributes
    ----------
    found : Found
    artists : list of SuspectArtist
    consistency : Consistency
    suspects : list of (Suspect, Item or Album)
        Those that are shown.
    albums : bool
        Whether albums were checked.
    at_most : int
        Lines of each kind; 0 for all.
    """

    found: Found
    artists: list[SuspectArtist]
    consistency: Consistency
    suspects: list[tuple[Suspect, TrackOrAlbum]]
    albums: bool
    at_most: int

    @property
    def what(self) -> str:
        """What is checked."""
        return "album" if self.albums else "track"


def summary(report: Report) -> Iterator[str]:
    """Yield lines that say how many were checked, and by which models."""
    found = report.found
    checked = plural(found.checked, f"tagged {report.what}")
    verb = "has a genre that is" if len(found.suspects) < 2 else "have genres that are"
    yield f"{len(found.suspects) or 'none'} of {checked} {verb} probably wrong"
    if found.checked and not found.n_trained:
        yield (
            "there are too few tracks to train on, so that only the base model and the artists' "
            "other tracks are used (training needs two genres of min_tracks tracks, by "
            f"{FEWEST_ARTISTS} artists)"
        )
    if found.by_plugin:
        yield f"agfgenre has set the genre of {plural(found.by_plugin, report.what)} of these"
    if found.kept:
        yield f"not shown, because you keep the genre: {plural(found.kept, report.what)}"
    if found.unknown:
        names = _listing((f"{name} {n}" for name, n in found.unknown.most_common()), SHOWN)
        yield (
            "not checked, because there are too few of the genre to train on and the base model "
            f"does not know it: {plural(found.unknown.total(), report.what)} ({names})"
        )


def show_report(report: Report) -> None:
    """Print everything."""
    for line in summary(report):
        show(line)
    for suspect, obj in report.suspects:
        show("")
        show_suspect(suspect, obj)
    _show_more(len(report.found.suspects) - len(report.suspects), report.what)
    consistency, at_most = report.consistency, report.at_most
    _section("Artists who sound like another genre", map(_artist, report.artists), at_most)
    _section("Albums with tracks of other genres", map(_outliers, consistency.albums), at_most)
    _section("Artists with tracks of other genres", map(_outliers, consistency.artists), at_most)
    spellings = (
        ", ".join(f"{name} ({count})" for name, count in names) for names in consistency.spellings
    )
    _section("Genres of several spellings", spellings, at_most)
    if consistency.once:
        _section("Genres of a single track", [_listing(consistency.once, at_most)], at_most)


def show_suspect(suspect: Suspect, obj: TrackOrAlbum) -> None:
    """Print a track or an album, its genre and the one suggested, and the evidence."""
    show(name_of(obj))
    ours = ", set by agfgenre" if suspect.by_plugin else ""
    has = ui.colorize("text_diff_removed", printable("; ".join(suspect.has)))
    suggested = ui.colorize("text_diff_added", printable(suspect.suggested))
    show_as_is(f"  {has} ({suspect.own:.2f}{ours}) -> {suggested} ({suspect.confidence:.2f})")
    show(f"  {evidence(suspect)}")


def evidence(suspect: Suspect) -> str:
    """Return what a suggestion comes from, in a line."""
    parts = ["by sound: " + ", ".join(f"{genre} {share:.2f}" for genre, share in suspect.sound)]
    artist = f"artist's other {'albums' if suspect.is_album else 'tracks'}"
    album = "tracks" if suspect.is_album else "album's other tracks"
    for whose, counts in ((artist, suspect.artist), (album, suspect.album)):
        if counts:
            listed = ", ".join(f"{genre} {count}" for genre, count in counts)
            parts.append(f"{whose}: {listed}")
    return "; ".join(parts)


def show_formatted(report: Report, template: str) -> None:
    """Print the suspects in a format of the user's, which may use two more fields."""
    for suspect, obj in report.suspects:
        obj["agf_suggested"] = suspect.suggested
        obj["agf_suggested_confidence"] = round(suspect.confidence, 2)
        show(format(obj, template))


def show_json(report: Report) -> None:
    """Print everything as one JSON object."""
    found, consistency = report.found, report.consistency
    document = {
        "checked": found.checked,
        "probably_wrong": len(found.suspects),
        "kept": found.kept,
        "set_by_agfgenre": found.by_plugin,
        "not_checked": dict(found.unknown),
        "trained_on": found.n_trained,
        "suspects": [_suspect_values(suspect, obj) for suspect, obj in report.suspects],
        "suspect_artists": [asdict(artist) for artist in report.artists],
        "albums": list(map(_outlier_values, consistency.albums)),
        "artists": list(map(_outlier_values, consistency.artists)),
        "spellings": [dict(names) for names in consistency.spellings],
        "once": consistency.once,
    }
    show_as_is(json.dumps(document, indent=2))


def _suspect_values(suspect: Suspect, obj: TrackOrAlbum) -> dict[str, Any]:
    return {
        "id": suspect.id,
        "name": name_of(obj),
        "genres": list(suspect.has),
        "probability": round(suspect.own, 4),
        "set_by_agfgenre": suspect.by_plugin,
        "suggested": suspect.suggested,
        "confidence": round(suspect.confidence, 4),
        "by_sound": {genre: round(share, 4) for genre, share in suspect.sound},
        "others_of_artist": dict(suspect.artist),
        "others_of_album": dict(suspect.album),
    }


def _outlier_values(outliers: Outliers) -> dict[str, Any]:
    return {
        "name": outliers.name,
        "genre": outliers.genre,
        "tracks": outliers.count,
        "others": {str(row.id): list(row.genres) for row in outliers.others},
    }


def _artist(artist: SuspectArtist) -> str:
    has = f"{artist.has} ({artist.own:.2f}, {plural(artist.tracks, 'track')})"
    return f"{artist.name}: {has} -> {artist.suggested} ({artist.confidence:.2f})"


def _outliers(outliers: Outliers) -> str:
    others = _listing(map(_titled, outliers.others), SHOWN)
    return f"{outliers.name}: {outliers.genre} {outliers.count}, but {others}"


def _titled(row: Row) -> str:
    return f"{row.title or f'id:{row.id}'} ({'; '.join(row.genres)})"


def _listing(names: Iterable[str], at_most: int) -> str:
    every = list(names)
    shown = every[:at_most] if at_most else every
    more = len(every) - len(shown)
    return ", ".join([*shown, *([f"{more} more"] if more else [])])


def _section(title: str, lines: Iterable[str], at_most: int) -> None:
    every: Sequence[str] = list(lines)
    if every:
        show("")
        show(f"{title}:")
        for line in every[:at_most] if at_most else every:
            show(f"  {line}")
        _show_more(len(every) - at_most if at_most else 0, "")


def _show_more(count: int, what: str) -> None:
    if count > 0:
        show(f"  and {plural(count, what) if what else count} more; -n 0 shows all")
