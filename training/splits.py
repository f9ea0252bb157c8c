"""Splits of a collection that keep artists whole."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agf_core.data.splits import hold_out_artists
from agf_core.data.tracks import Track
from training.datasets.collection import CALIBRATION_SHARE


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


def leave_out(tracks: Sequence[Track], fold: int) -> Split:
    """Return the split whose test set is a fold, without calibration tracks."""
    rest = np.array([i for i, track in enumerate(tracks) if track.fold != fold])
    test = np.array([i for i, track in enumerate(tracks) if track.fold == fold and track.genre])
    return Split(rest, np.array([], int), test)


def hold_out_calibration(split: Split, tracks: Sequence[Track], seed: int) -> Split:
    """Move some of the training artists to the calibration set."""
    train, calibration = hold_out_artists(tracks, split.train, CALIBRATION_SHARE, seed=seed)
    return Split(train, np.array([i for i in calibration if tracks[i].genre], int), split.test)


def across_sources(tracks: Sequence[Track], seed: int) -> dict[str, Split]:
    """Train on one source and test on another: a measure of out-of-domain accuracy.

    The test set is the clips of main genres that both sources have, by artists who are not in the
    first.

    Returns
    -------
    dict
        By ``trained-on-to-tested-on``, for every pair of sources that share a genre; a slash in a
        source's name is a dash.
    """
    sources = sorted({track.source for track in tracks})
    genres = {s: {t.genre for t in tracks if t.source == s and t.genre} for s in sources}
    splits = {}
    for one in sources:
        train = np.array([i for i, track in enumerate(tracks) if track.source == one])
        seen = {tracks[i].artist for i in train}
        for other in sources:
            test = [
                i
                for i, track in enumerate(tracks)
                if track.source == other != one
                and track.genre in genres[one]
                and track.artist not in seen
            ]
            if test:
                name = f"{one}-to-{other}".replace("/", "-")
                split = Split(train, np.array([], int), np.array(test))
                splits[name] = hold_out_calibration(split, tracks, seed)
    return splits


def folds(tracks: Sequence[Track]) -> dict[int, Split]:
    """Return the split of each fold that occurs, by its number."""
    numbers = sorted({track.fold for track in tracks if track.fold is not None})
    return {number: leave_out(tracks, number) for number in numbers}


def all_splits(tracks: Sequence[Track], seed: int) -> dict[str, Split]:
    """Return all splits that a recipe is tested on, by name: its folds, and across sources."""
    by_fold = {f"fold-{number}": split for number, split in folds(tracks).items()}
    return by_fold | across_sources(tracks, seed)
