"""Recipes: everything that is chosen about a model, in one place."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from agf_core import constants
from agf_core.features.spectrogram import InputSpec
from agf_core.train.config import LATER, TrainConfig
from agf_core.train.dataset import SpectrogramAugmentation


@dataclass(frozen=True)
class Recipe:
    """How a model is learnt.

    Attributes
    ----------
    name : str
    tasks : str
        Letters of the learning sources.
    shared : bool
        One network over all tasks (MTN) instead of one for each (STN).
    one_branch : bool
        One network of one branch, taught by all sources at once
        (`training.pretrained.distillation`).
    opinion : float
        How much of a genre's target is what the teachers say of the track
        (`training.pretrained.soft_labels`).
    foundation : Schedule, optional
        Of the network that one branch goes on from (`training.pretrained.pretrain`).
    rehearsed : bool
        The foundation's music goes on teaching what the teachers hear in it, so that it is not
        forgotten, and what genre they take it for.
    direct : float, optional
        Regularisation of the direct path beside the transfer MLP
        (`training.pretrained.linear_head`).
    share : float
        How much of what is said the direct path says; the transfer MLP has the rest.
    balanced : float
        How far all regressions make up for some genres being rarer than others (`DirectPath`).
    whitened : float
        How far the teachers' features are whitened within artists for their opinion
        (`training.pretrained.wccn`).
    weighted : bool
        Tracks of several main genres teach the genre, too, by their weights.
    variants : int
        Of each track that teaches, changed as in `training.augment`.
    variation : Variation
        Of the segments that teach.
    width : float
    frames_pooled : int
        Of the networks, see `agf_core.train.networks.MultiTaskNet`.
    input : InputSpec
    networks, transfer : Schedule
        Of the networks and of the transfer MLP.
    """

    name: str
    tasks: str = "g"
    shared: bool = True
    one_branch: bool = False
    opinion: float = 0.0
    foundation: TrainConfig | None = None
    rehearsed: bool = False
    direct: float | None = None
    share: float = 0.5
    balanced: float = 0.0
    whitened: float = 0.0
    weighted: bool = False
    variants: int = 0
    variation: SpectrogramAugmentation = field(default_factory=SpectrogramAugmentation)
    width: float = 1.0
    frames_pooled: int = 1
    input: InputSpec = field(default_factory=InputSpec)
    networks: TrainConfig = field(default_factory=TrainConfig)
    transfer: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=50))

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON can hold it."""
        schedules = {name: getattr(self, name) for name in ("networks", "transfer", "foundation")}
        return asdict(self) | {name: s and s.to_dict() for name, s in schedules.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        """Read what `to_dict` made; an unknown or missing key is a `ValueError`."""
        for kind, given in (
            (cls, values),
            (TrainConfig, values.get("networks", {})),
            (TrainConfig, values.get("transfer", {})),
            (TrainConfig, values.get("foundation") or asdict(TrainConfig())),
            (SpectrogramAugmentation, values.get("variation", {})),
        ):
            odd = (given.keys() ^ {f.name for f in fields(kind)}) - (LATER.keys() - given.keys())
            if odd:
                raise ValueError(f"missing or unknown in the recipe: {', '.join(sorted(odd))}")
        return cls(
            **values
            | {
                "input": InputSpec.from_dict(values["input"]),
                "networks": TrainConfig(**values["networks"]),
                "transfer": TrainConfig(**values["transfer"]),
                "foundation": TrainConfig(**values["foundation"]) if values["foundation"] else None,
                "variation": SpectrogramAugmentation(**values["variation"]),
            }
        )


def seeded(recipe: Recipe, seed: int) -> Recipe:
    """Return the recipe with another seed."""
    return replace(
        recipe,
        networks=replace(recipe.networks, seed=seed),
        transfer=replace(recipe.transfer, seed=seed),
        foundation=recipe.foundation and replace(recipe.foundation, seed=seed),
    )


PAPER = Recipe(
    "paper",
    networks=TrainConfig(bfloat16=True, validate_every=50, l2_on_weights=True),
    transfer=TrainConfig(epochs=50, every_window=True, l2_on_weights=True),
)
"""The paper's numbers, for the genre task alone. Half precision is ours: it learns the same."""

HEARD = InputSpec(fmax=8_000.0, window_hop=constants.SEGMENT_FRAMES)
"""What models that learn from the development corpora hear.

The mel range ends at 8 kHz, because the corpora's clips are cut at different bandwidths and a model
that hears above that learns which corpus a clip is from. Windows do not overlap, which takes half
the time and scored the same.
"""

THREE_SECONDS = 129  # frames: what musicnn hears at once

_LEARNING = TrainConfig(
    epochs=4,
    batch_size=64,
    learning_rate=2e-3,
    muon=0.03,
    weight_decay=0.0,
    bfloat16=True,
    validate_every=1,
    one_cycle=True,
)

OURS = Recipe(
    "ours",
    tasks="gst",
    one_branch=True,
    opinion=0.5,
    rehearsed=True,
    direct=0.01,
    balanced=0.25,
    whitened=0.5,
    weighted=True,
    variants=3,
    frames_pooled=2,
    variation=SpectrogramAugmentation(loudness=4.0, equaliser=2.5),
    input=replace(
        HEARD,
        n_mels=64,
        segment_frames=THREE_SECONDS,
        window_hop=THREE_SECONDS,
        excerpt_pieces=5,  # of two segments
    ),
    foundation=replace(_LEARNING, epochs=12),
    networks=_LEARNING,
)
"""What ships: one branch, taught by genres, by groups made of genre labels and by two teachers.

They have heard every track in three changed forms, too, and music without genres all the way.

``docs/results/experiment-log.md`` says how it came to be.
"""

COMPARED = replace(
    PAPER,
    name="compared",
    input=HEARD,
    networks=replace(PAPER.networks, epochs=50, validate_every=10),
)
"""The paper's cases on the development corpora, whose clips end at different bandwidths."""

RECIPES = {recipe.name: recipe for recipe in (PAPER, OURS)}
