"""What a network of one branch begins with: one that has learnt from the teacher alone.

It has learnt on other music, of which nothing needs to be known. No clip that a score is about is
part of it, so that one foundation serves all folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agf_core.corpus import Track
from agf_core.examples import Segments, fit_normaliser
from training import teacher
from training.one_branch import OneBranchNet, train_one_branch
from training.recipes import Recipe, of_member


@dataclass(frozen=True)
class Foundation:
    """Networks to go on from, and how they take their input and the teacher's features.

    Attributes
    ----------
    models : tuple of OneBranchNet
        For each member of the recipe.
    mean, std : np.ndarray [shape=(n_mels,)]
    scale : teacher.Scale
    music : tuple of Track
        What it has learnt from.
    """

    models: tuple[OneBranchNet, ...]
    mean: np.ndarray
    std: np.ndarray
    scale: teacher.Scale
    music: tuple[Track, ...]


def lay(
    tracks: Sequence[Track],
    spectra: Sequence[np.ndarray],
    heard: Sequence[np.ndarray],
    recipe: Recipe,
    checkpoints: Path,
    *,
    device: str = "cpu",
) -> Foundation:
    """Learn what the teacher hears of the tracks; what is done is read from the checkpoints.

    Raises
    ------
    ValueError
        When the recipe says nothing of a foundation.
    """
    if recipe.foundation is None:
        raise ValueError(f"the recipe {recipe.name} needs no foundation")
    mean, std = fit_normaliser(iter(spectra))
    scale = teacher.Scale.fit(heard)
    segments = Segments(spectra, recipe.input, mean, std, variation=recipe.variation, device=device)
    models = tuple(
        train_one_branch(
            segments,
            recipe.input,
            {"g": np.full((len(tracks), 1), np.nan)},
            heard,
            scale,
            of_member(recipe.foundation, member),
            train=np.arange(len(tracks)),
            width=recipe.width,
            checkpoint=checkpoints / f"foundation-{member}.safetensors",
        )
        for member in range(recipe.members)
    )
    return Foundation(models, mean, std, scale, tuple(tracks))
