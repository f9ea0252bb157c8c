"""Recipes: everything that is chosen about a model, in one place."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from agf_core import constants
from agf_core.bundle.old_keys import with_present_keys
from agf_core.features.spectrogram import InputSpec
from agf_core.train.config import LATER_FIELDS, TrainConfig
from agf_core.train.dataset import SpectrogramAugmentation

RETIRED = {
    *(
        "one_branch",
        "opinion",
        "foundation",
        "rehearsed",
        "direct",
        "share",
        "balanced",
        "whitened",
    ),
    *("weighted", "variants", "distilled", "soft_labels", "pretraining", "replay", "linear_head"),
    *("linear_head_share", "class_balance", "wccn", "weighted_genres", "augmented_copies"),
}
"""Fields that recipes of former versions had."""


@dataclass(frozen=True)
class Recipe:
    """All choices about how a model is trained.

    Attributes
    ----------
    name : str
    tasks : str
        Letters of the tasks.
    shared : bool
        One network over all tasks (MTN) instead of one for each (STN).
    augmentation : SpectrogramAugmentation
        Of the segments in training.
    width : float
    frames_pooled : int
        Of the networks, see `agf_core.train.networks.MultiTaskNet`.
    input : InputSpec
    networks, transfer : TrainConfig
        Of the networks and of the transfer MLP.
    """

    name: str
    tasks: str = "g"
    shared: bool = True
    augmentation: SpectrogramAugmentation = field(default_factory=SpectrogramAugmentation)
    width: float = 1.0
    frames_pooled: int = 1
    input: InputSpec = field(default_factory=InputSpec)
    networks: TrainConfig = field(default_factory=TrainConfig)
    transfer: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=50))

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON can hold it."""
        schedules = {name: getattr(self, name) for name in ("networks", "transfer")}
        return asdict(self) | {name: s and s.to_dict() for name, s in schedules.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        """Read what `to_dict` made, in this version or before; `ValueError` for other keys."""
        values = with_present_fields(values)
        for kind, given in (
            (cls, values),
            (TrainConfig, values.get("networks", {})),
            (TrainConfig, values.get("transfer", {})),
            (SpectrogramAugmentation, values.get("augmentation", {})),
        ):
            odd = (given.keys() ^ {f.name for f in fields(kind)}) - (
                LATER_FIELDS.keys() - given.keys()
            )
            if odd:
                raise ValueError(f"missing or unknown in the recipe: {', '.join(sorted(odd))}")
        return cls(
            **values
            | {
                "input": InputSpec.from_dict(values["input"]),
                "networks": TrainConfig(**values["networks"]),
                "transfer": TrainConfig(**values["transfer"]),
                "augmentation": SpectrogramAugmentation(**values["augmentation"]),
            }
        )


def with_present_fields(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a recipe that this version has, under their present names."""
    return with_present_keys({k: value for k, value in recipe.items() if k not in RETIRED})


def seeded(recipe: Recipe, seed: int) -> Recipe:
    """Return the recipe with another seed."""
    return replace(
        recipe,
        networks=replace(recipe.networks, seed=seed),
        transfer=replace(recipe.transfer, seed=seed),
    )


PAPER = Recipe(
    "paper",
    networks=TrainConfig(bfloat16=True, validate_every=50, l2_on_weights=True),
    transfer=TrainConfig(epochs=50, every_window=True, l2_on_weights=True),
)
"""The paper's numbers, for the genre task alone. Half precision is ours: it changes no result."""

DEVELOPMENT_INPUT = InputSpec(fmax=8_000.0, window_hop=constants.SEGMENT_FRAMES)
"""Input of models that are trained on the development corpora.

The mel range ends at 8 kHz, because the corpora's clips are cut at different bandwidths and a model
with a wider input fits to the corpus that a clip is from. Windows do not overlap, which takes
half the time and scored the same.
"""

THREE_SECONDS = 129  # frames: the input of musicnn

OURS = Recipe(
    "ours",
    frames_pooled=2,
    augmentation=SpectrogramAugmentation(loudness=4.0, equaliser=2.5),
    input=replace(
        DEVELOPMENT_INPUT,
        n_mels=64,
        segment_frames=THREE_SECONDS,
        window_hop=THREE_SECONDS,
        excerpt_pieces=5,  # of two segments
    ),
    networks=TrainConfig(
        epochs=6,
        batch_size=64,
        learning_rate=2e-3,
        muon=0.03,
        weight_decay=0.0,
        bfloat16=True,
        validate_every=1,
        one_cycle=True,
    ),
)
"""The model that ships: a student of two teachers' classes (`training.pretrained.student`).

Its history is in ``docs/results/experiment-log.md``.
"""

COMPARED = replace(
    PAPER,
    name="compared",
    input=DEVELOPMENT_INPUT,
    networks=replace(PAPER.networks, epochs=50, validate_every=10),
)
"""The paper's cases on the development corpora, whose clips end at different bandwidths."""

SMALL = replace(
    COMPARED,
    name="small",
    width=0.5,
    frames_pooled=2,
    input=replace(DEVELOPMENT_INPUT, n_mels=64),
    networks=replace(COMPARED.networks, epochs=60, batch_size=16, validate_every=60),
    transfer=replace(COMPARED.transfer, epochs=10),
)
"""The paper's cases at a small part of the cost, for many of them on a processor without a GPU.

Small batches make many steps of few tracks.
"""
