"""From an embedding by way of the teachers' classes to genres: the head of the pretrained model.

The network predicts classes that its teachers were trained on with far more music (tags of the
Million Song Dataset, classes of AudioSet). A table maps them to genres and styles; only a weight
per teacher and a bias per genre are fitted to labels (`training.pretrained.genre_head`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agf_core.train.networks import TaskModel, TransferMLP

EVIDENCE_FLOOR = 0.01  # added to probabilities, whose logarithm is then finite
UNKNOWN_LOG_PROBABILITY = -3.0  # of a genre that the base model lacks


@dataclass(frozen=True)
class HeadSizes:
    """What the tensors of a `ClassHead` are made for.

    Attributes
    ----------
    classes : int
        Classes of all teachers.
    teachers : int
    genres, styles : int
    terms : int
        Alternatives of the style that has most.
    """

    classes: int
    teachers: int
    genres: int
    styles: int
    terms: int

    LARGEST = 10_000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if type(value) is not int or not 1 <= value <= self.LARGEST:
                raise ValueError(f"{name} is {value!r}")


class ClassHead(TaskModel):
    """Embedding to genre logits and style probabilities, by way of classes.

    (batch, n_features) -> (batch, n_genres)

    A genre's evidence from a teacher is the logarithm of the sum of the probabilities of its
    classes; the logits are the evidence of all teachers, each times its weight, and the genre's
    bias. They are scaled by how surely the window is music, so that speech and noise have no genre.

    Parameters
    ----------
    n_features : int
    sizes : HeadSizes
    """

    averages_logits = True
    table: Tensor
    teacher_weights: Tensor
    genre_bias: Tensor
    music_weights: Tensor
    music_bias: Tensor
    terms: Tensor

    def __init__(self, n_features: int, sizes: HeadSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.classes = nn.Linear(n_features, sizes.classes)
        # 1 where a class is evidence for a genre, else 0, (classes, teachers * genres).
        self.register_buffer("table", torch.zeros(sizes.classes, sizes.teachers * sizes.genres))
        self.register_buffer("teacher_weights", torch.ones(sizes.teachers))
        self.register_buffer("genre_bias", torch.zeros(sizes.genres))
        # How surely a window is music: a logistic regression upon a few class logits.
        self.register_buffer("music_weights", torch.zeros(sizes.classes, 1))
        self.register_buffer("music_bias", torch.full((1,), 10.0))
        # Styles: the largest of the terms, each the smaller one of two classes.
        self.register_buffer(
            "terms", torch.zeros(sizes.styles * sizes.terms * 2, dtype=torch.int32)
        )

    def task_parameters(self, task: str) -> Iterable[nn.Parameter]:
        """Return what training changes: the layer that predicts the classes."""
        return self.classes.parameters()

    def music(self, logits: Tensor) -> Tensor:
        """Return how surely each window is music, (batch, 1), from class logits."""
        return torch.sigmoid(logits @ self.music_weights + self.music_bias)

    def genres(self, logits: Tensor) -> Tensor:
        """Return genre logits, (batch, genres), from class logits (batch, classes)."""
        evidence = torch.log(torch.sigmoid(logits) @ self.table + EVIDENCE_FLOOR)
        evidence = evidence.view(-1, self.sizes.teachers, self.sizes.genres)
        weighted = (evidence * self.teacher_weights[:, None]).sum(dim=1)
        return (weighted + self.genre_bias) * self.music(logits)

    def styles(self, logits: Tensor) -> Tensor:
        """Return the probability of each style, (batch, styles), from class logits."""
        of_terms = torch.sigmoid(logits).index_select(1, self.terms.long())
        shape = (-1, self.sizes.styles, self.sizes.terms, 2)
        return of_terms.view(*shape).amin(dim=3).amax(dim=2)

    def forward(self, x: Tensor, task: str = "g") -> Tensor:
        """Return genre logits."""
        return self.genres(self.classes(x))

    def architecture(self) -> dict[str, Any]:
        """Return what `head_of` needs to build it again, as JSON can hold it."""
        return {"head": "classes", "sizes": dict(vars(self.sizes))}


class CorrectedHead(TaskModel):
    """A `ClassHead` mapped to the genres of another collection, and a trained correction.

    (batch, n_features) -> (batch, n_genres)

    Parameters
    ----------
    n_features : int
        Of the networks; the first of them are those of `base`.
    base : ClassHead
        Stays as it is.
    rows : sequence of int
        For each new genre, its place among those of `base`; -1 where there is none.
    """

    averages_logits = True

    def __init__(self, n_features: int, base: ClassHead, rows: Sequence[int]) -> None:
        super().__init__()
        if not all(type(row) is int and -1 <= row < base.sizes.genres for row in rows):
            raise ValueError(f"rows are {rows!r}")
        self.base = base.requires_grad_(requires_grad=False)
        self.rows = list(rows)
        self.correction = TransferMLP(n_features, len(rows), direct=True)
        for layer in (self.correction.layers[-1], self.correction.direct):
            nn.init.zeros_(cast(nn.Linear, layer).weight)
            nn.init.zeros_(cast(nn.Linear, layer).bias)

    def task_parameters(self, task: str) -> Iterable[nn.Parameter]:
        """Return those of the correction."""
        return self.correction.parameters()

    def forward(self, x: Tensor, task: str = "g") -> Tensor:
        """Return genre logits."""
        known = F.log_softmax(self.base(x[:, : self.base.classes.in_features]), dim=1)
        padded = torch.cat([known, torch.full_like(known[:, :1], UNKNOWN_LOG_PROBABILITY)], dim=1)
        place = [row if row >= 0 else self.base.sizes.genres for row in self.rows]
        return padded[:, place] + cast(Tensor, self.correction(x))

    def architecture(self) -> dict[str, Any]:
        """Return what `head_of` needs to build it again, as JSON can hold it."""
        return self.base.architecture() | {
            "head": "corrected",
            "rows": self.rows,
            "base_features": self.base.classes.in_features,
        }


Head = TransferMLP | ClassHead | CorrectedHead


def head_of(architecture: dict[str, Any], n_features: int, n_genres: int) -> Head:
    """Build the head that a model's architecture describes, with random weights.

    Raises
    ------
    KeyError, TypeError, ValueError
        When it describes none.
    """
    kind = architecture.get("head", "mlp")  # absent from older models
    if kind == "mlp":
        return TransferMLP(n_features, n_genres, direct=architecture.get("direct") is True)
    n_base = architecture.get("base_features", n_features)
    base = ClassHead(n_base, HeadSizes(**architecture["sizes"]))
    if kind == "classes" and base.sizes.genres == n_genres:
        return base
    if kind == "corrected" and len(architecture["rows"]) == n_genres:
        return CorrectedHead(n_features, base, architecture["rows"])
    raise ValueError(f"the head is {kind!r}")
