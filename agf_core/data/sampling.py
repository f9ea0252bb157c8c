"""What of a collection is learnt from: genres, tracks and how much each counts, parts by artist."""

import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agf_core.data.tracks import Track, album_key

SURE = 0.25  # of the places for tracks, those that all genres have as many of


@dataclass(frozen=True)
class SetAside:
    """A genre that cannot be learnt: too few tracks, or all by one artist."""

    genre: str
    tracks: int
    artists: int

    def __str__(self) -> str:
        tracks = f"{self.tracks} track{'s' * (self.tracks != 1)}"
        return f"{self.genre}: {tracks} by {self.artists} artist{'s' * (self.artists != 1)}"


def learnable_genres(
    tracks: Sequence[Track], min_tracks: int
) -> tuple[tuple[str, ...], list[SetAside]]:
    """Tell genres that can be learnt from those that cannot.

    Returns
    -------
    genres : tuple of str
        In alphabetical order: those with enough tracks, by two artists or more.
    set_aside : list of SetAside
        The others, the largest first.
    """
    of_genre: dict[str, list[Track]] = defaultdict(list)
    for track in tracks:
        if track.genre:
            of_genre[track.genre].append(track)
    genres, set_aside = [], []
    for genre, its in sorted(of_genre.items()):
        n_artists = len({track.artist for track in its})
        if len(its) >= min_tracks and n_artists > 1:
            genres.append(genre)
        else:
            set_aside.append(SetAside(genre, len(its), n_artists))
    return tuple(genres), sorted(set_aside, key=lambda aside: -aside.tracks)


def votes(tracks: Sequence[Track]) -> np.ndarray:
    """Weights that let an artist's tracks of one genre on one album count as one, (n_tracks,).

    A track without an album counts as an album. The mean weight is 1.
    """
    units = [album_key(track) for track in tracks]
    size = Counter(units)
    weights = np.array([1 / size[unit] for unit in units], np.float32)
    return weights / weights.mean()


def at_most(tracks: Sequence[Track], per_album: int, in_all: int) -> list[Track]:
    """Choose tracks to hold in memory: so many of each album, and of all albums in turn.

    The choice of a track depends on its own album alone as long as all albums fit in. Where they do
    not, a part of the places (`SURE`) is shared out evenly among genres: what is rare teaches, too.
    """
    of_album: dict[tuple[str, str, str], list[Track]] = defaultdict(list)
    for track in tracks:
        of_album[album_key(track)].append(track)

    def dealt(track: Track) -> int:
        return zlib.crc32(track.track_id.encode())

    in_turn = [
        (turn, dealt(track), i, track)
        for i, album in enumerate(of_album.values())
        for turn, track in enumerate(sorted(album, key=dealt)[:per_album])
    ]
    order = [entry[-1] for entry in sorted(in_turn, key=lambda entry: entry[:3])]
    of_each = int(SURE * in_all) // max(1, len({track.genre for track in order}))
    met: Counter[str] = Counter()
    sure: list[int] = []
    others: list[int] = []
    for i, track in enumerate(order):
        (sure if met[track.genre] < of_each else others).append(i)
        met[track.genre] += 1
    return [order[i] for i in sorted([*sure, *others][:in_all])]
