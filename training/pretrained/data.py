"""What a recipe learns from: tracks, what is heard in them, and what its networks begin with."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from agf_core.data.tracks import Track
from agf_core.features.cache import FeatureCache
from agf_core.groups.codebook import Observations
from training.augment import variants_of
from training.datasets.collection import read_csv
from training.datasets.folders import genres_of
from training.features import describe, spectrograms
from training.pretrained.pretrain import Foundation, foundation_of, music_for
from training.recipes import Recipe


@dataclass(frozen=True, eq=False)
class TrainingData:
    """All that is learnt from.

    Attributes
    ----------
    tracks : sequence of Track
    spectra : sequence of np.ndarray [shape=(frames, n_mels)]
        Log-mel of every track.
    descriptors : mapping
        What artist groups are made of, and what the teachers heard (`training.features.describe`).
    recipe : Recipe
    foundation : Foundation, optional
        What a network of one branch goes on from.
    device : str
        Where networks are trained.
    """

    tracks: Sequence[Track]
    spectra: Sequence[np.ndarray]
    descriptors: Mapping[str, Observations]
    recipe: Recipe
    foundation: Foundation | None = None
    device: str = "cpu"

    @cached_property
    def genres(self) -> tuple[str, ...]:
        """The main genres that occur, in alphabetical order."""
        return genres_of(self.tracks)


def work_folder(work: Path, recipe: Recipe) -> Path:
    """Return where all that a recipe learns with its seed is kept."""
    return work / f"{recipe.name}-{recipe.networks.seed}"


def gather(arguments: argparse.Namespace, recipe: Recipe) -> TrainingData:
    """Hear and describe what a command's options name, and lay the foundation.

    Parameters
    ----------
    arguments : argparse.Namespace
        Options of `add_collection`, `add_unlabelled` and `add_device`.
    """
    cache = FeatureCache(arguments.work / "features")
    clips = read_csv(arguments.table).tracks
    teaching = [clip for clip in clips if clip.genre or recipe.tasks != "g"]
    music = music_for(recipe, arguments.unlabelled)
    wanted = [*teaching, *variants_of(teaching, music, recipe.variants)]
    tracks, spectra = spectrograms(wanted, recipe.input, cache)
    return TrainingData(
        tracks,
        spectra,
        describe(tracks, recipe.tasks, cache, fmax=recipe.input.fmax),
        recipe,
        foundation_of(
            recipe, music, cache, work_folder(arguments.work, recipe), device=arguments.device
        ),
        arguments.device,
    )
