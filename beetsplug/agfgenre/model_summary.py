"""The summary of a model that ``beet agfmodels`` shows.

It is read from ``model.json``, of which only the labels have been checked. A value that is missing
or not what it should be is shown as not stated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from beetsplug.agfgenre.console import plural

if TYPE_CHECKING:
    from agf_core.bundle.format import Metadata

NOT_STATED = "not stated"
NO_GENRE = "none"
WEAK_RECALL = 1 / 3  # recall below which a genre counts as weak, as in the cards
MOST_SOURCES = 6  # that are listed
LONGEST_SOURCE = 40  # characters
LARGEST_COUNT = 1e9  # count


def card_lines(metadata: Metadata, min_confidence: float) -> list[str]:
    """Return the lines of a model's summary, each with a title in front."""
    rows = {"genres": ", ".join(metadata.labels)}
    for title, read in (
        ("trained on", _trained_on),
        ("tested on", _tested_on),
        ("accuracy", _accuracy),
        ("macro F1", _macro_f1),
        ("log loss", _log_loss),
        ("weak", _weak),
        (f"at {min_confidence:.2f}", lambda metadata: _written(metadata, min_confidence)),
    ):
        rows[title] = _stated(read, metadata) or NOT_STATED
    if rows["weak"] == NO_GENRE:
        del rows["weak"]
    width = max(map(len, rows))
    return [f"{title.ljust(width)}  {text}" for title, text in rows.items()]


def short(value: object, most: int = 20) -> str:
    """Return a value as a table can show it; empty if it is not printable."""
    text = str(value)[:most]
    return text if text.isprintable() else ""


def accuracy(metadata: Metadata) -> str:
    """Return how often the most probable genre is right, with its interval."""
    return _stated(lambda metadata: _score(metadata, "accuracy", "{:.1%}", 1), metadata)


def _stated(read: Callable[[Metadata], str], metadata: Metadata) -> str:
    """Return what a model states; empty if it states nothing, or nothing that makes sense."""
    try:
        return read(metadata)
    except (KeyError, TypeError, ValueError, AttributeError):
        return ""


def _number(value: Any, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise ValueError("not a number in range")
    return value


def _count(value: Any) -> int:
    return int(_number(value, LARGEST_COUNT))


def _score(metadata: Metadata, name: str, form: str, most: float) -> str:
    numbers = metadata.scores["overall"][name]
    value, low, high = (form.format(_number(number, most)) for number in numbers)
    return f"{value} [{low}, {high}]"


def _trained_on(metadata: Metadata) -> str:
    there: Mapping[str, Any] = metadata.trained_on
    text = _tracks_and_artists(there)
    if "with_genre" in there:
        text += f", {_count(there['with_genre'])} of them with one main genre"
    if "sources" in there:
        text += f" ({', '.join(_sources(there['sources']))})"
    if "date" in there:
        text += f", on {short(there['date'])}"
    return text


def _sources(sources: Any) -> Iterator[str]:
    for i, (name, tracks) in enumerate(sources.items()):
        if i == MOST_SOURCES:
            yield f"and {len(sources) - MOST_SOURCES} more"
            return
        yield f"{_count(tracks)} of {short(name, LONGEST_SOURCE)}"


def _tracks_and_artists(there: Mapping[str, Any]) -> str:
    tracks, artists = _count(there["tracks"]), _count(there["artists"])
    return f"{plural(tracks, 'track')} by {plural(artists, 'artist')}"


def _tested_on(metadata: Metadata) -> str:
    scores = metadata.scores
    by_fold = scores.get("accuracy_by_fold")
    folds = len(by_fold) if isinstance(by_fold, dict) else _count(scores["folds"])
    how = f"{folds} folds" if folds > 1 else "one fold in five"
    unseen = "each predicted by a model trained without its artist"
    return f"{_tracks_and_artists(scores)}, {unseen} ({how}; 95 % intervals)"


def _accuracy(metadata: Metadata) -> str:
    text = _score(metadata, "accuracy", "{:.1%}", 1)
    if "most_common_genre_accuracy" in metadata.scores:
        share = _number(metadata.scores["most_common_genre_accuracy"], 1)
        text += f"; always predicting the most common genre: {share:.1%}"
    return text


def _macro_f1(metadata: Metadata) -> str:
    return _score(metadata, "macro_f1", "{:.3f}", 1)


def _log_loss(metadata: Metadata) -> str:
    return _score(metadata, "log_loss", "{:.3f}", 100)


def _weak(metadata: Metadata) -> str:
    recalls = {genre: metadata.scores["genres"][genre]["recall"] for genre in metadata.labels}
    weak = [genre for genre, recall in recalls.items() if recall is None or recall < WEAK_RECALL]
    return f"{', '.join(weak)} (fewer than a third of its tracks are found)" if weak else NO_GENRE


def _written(metadata: Metadata, min_confidence: float) -> str:
    row = metadata.scores["by_confidence"][f"{min_confidence:.2f}"]
    share = _number(row["share_of_tracks"], 1)
    text = f"{share:.0%} of the tracks get a genre"
    return (
        text if row["right"] is None else f"{text}, {_number(row['right'], 1):.0%} of these right"
    )
