"""A corpus: tracks with what is known of them, and splits that keep artists whole."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Track:
    """One track to learn from or to measure on.

    Attributes
    ----------
    track_id : str
        Unique in its corpus.
    path : Path
    artist : str
        The key that tells artists apart; no split divides one.
    genre : str
        The one main genre, or empty.
    genre_weights : dict
        Shares of main genres that sum to 1; may be empty. With a `genre`, that one alone.
    labels : tuple of str
        Every genre label, sub-genres included.
    fold : int or None
        Given cross-validation fold.
    source : str
        Where the track comes from.
    """

    track_id: str
    path: Path
    artist: str
    genre: str = ""
    genre_weights: dict[str, float] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    fold: int | None = None
    source: str = ""


def genre_targets(tracks: Sequence[Track], genres: Sequence[str]) -> np.ndarray:
    """Distribution over `genres` of each track, a row of NaN where nothing is known.

    Returns
    -------
    np.ndarray [shape=(n_tracks, n_genres), dtype=float32]
    """
    column = {genre: i for i, genre in enumerate(genres)}
    targets = np.full((len(tracks), len(genres)), np.nan, np.float32)
    for row, track in zip(targets, tracks, strict=True):
        known = {g: w for g, w in track.genre_weights.items() if g in column}
        if known:
            row[:] = 0
            for genre, weight in known.items():
                row[column[genre]] = weight / sum(known.values())
    return targets


def hold_out_artists(
    tracks: Sequence[Track], indices: np.ndarray, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split `indices` of `tracks` into two parts with no artist in both.

    Parameters
    ----------
    share : float
        Of the artists that go into the second part, at least one.

    Returns
    -------
    rest, held_out : np.ndarray [dtype=int]

    Raises
    ------
    ValueError
        With fewer than two artists.
    """
    artists = np.array([tracks[i].artist for i in indices])
    names = np.unique(artists)
    if len(names) < 2:
        raise ValueError("a split needs tracks by at least two artists")
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(names)[: max(1, round(share * len(names)))]
    held_out = np.isin(artists, chosen)
    return indices[~held_out], indices[held_out]
