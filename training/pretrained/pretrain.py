"""What a network of one branch begins with: one that has learnt from the teachers alone.

It has learnt on other music, of which nothing needs to be known. No clip that a score is about is
part of it, so that one foundation serves all folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agf_core.data.tracks import Track
from agf_core.errors import CorpusError
from agf_core.features.cache import FeatureCache
from agf_core.train.dataset import SegmentDataset, fit_normaliser
from training.augment import variants_of
from training.datasets.folders import read_folder
from training.features import spectrograms
from training.manifest import claim, facts_of
from training.pretrained.distillation import DistilledNet, train_one_branch
from training.recipes import Recipe
from training.teachers import features


@dataclass(frozen=True)
class Foundation:
    """A network to go on from, and how it takes its input and the teachers' features.

    Attributes
    ----------
    model : OneBranchNet
    mean, std : np.ndarray [shape=(n_mels,)]
    scale : teacher.Scale
    music : tuple of Track
        What it has learnt from.
    spectra : sequence of np.ndarray [shape=(frames, n_mels)]
    heard : sequence of np.ndarray [shape=(n_stretches, n_features)]
        Of the music.
    """

    model: DistilledNet
    mean: np.ndarray
    std: np.ndarray
    scale: features.Scale
    music: tuple[Track, ...]
    spectra: Sequence[np.ndarray]
    heard: Sequence[np.ndarray]


def lay(
    tracks: Sequence[Track],
    spectra: Sequence[np.ndarray],
    heard: Sequence[np.ndarray],
    recipe: Recipe,
    checkpoint: Path,
    *,
    device: str = "cpu",
) -> Foundation:
    """Learn what the teachers hear of the tracks; what is done is read from the checkpoint.

    Raises
    ------
    ValueError
        When the recipe says nothing of a foundation.
    RunError
        When the checkpoint is of another recipe or other tracks.
    """
    if recipe.foundation is None:
        raise ValueError(f"the recipe {recipe.name} needs no foundation")
    claim(
        checkpoint.with_suffix(".json"),
        facts_of(recipe, tracks),
        f"remove {checkpoint} and it, or give another folder to work in",
    )
    mean, std = fit_normaliser(iter(spectra))
    scale = features.Scale.fit(heard)
    model = train_one_branch(
        SegmentDataset(spectra, recipe.input, mean, std, variation=recipe.variation, device=device),
        recipe.input,
        {"g": np.full((len(tracks), 1), np.nan)},
        heard,
        scale,
        recipe.foundation,
        train=np.arange(len(tracks)),
        width=recipe.width,
        frames_pooled=recipe.frames_pooled,
        teachers=features.EACH,
        checkpoint=checkpoint,
    )
    return Foundation(model, mean, std, scale, tuple(tracks), spectra, heard)


def music_for(recipe: Recipe, folder: Path | None) -> list[Track]:
    """Return the music without genres that a recipe wants, if it wants any.

    Parameters
    ----------
    folder : Path, optional
        See `read_folder`.

    Raises
    ------
    CorpusError
        When there is none.
    """
    if recipe.foundation is None and not recipe.variants:
        return []
    if folder is None:
        raise CorpusError(f"the recipe {recipe.name} wants music without genres: --unlabelled")
    return read_folder(folder)


def foundation_of(
    recipe: Recipe, music: Sequence[Track], cache: FeatureCache, work: Path, *, device: str
) -> Foundation | None:
    """Lay the foundation that a recipe wants, if it wants one.

    Parameters
    ----------
    music : sequence of Track
        See `music_for`.
    work : Path
        Keeps what has been learnt.
    """
    if recipe.foundation is None:
        return None
    wanted = [*music, *variants_of(music, music, recipe.variants)]
    tracks, spectra = spectrograms(wanted, recipe.input, cache)
    return lay(
        tracks,
        spectra,
        features.heard(tracks, cache),
        recipe,
        work / "foundation.safetensors",
        device=device,
    )
