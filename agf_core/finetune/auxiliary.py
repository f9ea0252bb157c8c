"""Artist groups as auxiliary tasks of fine-tuning: predicted in training alone.

The paper gives each task a branch, whose features stay in the model. Here the groups are predicted
from the genre's own transfer feature, so that their gradients shape all of its layers. Their heads
are dropped after training: the model is as large and as fast as without them.
"""

from collections.abc import Iterable, Sequence
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from agf_core.train.networks import MultiTaskNet, TaskModel


class WithGroupHeads(TaskModel):
    """A network whose branches predict artist groups, too, while it is trained.

    Parameters
    ----------
    network : MultiTaskNet
        Trained in place.
    task : str
        The task whose branch has the heads.
    sizes : sequence of int
        Number of groups of each auxiliary task.
    share : float
        Weight of the groups' mean cross-entropy, beside that of the task.
    """

    def __init__(
        self, network: MultiTaskNet, task: str, sizes: Sequence[int], share: float
    ) -> None:
        super().__init__()
        self.network, self.sizes, self.share = network, list(sizes), share
        n_features = network.branch(task).n_features
        self.heads = nn.Sequential(nn.Dropout(0.5), nn.Linear(n_features, sum(sizes)))

    def task_parameters(self, task: str) -> Iterable[nn.Parameter]:
        """Return those of the network, and those of the heads."""
        return [*self.network.task_parameters(task), *self.heads.parameters()]

    def forward(self, x: Tensor, task: str) -> Tensor:
        """Return the logits of the network's own task, (batch, n_classes)."""
        return cast(Tensor, self.network(x, task))

    def loss(self, x: Tensor, y: Tensor, task: str) -> Tensor:
        """Return the cross-entropy of the task, and a share of that of the groups.

        Parameters
        ----------
        y : Tensor [shape=(batch, n_classes + sum(sizes))]
            Soft targets, those of each auxiliary task behind those of `task`. Where a track has
            none of some task, zeros, so that it has no loss there.
        """
        branch = self.network.branch(task)
        features = branch.features(self.network.trunk(x))
        own, *wanted = y.split([branch.n_classes, *self.sizes], dim=1)
        logits = self.heads(features).float().split(self.sizes, dim=1)
        groups = sum(F.cross_entropy(*pair) for pair in zip(logits, wanted, strict=True))
        loss = F.cross_entropy(branch.head(features).float(), own)
        return loss + self.share / len(self.sizes) * groups
