"""Honest scores of a recipe: every track predicted by a model that met no track of its fold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agf_core import calibration
from agf_core.artist_groups import Observations
from agf_core.corpus import Track, hold_out_artists
from training.learn import learn, write_bundle
from training.recipes import Recipe

CALIBRATION_SHARE = 0.1  # of a fold's training artists, kept back to fit its temperature


@dataclass(frozen=True)
class FoldPredictions:
    """Predictions of all tracks, each by a model that met no track of its fold.

    Attributes
    ----------
    raw : np.ndarray [shape=(n_tracks, n_genres)]
        Before any temperature.
    calibrated : np.ndarray [shape=(n_tracks, n_genres)]
        With the temperature of the fold's own model, fitted on other artists.
    """

    raw: np.ndarray
    calibrated: np.ndarray


def cross_validate(
    tracks: Sequence[Track],
    spectrograms: Sequence[np.ndarray],
    descriptors: Mapping[str, Observations],
    genres: Sequence[str],
    recipe: Recipe,
    folder: Path,
    *,
    only: Sequence[int] | None = None,
    device: str = "cpu",
) -> FoldPredictions:
    """Train and save a model per fold; finished folds are read from `folder`.

    Some of a fold's training artists are kept back to fit its temperature, so that nothing at all
    comes from the tracks it is tested on. With `only`, other folds' predictions are NaN.
    """
    fold_of = np.array([track.fold for track in tracks])
    shape = (len(tracks), len(genres))
    raw, calibrated = np.full(shape, np.nan), np.full(shape, np.nan)
    for fold in np.unique(fold_of) if only is None else only:
        test = np.flatnonzero(fold_of == fold)
        stored = folder / f"fold-{fold}" / "predictions.npy"
        if stored.exists():
            raw[test], calibrated[test] = np.load(stored)
            continue
        rest = np.flatnonzero(fold_of != fold)
        train, kept_back = hold_out_artists(
            tracks, rest, CALIBRATION_SHARE, seed=recipe.networks.seed
        )
        print(f"fold {fold}: {len(train)} tracks to learn from, {len(test)} to test on", flush=True)
        learnt = learn(
            tracks,
            spectrograms,
            descriptors,
            genres,
            recipe,
            train=train,
            valid=kept_back,
            predicted=np.concatenate([kept_back, test]),
            folder=stored.parent,
            device=device,
        )
        judged = np.array([i for i in kept_back if tracks[i].genre])
        temperature = calibration.fit_temperature(
            learnt.probabilities[judged], truth_of(tracks, judged, genres)
        )
        raw[test] = learnt.probabilities[test]
        calibrated[test] = calibration.apply_temperature(raw[test], temperature)
        write_bundle(
            learnt,
            temperature,
            stored.parent / "model",
            name=f"fold-{fold}",
            genres=genres,
            recipe=recipe,
            tracks=[tracks[i] for i in train],
            scores={},
            card=lambda metadata: f"# {metadata.name}\n\nLearnt without the tracks of its fold.\n",
        )
        np.save(stored, np.stack([raw[test], calibrated[test]]))
    return FoldPredictions(raw, calibrated)


def truth_of(tracks: Sequence[Track], indices: np.ndarray, genres: Sequence[str]) -> np.ndarray:
    """Return the index of each track's main genre; every one must have one."""
    return np.array([genres.index(tracks[i].genre) for i in indices])
