"""The sets of a split, the true genres of tracks, and where tracks stand among others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agf_core.data.tracks import Track


@dataclass(frozen=True)
class Split:
    """Indices of training tracks and of others; no artist is in two of them.

    Attributes
    ----------
    train : np.ndarray [dtype=int]
        The training set, tracks without a genre included.
    calibration, test : np.ndarray [dtype=int]
        To fit the temperature on, which may be empty, and to test on; each has a genre.
    """

    train: np.ndarray
    calibration: np.ndarray
    test: np.ndarray


def truth_of(tracks: Sequence[Track], indices: np.ndarray, genres: Sequence[str]) -> np.ndarray:
    """Return the index of each track's main genre; every one must have one."""
    return np.array([genres.index(tracks[i].genre) for i in indices])


def places(tracks: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return where in `chosen`, which is in order, those of `tracks` stand that are in it."""
    return np.searchsorted(chosen, tracks[np.isin(tracks, chosen)])
