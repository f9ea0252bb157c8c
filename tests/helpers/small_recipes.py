"""Recipes that are trained on a generated corpus in seconds."""

from agf_core.features.spectrogram import InputSpec
from agf_core.train.config import TrainConfig
from training.recipes import Recipe

TINY = Recipe(
    "tiny",
    width=0.25,
    input=InputSpec(
        8_000, 256, 128, 32, 0.0, 4_000.0, segment_frames=40, window_hop=20, excerpt_seconds=2.0
    ),
    networks=TrainConfig(epochs=6, batch_size=8, validate_every=3),
    transfer=TrainConfig(epochs=10, batch_size=8, validate_every=5),
)
