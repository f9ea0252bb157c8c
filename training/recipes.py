"""Recipes: everything that is chosen about a model, in one place."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from agf_core import constants
from agf_core.features.spectrogram import InputSpec
from agf_core.train.config import LATER, TrainConfig
from agf_core.train.dataset import SpectrogramAugmentation

RENAMED = {
    "one_branch": "distilled",
    "opinion": "soft_labels",
    "foundation": "pretraining",
    "rehearsed": "replay",
    "direct": "linear_head",
    "share": "linear_head_share",
    "balanced": "class_balance",
    "whitened": "wccn",
    "weighted": "weighted_genres",
    "variants": "augmented_copies",
    "variation": "augmentation",
}
"""Names of the fields of a recipe in models and runs of version 0.1, and their names now."""


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
    distilled : bool
        One network of one branch with a head for each task, teachers included
        (`training.pretrained.distillation`).
    soft_labels : float
        Share of the soft label, which the teachers' features predict, in a genre target
        (`training.pretrained.soft_labels`).
    pretraining : TrainConfig, optional
        Of the network that a distilled one starts from (`training.pretrained.pretrain`).
    replay : bool
        Keep the music of pre-training in the training set, with the teachers' features and soft
        labels as targets.
    linear_head : float, optional
        C of the logistic regression beside the transfer MLP (`training.pretrained.linear_head`).
    linear_head_share : float
        Weight of the linear head in the mean of the logits; the transfer MLP has the rest of 1.
    class_balance : float
        How far all logistic regressions give rare genres the weight of common ones
        (`LinearHead.fit`).
    wccn : float
        How far the teachers' features are whitened within artists before they predict soft labels
        (`training.pretrained.wccn`).
    weighted_genres : bool
        Tracks of several main genres are in the training set of the genre, by their weights.
    augmented_copies : int
        Of each training track, see `training.augment`.
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
    distilled: bool = False
    soft_labels: float = 0.0
    pretraining: TrainConfig | None = None
    replay: bool = False
    linear_head: float | None = None
    linear_head_share: float = 0.5
    class_balance: float = 0.0
    wccn: float = 0.0
    weighted_genres: bool = False
    augmented_copies: int = 0
    augmentation: SpectrogramAugmentation = field(default_factory=SpectrogramAugmentation)
    width: float = 1.0
    frames_pooled: int = 1
    input: InputSpec = field(default_factory=InputSpec)
    networks: TrainConfig = field(default_factory=TrainConfig)
    transfer: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=50))

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON can hold it."""
        schedules = {name: getattr(self, name) for name in ("networks", "transfer", "pretraining")}
        return asdict(self) | {name: s and s.to_dict() for name, s in schedules.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        """Read what `to_dict` made, in this version or before; `ValueError` for other keys."""
        values = with_present_names(values)
        for kind, given in (
            (cls, values),
            (TrainConfig, values.get("networks", {})),
            (TrainConfig, values.get("transfer", {})),
            (TrainConfig, values.get("pretraining") or asdict(TrainConfig())),
            (SpectrogramAugmentation, values.get("augmentation", {})),
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
                "pretraining": (schedule := values["pretraining"]) and TrainConfig(**schedule),
                "augmentation": SpectrogramAugmentation(**values["augmentation"]),
            }
        )


def with_present_names(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a recipe, as JSON has them, under the names they have now."""
    return {RENAMED.get(key, key): value for key, value in recipe.items()}


def seeded(recipe: Recipe, seed: int) -> Recipe:
    """Return the recipe with another seed."""
    return replace(
        recipe,
        networks=replace(recipe.networks, seed=seed),
        transfer=replace(recipe.transfer, seed=seed),
        pretraining=recipe.pretraining and replace(recipe.pretraining, seed=seed),
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

_DISTILLATION = TrainConfig(
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
    distilled=True,
    soft_labels=0.5,
    replay=True,
    linear_head=0.01,
    class_balance=0.25,
    wccn=0.5,
    weighted_genres=True,
    augmented_copies=3,
    frames_pooled=2,
    augmentation=SpectrogramAugmentation(loudness=4.0, equaliser=2.5),
    input=replace(
        DEVELOPMENT_INPUT,
        n_mels=64,
        segment_frames=THREE_SECONDS,
        window_hop=THREE_SECONDS,
        excerpt_pieces=5,  # of two segments
    ),
    pretraining=replace(_DISTILLATION, epochs=12),
    networks=_DISTILLATION,
)
"""The model that ships: one branch, distilled from genres, groups of genre labels and two teachers.

The training set has three augmented copies of every track, and music without genres is replayed
all the way. ``docs/results/experiment-log.md`` says how it came to be.
"""

COMPARED = replace(
    PAPER,
    name="compared",
    input=DEVELOPMENT_INPUT,
    networks=replace(PAPER.networks, epochs=50, validate_every=10),
)
"""The paper's cases on the development corpora, whose clips end at different bandwidths."""

RECIPES = {recipe.name: recipe for recipe in (PAPER, OURS)}
