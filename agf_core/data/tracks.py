"""Tracks with their labels, and training targets of their genres."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class Track:
    """A track to train or evaluate on.

    Attributes
    ----------
    track_id : str
        Unique in its collection.
    path : Path
    artist : str
        The key of its artist; no split divides an artist.
    genre : str
        The main genre, or empty.
    labels : tuple of str
        Every genre label, sub-genres included.
    fold : int or None
        The cross-validation fold, if given.
    source : str
        The collection that the track comes from.
    album : str
        The key of its album, or empty.
    genre_weights : tuple of (str, float)
        Its weight in each of several main genres; may be empty.
    """

    track_id: str
    path: Path
    artist: str
    genre: str = ""
    labels: tuple[str, ...] = ()
    fold: int | None = None
    source: str = ""
    album: str = ""
    genre_weights: tuple[tuple[str, float], ...] = ()


def album_key(track: Track) -> tuple[str, str, str]:
    """Return the key of an album; each artist of a compilation has an album of its own."""
    return (track.album or f"track {track.track_id}", track.artist, track.genre)


def genre_targets(
    tracks: Sequence[Track], genres: Sequence[str], *, weighted: bool = False
) -> np.ndarray:
    """Return the one-hot main genre of each track, NaN where it is not one of `genres`.

    Parameters
    ----------
    weighted : bool
        A track without a main genre gets its genre weights, restricted to `genres`.

    Returns
    -------
    np.ndarray [shape=(n_tracks, n_genres), dtype=float32]
    """
    one_hot = dict(zip(genres, np.eye(len(genres), dtype=np.float32), strict=True))
    unknown = np.full(len(genres), np.nan, np.float32)

    def target(track: Track) -> np.ndarray:
        if track.genre or not weighted:
            return one_hot.get(track.genre, unknown)
        weights = dict(track.genre_weights)
        row = np.array([weights.get(genre, 0.0) for genre in genres], np.float32)
        return row / row.sum() if row.any() else unknown

    return np.stack([target(track) for track in tracks])
