"""Splits of a collection that keep artists whole."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agf_core.data.splits import hold_out_artists
from agf_core.data.tracks import Track
from training.datasets.collection import CALIBRATION_SHARE


@dataclass(frozen=True)
class Split:
    """Tracks to learn from and others to ask about: indices that share no artist.

    Attributes
    ----------
    train : np.ndarray [dtype=int]
        To learn from, those without a genre too.
    calibration, test : np.ndarray [dtype=int]
        To fit the temperature on, if any are, and to judge; each has a genre.
    """

    train: np.ndarray
    calibration: np.ndarray
    test: np.ndarray


def split(tracks: Sequence[Track], fold: int) -> Split:
    """Leave a fold out."""
    rest = np.array([i for i, track in enumerate(tracks) if track.fold != fold])
    test = np.array([i for i, track in enumerate(tracks) if track.fold == fold and track.genre])
    return Split(rest, np.array([], int), test)


def hold_out_calibration(part: Split, tracks: Sequence[Track], seed: int) -> Split:
    """Keep some of the artists to learn from back for the temperature."""
    train, calibration = hold_out_artists(tracks, part.train, CALIBRATION_SHARE, seed=seed)
    return Split(train, np.array([i for i in calibration if tracks[i].genre], int), part.test)


def across_sources(tracks: Sequence[Track], seed: int) -> dict[str, Split]:
    """Learn from one source, and ask about another: how a model fares on a stranger's music.

    Asked about are the clips of main genres that both sources have, by artists whom the first
    lacks.

    Returns
    -------
    dict
        By ``learnt-from-to-asked-about``, for every pair of sources that share a genre; a slash in
        a source's name is a dash.
    """
    sources = sorted({track.source for track in tracks})
    genres = {s: {t.genre for t in tracks if t.source == s and t.genre} for s in sources}
    splits = {}
    for one in sources:
        mine = np.array([i for i, track in enumerate(tracks) if track.source == one])
        met = {tracks[i].artist for i in mine}
        for other in sources:
            asked = [
                i
                for i, track in enumerate(tracks)
                if track.source == other != one
                and track.genre in genres[one]
                and track.artist not in met
            ]
            if asked:
                name = f"{one}-to-{other}".replace("/", "-")
                part = Split(mine, np.array([], int), np.array(asked))
                splits[name] = hold_out_calibration(part, tracks, seed)
    return splits


def folds(tracks: Sequence[Track]) -> dict[int, Split]:
    """Return a split for each fold that the tracks name, by its number."""
    numbers = sorted({track.fold for track in tracks if track.fold is not None})
    return {number: split(tracks, number) for number in numbers}


def parts(tracks: Sequence[Track], seed: int) -> dict[str, Split]:
    """Return all splits that a recipe is judged by, by name: its folds, and across sources."""
    by_fold = {f"fold-{number}": part for number, part in folds(tracks).items()}
    return by_fold | across_sources(tracks, seed)
