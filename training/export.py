"""Trained networks saved as a model."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agf_core.bundle import format as bundle_format
from agf_core.data.tracks import Track
from agf_core.groups.lda import ArtistGroups
from agf_core.train.export import network_to_onnx, weights_to_safetensors
from agf_core.train.networks import GenreNet
from training.augment import originals
from training.recipes import Recipe


@dataclass(frozen=True)
class Trained:
    """A trained network with all that was fitted beside it.

    Attributes
    ----------
    network : GenreNet
    groups : dict of ArtistGroups
        By task.
    mean, std : np.ndarray [shape=(n_mels,)]
    prior : np.ndarray [shape=(n_genres,)]
        Of the genre targets that it learnt from, the teachers' part in them included.
    unlabelled : dict of int
        Tracks of the foundation, by their source.
    probabilities : np.ndarray [shape=(n_tracks, n_genres)]
        Of every track asked for, before any temperature; NaN for the others.
    """

    network: GenreNet
    groups: dict[str, ArtistGroups]
    mean: np.ndarray
    std: np.ndarray
    prior: np.ndarray
    unlabelled: dict[str, int]
    probabilities: np.ndarray


def write_bundle(
    learnt: Trained,
    temperature: float,
    folder: Path,
    *,
    name: str,
    genres: Sequence[str],
    recipe: Recipe,
    tracks: Sequence[Track],
    scores: Mapping[str, Any],
    card: Callable[[bundle_format.Metadata], str],
) -> bundle_format.Bundle:
    """Save what was learnt as a model.

    Parameters
    ----------
    tracks : sequence of Track
        Those it learnt from; their variants are not counted.
    scores : mapping
        For ``model.json``.
    card : callable
        Writes the card from the metadata.
    """
    tracks = originals(tracks)
    metadata = bundle_format.Metadata(
        name=name,
        labels=tuple(genres),
        tasks=learnt.network.n_classes,
        architecture={
            "networks": learnt.network.tasks,
            "width": recipe.width,
            "frames_pooled": recipe.frames_pooled,
            "direct": recipe.linear_head is not None,
        },
        input=recipe.input,
        mean=learnt.mean,
        std=learnt.std,
        temperature=temperature,
        prior=learnt.prior,
        recipe=recipe.to_dict(),
        trained_on={
            "tracks": len(tracks),
            "artists": len({t.artist for t in tracks}),
            "with_genre": sum(bool(t.genre) for t in tracks),
            "sources": dict(Counter(t.source for t in tracks)),
            "unlabelled": learnt.unlabelled,
        },
        scores=dict(scores),
    )
    files = {
        bundle_format.NETWORK: network_to_onnx(learnt.network, recipe.input),
        bundle_format.WEIGHTS: weights_to_safetensors(learnt.network, learnt.groups),
        bundle_format.CARD: card(metadata).encode(),
    }
    return bundle_format.save(folder, metadata, files)
