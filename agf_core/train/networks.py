"""The networks of the paper: a shared trunk, a branch per task, and the transfer MLP.

Table 2 and sections 3.2.1 to 3.2.3. Every input is (batch, 1, frames, mels), normalised.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agf_core import constants

TRUNK_CHANNELS = 16
BRANCH_CHANNELS = (32, 64, 64, 128, 256)
BRANCH_POOLS = 2**4  # frames, as many of which make one behind all of a branch's pooling


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))


def _convolution(
    inputs: int,
    outputs: int,
    size: int,
    *,
    norm: bool,
    pool: int | tuple[int, int] | None = None,
) -> list[nn.Module]:
    """'Same' convolution, batch normalisation (and then no bias), max-pooling, ELU.

    The paper pools after the ELU, with the same result, as an ELU is monotonic, at two to four
    times the cost.
    """
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, size, padding="same", bias=not norm)]
    if norm:
        layers.append(nn.BatchNorm2d(outputs))
    if pool is not None:
        layers.append(nn.MaxPool2d(pool))
    return [*layers, nn.ELU()]


class SharedTrunk(nn.Sequential):
    """The first convolutional block, which all tasks of an MTN share.

    (batch, 1, frames, mels) -> (batch, 16 * width, frames // frames_pooled, mels // 2)
    """

    def __init__(self, width: float = 1.0, frames_pooled: int = 1) -> None:
        channels = _scaled(TRUNK_CHANNELS, width)
        super().__init__(
            *_convolution(1, channels, 5, norm=False, pool=(frames_pooled, 2)),
            nn.Dropout(0.1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the input of the branches."""
        first, *rest = self
        # With one input channel the memory layout is ambiguous, and the wrong one costs half as
        # much again as the whole network.
        maps = first(x).contiguous(memory_format=torch.channels_last)
        for layer in rest:
            maps = layer(maps)
        return cast(Tensor, maps)


class TaskBranch(nn.Module):
    """The branch of a task: convolutions, global pooling, the transfer feature, the head.

    Parameters
    ----------
    n_classes : int
        Genres or artist groups.
    width : float
        Factor on the number of channels of every layer.
    """

    def __init__(self, n_classes: int, width: float = 1.0) -> None:
        super().__init__()
        trunk = _scaled(TRUNK_CHANNELS, width)
        a, b, c, d, e = (_scaled(channels, width) for channels in BRANCH_CHANNELS)
        self.n_classes = n_classes
        self.n_features = _scaled(constants.TRANSFER_WIDTH, width)
        # Sizes for 43 frames and 128 mels, trunk output 43 x 64 (table 2).
        self.convolutions = nn.Sequential(
            *_convolution(trunk, a, 3, norm=True, pool=2),  # 21 x 32
            nn.Dropout(0.1),
            *_convolution(a, b, 3, norm=False, pool=2),  # 10 x 16
            *_convolution(b, c, 3, norm=True, pool=2),  # 5 x 8
            nn.Dropout(0.1),
            *_convolution(c, d, 3, norm=False, pool=2),  # 2 x 4
            *_convolution(d, e, 3, norm=False),
            *_convolution(e, e, 1, norm=True),
        )
        self.pooled_norm = nn.BatchNorm1d(e)
        self.transfer = nn.Sequential(
            nn.Linear(e, self.n_features, bias=False), nn.BatchNorm1d(self.n_features), nn.ELU()
        )
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(self.n_features, n_classes))

    def features(self, trunk_output: Tensor) -> Tensor:
        """Return the transfer feature, (batch, 256 * width)."""
        maps = self.convolutions(trunk_output)  # (batch, channels, 2, 4)
        return cast(Tensor, self.transfer(self.pooled_norm(maps.mean(dim=(2, 3)))))

    def forward(self, trunk_output: Tensor) -> Tensor:
        """Return the task's logits, (batch, n_classes)."""
        return cast(Tensor, self.head(self.features(trunk_output)))


class TaskModel(nn.Module, ABC):
    """A model that can be trained task by task (see `agf_core.train.loop.fit`)."""

    capturable = True
    """Whether a step of training can be captured as a CUDA graph."""

    averages_logits = False
    """Whether logits are averaged over a track's windows, not probabilities as in the paper."""

    @abstractmethod
    def forward(self, x: Tensor, task: str) -> Tensor:
        """Return the logits of `task`, (batch, n_classes)."""

    @abstractmethod
    def task_parameters(self, task: str) -> Iterable[nn.Parameter]:
        """Return the parameters that a step for `task` updates."""

    def weights(self, task: str) -> list[nn.Parameter]:
        """Return those of `task_parameters` that are weights: no biases, no normalisation."""
        return [parameter for parameter in self.task_parameters(task) if parameter.dim() > 1]

    def hidden_weights(self, task: str) -> list[nn.Parameter]:
        """Return those of `task_parameters` that lie between first layers and heads."""
        return []

    def loss(self, x: Tensor, y: Tensor, task: str) -> Tensor:
        """Return the cross-entropy with soft targets `y`, (batch, n_classes): one number."""
        return F.cross_entropy(self(x, task).float(), y)

    def reseed(self, seed: int) -> None:
        """Set the seed of dropout."""
        torch.manual_seed(seed)


