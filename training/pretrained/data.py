"""The training data of a recipe: tracks, their features, and the network to start from."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from agf_core.data.tracks import Track
from agf_core.features.cache import FeatureCache
from agf_core.groups.codebook import Observations
from training.augment import augmented_copies
from training.datasets.collection import read_csv
from training.datasets.folders import genres_of
from training.features import describe, spectrograms
from training.pretrained.pretrain import Pretrained, music_for, pretrained_for
from training.recipes import Recipe


@dataclass(frozen=True, eq=False)
class TrainingData:
    """All data that a recipe is trained on.

    Attributes
    ----------
    tracks : sequence of Track
    spectra : sequence of np.ndarray [shape=(frames, n_mels)]
        Log-mel of every track.
    descriptors : mapping
        What artist groups are made of, and the teachers' features (`training.features.describe`).
    recipe : Recipe
    pretrained : Pretrained, optional
        The network that a distilled one starts from.
    device : str
        Where networks are trained.
    """

    tracks: Sequence[Track]
    spectra: Sequence[np.ndarray]
    descriptors: Mapping[str, Observations]
    recipe: Recipe
    pretrained: Pretrained | None = None
    device: str = "cpu"

    @cached_property
    def genres(self) -> tuple[str, ...]:
        """The main genres that occur, in alphabetical order."""
        return genres_of(self.tracks)


def work_folder(work: Path, recipe: Recipe) -> Path:
    """Return the folder that keeps everything trained by a recipe with its seed."""
    return work / f"{recipe.name}-{recipe.networks.seed}"


def gather(arguments: argparse.Namespace, recipe: Recipe) -> TrainingData:
    """Make the features that a recipe needs of the tracks that a command's options give; pre-train.

    Parameters
    ----------
    arguments : argparse.Namespace
        Options of `add_collection`, `add_unlabelled` and `add_device`.
    """
    cache = FeatureCache(arguments.work / "features")
    clips = read_csv(arguments.table).tracks
    useful = [clip for clip in clips if clip.genre or recipe.tasks != "g"]
    music = music_for(recipe, arguments.unlabelled)
    wanted = [*useful, *augmented_copies(useful, music, recipe.augmented_copies)]
    tracks, spectra = spectrograms(wanted, recipe.input, cache)
    return TrainingData(
        tracks,
        spectra,
        describe(tracks, recipe.tasks, cache, fmax=recipe.input.fmax),
        recipe,
        pretrained_for(
            recipe, music, cache, work_folder(arguments.work, recipe), device=arguments.device
        ),
        arguments.device,
    )
