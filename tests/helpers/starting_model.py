"""The model that tests of learning begin with."""

import numpy as np

from agf_core.bundle.format import Metadata
from agf_core.features.spectrogram import InputSpec
from agf_core.train.networks import GenreNet


def metadata_of(
    network: GenreNet, spec: InputSpec, labels: tuple[str, ...], temperature: float = 1.0
) -> Metadata:
    """Return what a model of networks of a quarter of the width says of itself."""
    return Metadata(
        name="start",
        labels=labels,
        tasks=network.n_classes,
        architecture={
            "networks": network.tasks,
            "width": 0.25,
            "direct": getattr(network.mlp, "direct", None) is not None,
        },
        input=spec,
        mean=np.full(spec.n_mels, -40, np.float32),
        std=np.full(spec.n_mels, 10, np.float32),
        temperature=temperature,
    )
