"""Cross-validation: every track predicted by a model whose training set has nothing of its fold."""

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
from training.pretrained.pipeline import check_folder, train_recipe
from training.splits import Split, folds
from training.targets import truth_of


def calibrated(
    probabilities: np.ndarray, part: Split, tracks: Sequence[Track], genres: Sequence[str]
) -> tuple[np.ndarray, float]:
    """Return probabilities with the temperature of the calibration split, and the temperature.

    Without such a split it is 1.
    """
    if not len(part.calibration):
        return probabilities, 1.0
    temperature = calibration.fit_temperature(
        probabilities[part.calibration], truth_of(tracks, part.calibration, genres)
    )
    return calibration.apply_temperature(probabilities, temperature), temperature


def calibrated_by_fold(
    probabilities: np.ndarray, chosen: np.ndarray, tracks: Sequence[Track], genres: Sequence[str]
) -> tuple[np.ndarray, dict[int, float]]:
    """Give each fold the temperature of the others (`calibration.cross_calibrate`).

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n, n_genres)]
    chosen : np.ndarray [shape=(n,), dtype=int]
        Indices of the tracks that they are of; one may be there several times.

    Returns
    -------
    calibrated : np.ndarray [shape=(n, n_genres)]
    temperatures : dict of float
        By fold.
    """
    fold_of = np.array([track.fold for track in tracks])[chosen]
    return calibration.cross_calibrate(probabilities, truth_of(tracks, chosen, genres), fold_of)


@dataclass(frozen=True)
class FoldPredictions:
    """Predictions of all tracks with a genre, each by a model trained on the other folds.

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


def predict_split(
    material: TrainingData, part: Split, name: str, folder: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Train on one side of a split and predict the other; what is done is read from `folder`.

    The temperature is fitted on the calibration split, if there is one, so that nothing at all
    comes from the test split.

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
        When what is done is of another recipe or other tracks.
    """
    tracks, genres = material.tracks, material.genres
    stored = folder / name / "predictions.npy"
    predicted = np.union1d(part.calibration, part.test)
    if stored.exists():
        check_folder(stored.parent, material, part.train, predicted)
        raw, final = np.load(stored)
        return raw, final
    print(f"{name}: {len(part.train)} training tracks, {len(part.test)} test tracks", flush=True)
    trained = train_recipe(
        material,
        train=part.train,
        valid=part.calibration if len(part.calibration) else None,
        predicted=predicted,
        folder=stored.parent,
    )
    with_temperature, temperature = calibrated(trained.probabilities, part, tracks, genres)
    write_bundle(
        trained,
        temperature,
        stored.parent / "model",
        name=name,
        genres=genres,
        recipe=material.recipe,
        tracks=[tracks[i] for i in part.train],
        scores={},
        card=lambda metadata: f"# {metadata.name}\n\nTrained without its test tracks.\n",
    )
    with atomic.written(stored) as file:
        np.save(file, [trained.probabilities[part.test], with_temperature[part.test]])
    return trained.probabilities[part.test], with_temperature[part.test]


def cross_validate(
    material: TrainingData, folder: Path, *, only: Sequence[int] | None = None
) -> FoldPredictions:
    """Train and save a model per fold (`predict_split`); with `only`, other folds' stay NaN."""
    tracks, genres = material.tracks, material.genres
    raw = np.full((len(tracks), len(genres)), np.nan)
    for number, part in folds(tracks).items():
        if only is None or number in only:
            raw[part.test], _ = predict_split(material, part, f"fold-{number}", folder)
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
