"""One network that learns from several sources at once, of which the genre's branch is kept.

The paper gives every source a branch of its own, and hears all of them when it predicts. Here the
sources share the one branch up to its transfer feature, on which each has a head; they teach from
the same batches, and only the genre's head remains: a network no larger than that of the genre
alone, which has learnt what the others have to say.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agf_core.examples import Segments
from agf_core.learning import Schedule, fit
from agf_core.network import MultiTaskNet, TaskModel, channels_last

REGRESSED = "t"  # its targets are features; those of all other sources are distributions


class OneBranchNet(TaskModel):
    """A genre network with further heads on its transfer feature.

    Parameters
    ----------
    targets : mapping
        How many numbers the target of each source has, by its letter; g first.
    width : float
        See `MultiTaskNet`.
    """

    def __init__(self, targets: Mapping[str, int], width: float = 1.0) -> None:
        super().__init__()
        self.targets = dict(targets)
        self.network = MultiTaskNet({"g": self.targets["g"]}, width)
        n_features = self.network.n_features
        self.heads = nn.ModuleDict(
            {
                source: nn.Linear(n_features, n)
                if source == REGRESSED
                else nn.Sequential(nn.Dropout(0.5), nn.Linear(n_features, n))
                for source, n in self.targets.items()
                if source != "g"
            }
        )

    def task_parameters(self, task: str) -> Iterable[nn.Parameter]:
        """Return all parameters: every step is for all sources."""
        return self.parameters()

    def forward(self, x: Tensor, task: str) -> Tensor:
        """Return what every head says, side by side, (batch, sum of `targets`)."""
        features = self.network.features(x)
        said = [self.network.branch("g").head(features)]
        said += [cast(Tensor, head(features)) for head in self.heads.values()]
        return torch.cat(said, dim=1)

    def loss(self, x: Tensor, y: Tensor, task: str) -> Tensor:
        """Return the sum of the sources' losses; zeros are a track without a genre or groups."""
        sizes = list(self.targets.values())
        parts = zip(
            self.targets, self(x, task).float().split(sizes, 1), y.split(sizes, 1), strict=True
        )
        total = torch.zeros((), device=x.device)
        for source, said, wanted in parts:
            if source == REGRESSED:
                total = total + F.mse_loss(said, wanted)
            else:
                told = wanted.any(dim=1).sum().clamp(min=1)
                total = total + F.cross_entropy(said, wanted, reduction="sum") / told
        return total


def train_one_branch(
    segments: Segments,
    targets: Mapping[str, np.ndarray],
    schedule: Schedule,
    *,
    train: np.ndarray,
    width: float = 1.0,
    checkpoints: Path | None = None,
) -> MultiTaskNet:
    """Train one branch by all sources and return it as a network for the genre.

    Parameters
    ----------
    targets : mapping of np.ndarray [shape=(n_tracks, n)]
        Per source, g first; rows of NaN where a track has no genre or groups. The teacher must have
        heard every track.
    train : np.ndarray [dtype=int]
        Indices of the tracks to learn from.
    checkpoints : Path, optional
        Folder; see `agf_core.learning.fit`.
    """
    name = "".join(targets)
    torch.manual_seed(schedule.seed)
    model = OneBranchNet({source: rows.shape[1] for source, rows in targets.items()}, width)
    model.to(segments.device)
    channels_last(model)
    rows = np.concatenate([np.nan_to_num(rows) for rows in targets.values()], axis=1)
    fit(
        model,
        segments,
        {name: rows},
        schedule,
        train=train,
        checkpoint=checkpoints / f"one-branch-{name}.safetensors" if checkpoints else None,
        title=f"network {name}",
    )
    return model.network.eval()
