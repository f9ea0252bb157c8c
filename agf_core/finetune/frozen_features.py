"""Transfer features of a base model, before fine-tuning."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch

from agf_core.bundle import format as bundle_format
from agf_core.features.spectrogram_cache import CachedSpectrograms
from agf_core.train.dataset import FeatureDataset, SegmentDataset
from agf_core.train.networks import GenreNet, MultiTaskNet


def segments_of(model: bundle_format.Bundle, spectrograms: Sequence[np.ndarray]) -> SegmentDataset:
    """Return spectrograms as the input of the networks of a model, in windows without overlap.

    That is half of the windows of a prediction, at half of the cost.
    """
    metadata = model.metadata
    spec = replace(metadata.input, window_hop=metadata.input.segment_frames)
    return SegmentDataset(spectrograms, spec, metadata.mean, metadata.std)


def frozen_features(
    model: bundle_format.Bundle,
    network: GenreNet,
    excerpts: CachedSpectrograms,
    step: Callable[[], None] = lambda: None,
) -> FeatureDataset:
    """Compute transfer features of tracks by a base model, each once and cached.

    Parameters
    ----------
    network : GenreNet
        The network of `model`.
    excerpts : CachedSpectrograms
        Of the tracks.
    step : callable
        Called after each track.
    """
    n_features = sum(cast(MultiTaskNet, net).n_features for net in network.networks)
    rows = []

    def fits(stored: np.ndarray) -> bool:
        return (
            stored.dtype == np.float16
            and stored.ndim == 2
            and len(stored) > 0
            and stored.shape[1] == n_features
            and bool(np.isfinite(stored).all())
        )

    for index, key in enumerate(excerpts.keys):

        def compute(index: int = index) -> np.ndarray:
            windows = segments_of(model, [excerpts[index]]).windows(0)
            with torch.inference_mode():
                return network.features(windows).numpy().astype(np.float16)

        rows.append(excerpts.cache.get(f"features-{model.model_id}", key, compute, fits))
        step()
    return FeatureDataset(rows)
