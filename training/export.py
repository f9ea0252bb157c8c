"""Trained networks saved as a model."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agf_core.bundle import format as bundle_format
from agf_core.bundle import seen_artists
from agf_core.data.tracks import Track
from agf_core.groups.lda import ArtistGroups
from agf_core.metrics import count_artists
from agf_core.train.export import network_to_onnx, weights_to_safetensors
from agf_core.train.networks import GenreNet
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
        Of the genre targets in its training set, soft labels included.
    unlabelled : dict of int
        Tracks of the pre-training, by their source.
    probabilities : np.ndarray [shape=(n_tracks, n_genres)]
        Of every track that was to be predicted, before any temperature; NaN for the others.
    """

    network: GenreNet
    groups: dict[str, ArtistGroups]
    mean: np.ndarray
    std: np.ndarray
    prior: np.ndarray
    unlabelled: dict[str, int]
    probabilities: np.ndarray


def write_bundle(
    trained: Trained,
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
    """Save trained networks as a model.

    Parameters
    ----------
    tracks : sequence of Track
        Of the training set.
    scores : mapping
        For ``model.json``.
    card : callable
        Writes the card from the metadata.
    """
    metadata = bundle_format.Metadata(
        name=name,
        labels=tuple(genres),
        tasks=trained.network.n_classes,
        architecture={
            "networks": trained.network.tasks,
            "width": recipe.width,
            "frames_pooled": recipe.frames_pooled,
        },
        input=recipe.input,
        mean=trained.mean,
        std=trained.std,
        temperature=temperature,
        prior=trained.prior,
        recipe=recipe.to_dict(),
        trained_on={
            "tracks": len(tracks),
            "artists": count_artists(t.artist for t in tracks),
            "with_genre": sum(bool(t.genre) for t in tracks),
            "sources": dict(Counter(t.source for t in tracks)),
            "unlabelled": trained.unlabelled,
            seen_artists.ARTIST_HASHES: seen_artists.hash_artists(t.artist for t in tracks),
        },
        scores=dict(scores),
    )
    files = {
        bundle_format.NETWORK: network_to_onnx(trained.network, recipe.input),
        bundle_format.WEIGHTS: weights_to_safetensors(trained.network, trained.groups),
        bundle_format.CARD: card(metadata).encode(),
    }
    return bundle_format.save(folder, metadata, files)
