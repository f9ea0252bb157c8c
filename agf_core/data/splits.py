"""Artist-disjoint splits."""

import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from agf_core.data.tracks import Track
from agf_core.metrics import artist_numbers


def hold_out_artists(
    tracks: Sequence[Track], indices: np.ndarray, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split `indices` of `tracks` into two parts that share no artist.

    A track without an artist (an empty name) is drawn by itself.

    Parameters
    ----------
    share : float
        Share of the artists that go into the second part, at least one.

    Returns
    -------
    rest, held_out : np.ndarray [dtype=int]

    Raises
    ------
    ValueError
        With fewer than two artists.
    """
    artists = artist_numbers(np.array([tracks[i].artist for i in indices]))
    n_artists = len(np.unique(artists))
    if n_artists < 2:
        raise ValueError("a split needs tracks by at least two artists")
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(n_artists)[: max(1, round(share * n_artists))]
    held_out = np.isin(artists, chosen)
    return indices[~held_out], indices[held_out]


def artist_folds(tracks: Sequence[Track], n_folds: int) -> np.ndarray:
    """Assign artists to folds, those of each genre evenly.

    Returns
    -------
    np.ndarray [shape=(n_tracks,), dtype=int]
        The fold of the artist of each track; -1 for artists without a track that has a genre.
    """
    genres_of: dict[str, Counter[str]] = defaultdict(Counter)
    for track in tracks:
        if track.genre:
            genres_of[track.artist][track.genre] += 1
    # By the most common genre of an artist; within a genre in an order that new artists keep.
    order = sorted(
        genres_of,
        key=lambda artist: (
            max(sorted(genres_of[artist]), key=lambda genre: genres_of[artist][genre]),
            zlib.crc32(artist.encode()),
        ),
    )
    fold_of = {artist: i % n_folds for i, artist in enumerate(order)}
    return np.array([fold_of.get(track.artist, -1) for track in tracks])
