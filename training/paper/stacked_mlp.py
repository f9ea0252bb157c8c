"""Several transfer MLPs trained side by side as one stack."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agf_core import constants
from agf_core.train.config import TrainConfig
from agf_core.train.dataset import FeatureDataset
from agf_core.train.loop import Watch, fit, ignore_progress
from agf_core.train.networks import TaskModel, TransferMLP


class TransferStack(TaskModel):
    """Transfer MLPs that train side by side, in products of matrices for all of them at once.

    (batch, n_features) -> (n_members, batch, n_genres)

    Each member has random numbers of its own, and ends as it would alone: on a CPU the very same
    but for rounding.

    Parameters
    ----------
    members : sequence of TransferMLP
        As initialised.
    columns : sequence of Tensor [dtype=int64]
        Which of all features each member gets.
    n_features : int
        Of the input.
    """

    capturable = False  # a graph would have to know of every member's generator

    def __init__(
        self, members: Sequence[TransferMLP], columns: Sequence[Tensor], n_features: int
    ) -> None:
        super().__init__()
        layers = [self._layers(mlp) for mlp in members]
        device = layers[0][0].weight.device
        self.columns = [mine.to(device) for mine in columns]
        hidden = torch.zeros(len(members), n_features, constants.MLP_WIDTH, device=device)
        for weights, mine, (first, _) in zip(hidden, self.columns, layers, strict=True):
            weights[mine] = first.weight.detach().T
        # What a member does not get has no weight; no gradient and no decay ever gives it one.
        self.hidden = nn.Parameter(hidden)
        self.hidden_bias = nn.Parameter(torch.stack([a.bias.detach() for a, _ in layers])[:, None])
        self.out = nn.Parameter(torch.stack([b.weight.detach().T for _, b in layers]))
        self.out_bias = nn.Parameter(torch.stack([b.bias.detach() for _, b in layers])[:, None])
        used = torch.zeros(len(members), 1, n_features, device=device)
        for one, mine in zip(used, self.columns, strict=True):
            one[:, mine] = 1
        self.register_buffer("used", used, persistent=False)
        self.generators = [torch.Generator(device) for _ in members]

    @staticmethod
    def _layers(mlp: TransferMLP) -> tuple[nn.Linear, nn.Linear]:
        return cast(nn.Linear, mlp.layers[1]), cast(nn.Linear, mlp.layers[4])

    def task_parameters(self, task: str) -> Iterable[nn.Parameter]:
        """Return all parameters."""
        return self.parameters()

    def weights(self, task: str) -> list[nn.Parameter]:
        """Return the weights; biases have as many dimensions here."""
        return [self.hidden, self.out]

    def reseed(self, seed: int) -> None:
        """Begin the random numbers of every member anew."""
        super().reseed(seed)
        for generator in self.generators:
            generator.manual_seed(seed)

    def forward(self, x: Tensor, task: str = "g") -> Tensor:
        """Return every member's genre logits."""
        kept = cast(Tensor, self.used).expand(-1, len(x), -1)
        if self.training:
            kept = kept.clone()
            for one, mine, generator in zip(kept, self.columns, self.generators, strict=True):
                one[:, mine] = self._kept((len(x), len(mine)), generator)
        hidden = F.elu(torch.baddbmm(self.hidden_bias, x * kept, self.hidden))
        if self.training:
            shape = hidden.shape[1:]
            hidden = hidden * torch.stack([self._kept(shape, g) for g in self.generators])
        return torch.baddbmm(self.out_bias, hidden, self.out)

    def _kept(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Draw what a dropout of one half leaves: 2 or 0."""
        empty = torch.empty(tuple(shape), device=self.hidden.device)
        return 2 * empty.bernoulli_(0.5, generator=generator)

    def loss(self, x: Tensor, y: Tensor, task: str) -> Tensor:
        """Return the sum of the members' losses, so that each has the gradient it has alone."""
        logits = self(x, task)
        each = y.expand(len(logits), -1, -1).flatten(0, 1)
        return F.cross_entropy(logits.flatten(0, 1), each, reduction="sum") / len(y)

    def members(self) -> list[TransferMLP]:
        """Return the MLPs as they are now."""
        result = []
        for i, mine in enumerate(self.columns):
            mlp = TransferMLP(len(mine), self.out.shape[2]).to(self.hidden.device)
            first, second = self._layers(mlp)
            with torch.no_grad():
                first.weight.copy_(self.hidden[i, mine].T)
                first.bias.copy_(self.hidden_bias[i, 0])
                second.weight.copy_(self.out[i].T)
                second.bias.copy_(self.out_bias[i, 0])
            result.append(mlp.eval())
        return result


def train_transfers(
    features: FeatureDataset,
    columns: Sequence[np.ndarray],
    targets: np.ndarray,
    schedule: TrainConfig,
    *,
    train: np.ndarray,
    checkpoint: Path | None = None,
    progress: bool = True,
    watch: Watch = ignore_progress,
) -> tuple[list[TransferMLP], list[dict[str, Any]]]:
    """Train several transfer MLPs side by side; each ends as it would alone.

    Parameters
    ----------
    features : Features
        Of all networks, side by side.
    columns : sequence of np.ndarray [dtype=int]
        Which of them each MLP gets.

    Returns
    -------
    mlps : list of TransferMLP
    history : list of dict
        As of `fit`; the loss is the mean over the MLPs.
    """
    members = []
    for mine in columns:
        torch.manual_seed(schedule.seed)
        members.append(TransferMLP(len(mine), targets.shape[1]).to(features.device))
    stack = TransferStack(members, [torch.from_numpy(c) for c in columns], features.n_features)
    history = fit(
        stack,
        features,
        {"g": targets},
        replace(schedule, bfloat16=False),
        train=train,
        checkpoint=checkpoint,
        title=f"{len(members)} transfer MLPs",
        progress=progress,
        watch=watch,
    )
    return stack.members(), [entry | {"loss": entry["loss"] / len(members)} for entry in history]
