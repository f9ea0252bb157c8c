"""What the page shows of each track: its place, its names, its genres and its prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from agf_core.data.genre_names import fold_genre_name
from agf_core.errors import printable
from beetsplug.agfgenre.console import artist_and_title

if TYPE_CHECKING:
    from beetsplug.agfgenre.vocabulary import Vocabulary

FIELDS = "artist", "albumartist", "title", "path", "genres", "agf_set"
SIZE = 10_000  # of the square that positions are within
STYLES_PER_TRACK = 5
LEAST_STYLE = 0.1  # probability of a style that is shown
TURN = np.pi * (3 - 5**0.5)  # golden angle, by which equal sounds are spread


@dataclass(frozen=True, eq=False)
class MapTracks:
    """Tracks with what the model predicts of them.

    Attributes
    ----------
    values : sequence of mapping
        ``id`` and `FIELDS` of each track.
    positions : np.ndarray [shape=(n, 2)]
    labels : tuple of str
    probabilities : np.ndarray [shape=(n, n_labels)]
    styles : tuple of str
    style_probabilities : np.ndarray [shape=(n, n_styles)]
    own : np.ndarray [shape=(n,), dtype=int]
        The label that the user's genre is; -1 where it is none or there is none.
    suspects : mapping of int to str
        The genre that is suggested for tracks, by their ids, whose own is probably wrong; the worst
        first.
    """

    values: Sequence[Mapping[str, Any]]
    positions: np.ndarray
    labels: tuple[str, ...]
    probabilities: np.ndarray
    styles: tuple[str, ...]
    style_probabilities: np.ndarray
    own: np.ndarray
    suspects: Mapping[int, str]


def columns(tracks: MapTracks, vocabulary: Vocabulary) -> dict[str, Any]:
    """Return the data of a page: a column for each fact, in which names are indices of lists."""
    names = list(map(artist_and_title, tracks.values))
    genres = [[printable(g) for g in vocabulary.genres_of(v["genres"])] for v in tracks.values]
    artists, artist = _indexed([printable(artist) or "?" for artist, _ in names])
    firsts, genre = _indexed([found[0] if found else "" for found in genres], fold_genre_name)
    tag_names, tags = _indexed(["; ".join(found) for found in genres], fold_genre_name)
    x, y = _square(_spread(tracks.positions)).T
    best = tracks.probabilities.argmax(axis=1)
    style, share = _strongest(tracks.style_probabilities)
    place = {value["id"]: i for i, value in enumerate(tracks.values)}
    disagreement = np.where(tracks.own >= 0, _percent(1 - _own_probability(tracks)), -1)
    return {
        "size": SIZE,
        "stylesPerTrack": STYLES_PER_TRACK,
        "ids": [value["id"] for value in tracks.values],
        "x": x.tolist(),
        "y": y.tolist(),
        "title": [printable(title) for _, title in names],
        "artists": artists,
        "artist": artist,
        "genres": firsts,
        "genre": [i if found else -1 for i, found in zip(genre, genres, strict=True)],
        "tagNames": tag_names,
        "tags": tags,
        "labels": list(tracks.labels),
        "label": best.tolist(),
        "confidence": _percent(tracks.probabilities.max(axis=1)).tolist(),
        "disagreement": disagreement.tolist(),
        "styles": list(tracks.styles),
        "style": style,
        "share": share,
        "suspects": [place[number] for number in tracks.suspects],
        "suggested": [printable(genre) for genre in tracks.suspects.values()],
    }


def _indexed(names: Sequence[str], key: Callable[[str], str] = str) -> tuple[list[str], list[int]]:
    """Return each name once, in its first spelling, and for each place which of them is there."""
    place: dict[str, int] = {}
    indices = [place.setdefault(key(name), len(place)) for name in names]
    first = dict(zip(reversed(indices), reversed(names), strict=True))
    return [first[index] for index in range(len(place))], indices


def _spread(positions: np.ndarray) -> np.ndarray:
    """Return positions of which no two are equal: the same sound several times is a small spiral.

    Parameters
    ----------
    positions : np.ndarray [shape=(n, 2)]
    """
    _, place, count = np.unique(positions, axis=0, return_inverse=True, return_counts=True)
    place = place.reshape(-1)
    order = np.argsort(place, kind="stable")
    turn = np.empty(len(place))  # the how-manieth of its place a track is
    turn[order] = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
    step = float(np.ptp(positions, axis=0).max()) / 500 or 1.0
    away = np.stack([np.cos(turn * TURN), np.sin(turn * TURN)], axis=1)
    result: np.ndarray = positions + step * np.sqrt(turn)[:, None] * away
    return result


def _square(positions: np.ndarray) -> np.ndarray:
    """Return positions as whole numbers in the middle of a square, with the same proportions."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    size = float((high - low).max()) or 1.0
    result: np.ndarray = np.rint(SIZE * ((positions - (low + high) / 2) / size + 0.5)).astype(int)
    return result


def _own_probability(tracks: MapTracks) -> np.ndarray:
    """Return the probability of each track's own genre; without one, that of any."""
    result: np.ndarray = tracks.probabilities[np.arange(len(tracks.own)), tracks.own]
    return result


def _percent(shares: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.rint(100 * shares).astype(int)
    return result


def _strongest(probabilities: np.ndarray) -> tuple[list[int], list[int]]:
    """Return the most probable styles of each track and their per cents, -1 where there are none.

    Returns
    -------
    styles, percents : list of int
        `STYLES_PER_TRACK` for each track, one track after another.
    """
    n, n_styles = probabilities.shape
    best = np.full((n, STYLES_PER_TRACK), -1)
    percents = np.full(best.shape, -1)
    few = min(n_styles, STYLES_PER_TRACK)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :few]
    found = np.take_along_axis(probabilities, order, axis=1)
    best[:, :few] = np.where(found >= LEAST_STYLE, order, -1)
    percents[:, :few] = np.where(found >= LEAST_STYLE, _percent(found), -1)
    return best.reshape(-1).tolist(), percents.reshape(-1).tolist()
