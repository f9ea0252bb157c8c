"""A corpus: tracks with what is known of them, and splits that keep artists whole."""

from collections.abc import Sequence
from dataclasses import dataclass
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
    labels : tuple of str
        Every genre label, sub-genres included.
    fold : int or None
        Given cross-validation fold.
    source : str
        Where the track comes from.
    album : str
        The key of its album, or empty.
    genre_weights : tuple of (str, float)
        How much it belongs to each of several main genres; may be empty.
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
    """Return what counts as one album: of a compilation, each artist's part."""
    return (track.album or f"track {track.track_id}", track.artist, track.genre)


def genre_targets(
    tracks: Sequence[Track], genres: Sequence[str], *, weighted: bool = False
) -> np.ndarray:
    """One-hot main genre of each track, a row of NaN where it is not one of `genres`.

    Parameters
    ----------
    weighted : bool
        A track without a main genre gets its weights, as far as they are of `genres`.

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
