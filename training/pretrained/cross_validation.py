"""Honest scores of a recipe: every track predicted by a model that met no track of its fold."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from agf_core import calibration
from agf_core.bundle import format as bundle_format
from agf_core.data.tracks import Track
from agf_core.utils import atomic
from training.export import write_bundle
from training.pretrained.data import TrainingData
from training.pretrained.pipeline import claim_folder, learn
from training.splits import Split, folds
from training.targets import truth_of


def calibrated(
    probabilities: np.ndarray, part: Split, tracks: Sequence[Track], genres: Sequence[str]
) -> tuple[np.ndarray, float]:
    """Fit the temperature on the tracks kept back; return all probabilities with it, and it.

    Where none are, it is 1.
    """
    if not len(part.kept_back):
        return probabilities, 1.0
    temperature = calibration.fit_temperature(
        probabilities[part.kept_back], truth_of(tracks, part.kept_back, genres)
    )
    return calibration.apply_temperature(probabilities, temperature), temperature


def calibrated_by_fold(
    probabilities: np.ndarray, asked: np.ndarray, tracks: Sequence[Track], genres: Sequence[str]
) -> tuple[np.ndarray, dict[int, float]]:
    """Give each fold the temperature of the others (`calibration.cross_calibrate`).

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n, n_genres)]
    asked : np.ndarray [shape=(n,), dtype=int]
        Indices of the tracks that they are of; one may be there several times.

    Returns
    -------
    calibrated : np.ndarray [shape=(n, n_genres)]
    temperatures : dict of float
        By fold.
    """
    fold_of = np.array([track.fold for track in tracks])[asked]
    return calibration.cross_calibrate(probabilities, truth_of(tracks, asked, genres), fold_of)


@dataclass(frozen=True)
class FoldPredictions:
    """Predictions of all tracks with a genre, each by a model that met no track of its fold.

    The others' are NaN.

    Attributes
    ----------
    raw : np.ndarray [shape=(n_tracks, n_genres)]
        Before any temperature.
    calibrated : np.ndarray [shape=(n_tracks, n_genres)]
        Each fold's with the temperature of the others (`calibrated_by_fold`).
    """

    raw: np.ndarray
    calibrated: np.ndarray


def predict_part(
    material: TrainingData, part: Split, name: str, folder: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Learn from one side of a split and predict the other; what is done is read from `folder`.

    The temperature is fitted on the artists kept back, if any are, so that nothing at all comes
    from the tracks that are judged.

    Parameters
    ----------
    name : str
        Of the split: that of its folder, which keeps the model.

    Returns
    -------
    raw, calibrated : np.ndarray [shape=(n_test, n_genres)]

    Raises
    ------
    RunError
        When what is done was learnt by another recipe or from other tracks.
    """
    tracks, genres = material.tracks, material.genres
    stored = folder / name / "predictions.npy"
    predicted = np.union1d(part.kept_back, part.test)
    if stored.exists():
        claim_folder(stored.parent, material, part.train, predicted)
        raw, final = np.load(stored)
        return raw, final
    print(
        f"{name}: {len(part.train)} tracks to learn from, {len(part.test)} to test on", flush=True
    )
    learnt = learn(
        material,
        train=part.train,
        valid=part.kept_back if len(part.kept_back) else None,
        predicted=predicted,
        folder=stored.parent,
    )
    with_temperature, temperature = calibrated(learnt.probabilities, part, tracks, genres)
    write_bundle(
        learnt,
        temperature,
        stored.parent / "model",
        name=name,
        genres=genres,
        recipe=material.recipe,
        tracks=[tracks[i] for i in part.train],
        scores={},
        card=lambda metadata: f"# {metadata.name}\n\nLearnt without the tracks it is tested on.\n",
    )
    with atomic.written(stored) as file:
        np.save(file, [learnt.probabilities[part.test], with_temperature[part.test]])
    return learnt.probabilities[part.test], with_temperature[part.test]


def cross_validate(
    material: TrainingData, folder: Path, *, only: Sequence[int] | None = None
) -> FoldPredictions:
    """Train and save a model per fold (`predict_part`); with `only`, other folds' stay NaN."""
    tracks, genres = material.tracks, material.genres
    raw = np.full((len(tracks), len(genres)), np.nan)
    for number, part in folds(tracks).items():
        if only is None or number in only:
            raw[part.test], _ = predict_part(material, part, f"fold-{number}", folder)
    judged = np.flatnonzero(np.isfinite(raw).all(axis=1))
    final = raw.copy()
    final[judged], temperatures = calibrated_by_fold(raw[judged], judged, tracks, genres)
    for number, temperature in temperatures.items():
        _set_temperature(folder / f"fold-{number}" / "model", temperature)
    return FoldPredictions(raw, final)


def _set_temperature(folder: Path, temperature: float) -> None:
    """Save a model again with a temperature, if it has another."""
    model = bundle_format.load(folder)
    if model.metadata.temperature != temperature:
        files = (bundle_format.NETWORK, bundle_format.WEIGHTS, bundle_format.CARD)
        bundle_format.save(
            folder,
            replace(model.metadata, temperature=temperature),
            {name: (folder / name).read_bytes() for name in files},
        )
