"""Choose what to train on: genres, tracks, and the weight of each track."""

import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agf_core.data.tracks import Track, album_key
from agf_core.metrics import count_artists

EVEN_SHARE = 0.25  # of the places for tracks, which genres share evenly


@dataclass(frozen=True)
class SetAside:
    """A genre that cannot be trained: too few tracks, or all by one artist."""

    genre: str
    tracks: int
    artists: int

    def __str__(self) -> str:
        tracks = f"{self.tracks} track{'s' * (self.tracks != 1)}"
        return f"{self.genre}: {tracks} by {self.artists} artist{'s' * (self.artists != 1)}"


def learnable_genres(
    tracks: Sequence[Track], min_tracks: int
) -> tuple[tuple[str, ...], list[SetAside]]:
    """Separate the genres that can be trained from those that cannot.

    Returns
    -------
    genres : tuple of str
        Those with enough tracks by at least two artists, in alphabetical order.
    set_aside : list of SetAside
        The others, the largest first.
    """
    of_genre: dict[str, list[Track]] = defaultdict(list)
    for track in tracks:
        if track.genre:
            of_genre[track.genre].append(track)
    genres, set_aside = [], []
    for genre, its in sorted(of_genre.items()):
        n_artists = count_artists(track.artist for track in its)
        if len(its) >= min_tracks and n_artists > 1:
            genres.append(genre)
        else:
            set_aside.append(SetAside(genre, len(its), n_artists))
    return tuple(genres), sorted(set_aside, key=lambda aside: -aside.tracks)


def album_weights(tracks: Sequence[Track]) -> np.ndarray:
    """Weight the tracks of an artist and genre on one album to count as one, (n_tracks,).

    A track without an album counts as an album. The mean weight is 1.
    """
    units = [album_key(track) for track in tracks]
    size = Counter(units)
    weights = np.array([1 / size[unit] for unit in units], np.float32)
    result: np.ndarray = weights / weights.mean()
    return result


def at_most(tracks: Sequence[Track], per_album: int, in_all: int) -> list[Track]:
    """Choose at most `in_all` tracks, `per_album` of each album, from all albums in turn.

    As long as all albums fit, the choice of a track depends on its own album alone. Otherwise part
    of the places (`EVEN_SHARE`) is shared evenly among genres, so that rare ones are kept.
    """
    of_album: dict[tuple[str, str, str], list[Track]] = defaultdict(list)
    for track in tracks:
        of_album[album_key(track)].append(track)

    def shuffled(track: Track) -> int:
        return zlib.crc32(track.track_id.encode())

    in_turn = [
        (turn, shuffled(track), i, track)
        for i, album in enumerate(of_album.values())
        for turn, track in enumerate(sorted(album, key=shuffled)[:per_album])
    ]
    order = [entry[-1] for entry in sorted(in_turn, key=lambda entry: entry[:3])]
    of_each = int(EVEN_SHARE * in_all) // max(1, len({track.genre for track in order}))
    counts: Counter[str] = Counter()
    even: list[int] = []
    others: list[int] = []
    for i, track in enumerate(order):
        (even if counts[track.genre] < of_each else others).append(i)
        counts[track.genre] += 1
    return [order[i] for i in sorted([*even, *others][:in_all])]