class MultiTaskNet(TaskModel):
    """One trunk and a branch per task; with one task, the paper's single-task network.

    Parameters
    ----------
    tasks : mapping
        Number of classes of each task, by its letter (g, m, d, e, s).
    width : float
        Factor on the number of channels of every layer; see `wide_multiplier`.
    frames_pooled : int
        Number of frames that the trunk pools into one, 1 in the paper; with 2 a network takes half
        the time.
    """

    def __init__(
        self, tasks: Mapping[str, int], width: float = 1.0, frames_pooled: int = 1
    ) -> None:
        super().__init__()
        if not tasks:
            raise ValueError("a network needs at least one task")
        self.trunk = SharedTrunk(width, frames_pooled)
        self.branches = nn.ModuleDict({task: TaskBranch(n, width) for task, n in tasks.items()})

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks' letters, in the order of their features."""
        return tuple(self.branches)

    @property
    def n_features(self) -> int:
        """Length of the concatenated transfer features."""
        return sum(self.branch(task).n_features for task in self.tasks)

    def branch(self, task: str) -> TaskBranch:
        """Return the branch of `task`."""
        return cast(TaskBranch, self.branches[task])

    def task_parameters(self, task: str) -> Iterable[nn.Parameter]:
        """Return the parameters that a step for `task` updates: trunk and branch."""
        return [*self.trunk.parameters(), *self.branch(task).parameters()]

    def hidden_weights(self, task: str) -> list[nn.Parameter]:
        """Return the weights of the branch's convolutions and of its transfer feature."""
        branch = self.branch(task)
        parameters = [*branch.convolutions.parameters(), *branch.transfer.parameters()]
        return [parameter for parameter in parameters if parameter.dim() > 1]

    def features(self, x: Tensor) -> Tensor:
        """Return the concatenated transfer features of all tasks, (batch, n_features)."""
        shared = self.trunk(x)
        return torch.cat([self.branch(task).features(shared) for task in self.tasks], dim=1)

    def forward(self, x: Tensor, task: str) -> Tensor:
        """Return the logits of `task`, (batch, n_classes)."""
        return cast(Tensor, self.branches[task](self.trunk(x)))


class TransferMLP(TaskModel):
    """Map transfer features to genre logits (section 3.2.3).

    (batch, n_features) -> (batch, n_genres)

    Parameters
    ----------
    n_features, n_genres : int
    direct : bool
        Add a linear head on the same features, which the MLP of the paper does not have. Logits are
        then averaged over the windows of a track.
    """

    def __init__(self, n_features: int, n_genres: int, direct: bool = False) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(n_features, constants.MLP_WIDTH),
            nn.ELU(),
            nn.Dropout(0.5),
            nn.Linear(constants.MLP_WIDTH, n_genres),
        )
        self.direct = nn.Linear(n_features, n_genres) if direct else None
        self.averages_logits = direct

    def task_parameters(self, task: str) -> Iterable[nn.Parameter]:
        """Return all parameters, as the genre task is the only one."""
        return self.parameters()

    def forward(self, x: Tensor, task: str = "g") -> Tensor:
        """Return genre logits."""
        logits = cast(Tensor, self.layers(x))
        return logits if self.direct is None else logits + self.direct(x)

    def architecture(self) -> dict[str, Any]:
        """Return what is needed to build it again, as JSON can hold it."""
        return {"direct": self.direct is not None}


class GenreNet(nn.Module):
    """The network of a model: one or more trained networks and the MLP on their features.

    (batch, 1, frames, mels) -> genre logits, (batch, n_genres)
    """

    def __init__(self, networks: Iterable[MultiTaskNet], mlp: Any) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.mlp = mlp  # TransferMLP, or a head of `agf_core.train.class_head`

    @property
    def tasks(self) -> list[list[str]]:
        """The tasks of each network."""
        return [list(cast(MultiTaskNet, network).tasks) for network in self.networks]

    @property
    def n_classes(self) -> dict[str, int]:
        """Number of classes of each task."""
        return {
            task: cast(MultiTaskNet, network).branch(task).n_classes
            for network, tasks in zip(self.networks, self.tasks, strict=True)
            for task in tasks
        }

    def features(self, x: Tensor) -> Tensor:
        """Return the concatenated transfer features of all networks."""
        return torch.cat(
            [cast(MultiTaskNet, network).features(x) for network in self.networks], dim=1
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return genre logits."""
        return cast(Tensor, self.mlp(self.features(x)))


def channels_last(module: nn.Module) -> None:
    """Change the memory layout of convolution weights to channels last, faster on new CPUs."""
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def count_parameters(module: nn.Module) -> int:
    """Return the number of parameters of `module`."""
    return sum(p.numel() for p in module.parameters())
