"""Targets of every task, and where tracks stand among others."""

from collections.abc import Mapping, Sequence

import numpy as np

from agf_core.data.tracks import Track, genre_targets
from agf_core.groups.codebook import Observations
from agf_core.groups.lda import ArtistGroups, group_targets

DESCRIPTORS = {
    "m": "MFCCs",
    "d": "differences of MFCCs",
    "e": "Essentia's descriptors",
    "s": "genre labels",
}
"""What artist groups are made of, by the letter of their task."""


def task_targets(
    tracks: Sequence[Track],
    descriptors: Mapping[str, Observations],
    genres: Sequence[str],
    tasks: str,
    train: np.ndarray,
    *,
    seed: int,
    weighted: bool = False,
) -> tuple[dict[str, np.ndarray], dict[str, ArtistGroups]]:
    """Find groups in the tracks of `train` alone, and the targets of every task but the teachers'.

    Parameters
    ----------
    descriptors : mapping
        See `training.features.describe`; a task without them is left out.
    weighted : bool
        See `genre_targets`.

    Returns
    -------
    targets : dict of np.ndarray [shape=(n_tracks, n_classes)]
    groups : dict of ArtistGroups
        Of every task that is about them.
    """
    artists = [track.artist for track in tracks]
    targets, groups = {}, {}
    for task in tasks:
        if task == "g":
            targets[task] = genre_targets(tracks, genres, weighted=weighted)
        elif task in descriptors:
            groups[task], targets[task] = group_targets(
                task, descriptors[task], artists, train, seed=seed
            )
    return targets, groups


def truth_of(tracks: Sequence[Track], indices: np.ndarray, genres: Sequence[str]) -> np.ndarray:
    """Return the index of each track's main genre; every one must have one."""
    return np.array([genres.index(tracks[i].genre) for i in indices])


def places(tracks: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return where in `chosen`, which is in order, those of `tracks` stand that are in it."""
    return np.searchsorted(chosen, tracks[np.isin(tracks, chosen)])
