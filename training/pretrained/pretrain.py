"""Pre-training of a distilled network: on the teachers' features alone, of music without genres.

No clip that a score is about is in its training set, so that one pre-trained network serves all
folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agf_core.data.tracks import Track
from agf_core.errors import CorpusError
from agf_core.features.cache import FeatureCache
from agf_core.train.dataset import SegmentDataset, fit_normaliser
from training.augment import augmented_copies
from training.datasets.folders import read_folder
from training.features import spectrograms
from training.manifest import check_manifest, manifest_of
from training.pretrained.distillation import DistilledNet, train_distilled
from training.recipes import Recipe
from training.teachers.features import EACH, Scale, teacher_features


@dataclass(frozen=True)
class Pretrained:
    """A pre-trained network, its normalisers, and its training set.

    Attributes
    ----------
    model : DistilledNet
    mean, std : np.ndarray [shape=(n_mels,)]
        Normaliser of its input.
    scale : Scale
        Of the teachers' features.
    music : tuple of Track
        The training set.
    spectra : sequence of np.ndarray [shape=(frames, n_mels)]
    features : sequence of np.ndarray [shape=(n_stretches, n_features)]
        The teachers', of the music.
    """

    model: DistilledNet
    mean: np.ndarray
    std: np.ndarray
    scale: Scale
    music: tuple[Track, ...]
    spectra: Sequence[np.ndarray]
    features: Sequence[np.ndarray]


def pretrain(
    tracks: Sequence[Track],
    spectra: Sequence[np.ndarray],
    features: Sequence[np.ndarray],
    recipe: Recipe,
    checkpoint: Path,
    *,
    device: str = "cpu",
) -> Pretrained:
    """Train on the teachers' features of tracks, or go on from the checkpoint.

    Raises
    ------
    ValueError
        When the recipe has no pre-training.
    RunError
        When the checkpoint is of another recipe or other tracks.
    """
    if recipe.pretraining is None:
        raise ValueError(f"the recipe {recipe.name} has no pre-training")
    check_manifest(
        checkpoint.with_suffix(".json"),
        manifest_of(recipe, tracks),
        f"remove {checkpoint} and it, or give another folder to work in",
    )
    mean, std = fit_normaliser(iter(spectra))
    scale = Scale.fit(features)
    segments = SegmentDataset(
        spectra, recipe.input, mean, std, augmentation=recipe.augmentation, device=device
    )
    model = train_distilled(
        segments,
        recipe.input,
        {"g": np.full((len(tracks), 1), np.nan)},
        features,
        scale,
        recipe.pretraining,
        train=np.arange(len(tracks)),
        width=recipe.width,
        frames_pooled=recipe.frames_pooled,
        teachers=EACH,
        checkpoint=checkpoint,
    )
    return Pretrained(model, mean, std, scale, tuple(tracks), spectra, features)


def music_for(recipe: Recipe, folder: Path | None) -> list[Track]:
    """Return the music without genres that a recipe needs, if it needs any.

    Parameters
    ----------
    folder : Path, optional
        See `read_folder`.

    Raises
    ------
    CorpusError
        When there is none.
    """
    if recipe.pretraining is None and not recipe.augmented_copies:
        return []
    if folder is None:
        raise CorpusError(
            f"the recipe {recipe.name} needs music without genres; give its folder: --unlabelled"
        )
    return read_folder(folder)


def pretrained_for(
    recipe: Recipe, music: Sequence[Track], cache: FeatureCache, work: Path, *, device: str
) -> Pretrained | None:
    """Return the pre-trained network that a recipe starts from, if it has pre-training.

    Parameters
    ----------
    music : sequence of Track
        See `music_for`.
    work : Path
        Keeps the checkpoint.
    """
    if recipe.pretraining is None:
        return None
    wanted = [*music, *augmented_copies(music, music, recipe.augmented_copies)]
    tracks, spectra = spectrograms(wanted, recipe.input, cache)
    return pretrain(
        tracks,
        spectra,
        teacher_features(tracks, cache),
        recipe,
        work / "foundation.safetensors",
        device=device,
    )
