"""One network that learns from several sources at once, of which the genre's branch is kept.

The paper gives every source a branch of its own, and hears all of them when it predicts. Here the
sources share the one branch up to its transfer feature, on which each has a head; they teach from
the same batches, and only the genre's head remains: a network no larger than that of the genre
alone, which has learnt what the others have to say.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agf_core.features.spectrogram import InputSpec
from agf_core.train.config import TrainConfig
from agf_core.train.dataset import SegmentDataset
from agf_core.train.loop import fit
from agf_core.train.networks import MultiTaskNet, TaskModel, channels_last
from training.teachers.features import STRETCH_SECONDS, TASK, Scale

PIECES = 10  # of each track in an epoch, so that long ones count no more than others
SLACK_SECONDS = 0.5  # by which a segment may begin before or end behind what the teachers heard


class DistilledNet(TaskModel):
    """A genre network with further heads on its transfer feature.

    Parameters
    ----------
    targets : mapping
        How many numbers the target of each source has, by its letter; g first.
    width : float
    frames_pooled : int
        See `MultiTaskNet`.
    teachers : sequence of int, optional
        How many of the numbers of t each teacher has; all of them are one's by default.
    """

    def __init__(
        self,
        targets: Mapping[str, int],
        width: float = 1.0,
        frames_pooled: int = 1,
        teachers: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.targets = dict(targets)
        self.teachers = list(teachers or [targets.get(TASK, 0)])
        self.network = MultiTaskNet({"g": self.targets["g"]}, width, frames_pooled)
        # Dropout between convolutions would take an eighth of the time, and there is enough that
        # keeps a network with teachers from learning by heart.
        for part in (self.network.trunk, self.network.branch("g").convolutions):
            for layer in part.modules():
                if isinstance(layer, nn.Dropout):
                    layer.p = 0.0
        n_features = self.network.n_features
        self.heads = nn.ModuleDict(
            {
                source: nn.Linear(n_features, n)
                if source == TASK
                else nn.Sequential(nn.Dropout(0.5), nn.Linear(n_features, n))
                for source, n in self.targets.items()
                if source != "g"
            }
        )

    def go_on_from(self, other: "DistilledNet") -> None:
        """Take over all that another has learnt but how to tell genres and groups."""
        mine, theirs = self.state_dict(), other.state_dict()
        told = (f"heads.{TASK}.", "network.trunk.", "network.branches.g.")
        head = "network.branches.g.head."
        for name, tensor in theirs.items():
            if name.startswith(told) and not name.startswith(head):
                mine[name].copy_(tensor)

    def task_parameters(self, task: str) -> Iterable[nn.Parameter]:
        """Return all parameters: every step is for all sources."""
        return self.parameters()

    def hidden_weights(self, task: str) -> list[nn.Parameter]:
        """Return those of the branch."""
        return self.network.hidden_weights("g")

    def forward(self, x: Tensor, task: str) -> Tensor:
        """Return what every head says, side by side, (batch, sum of `targets`)."""
        features = self.network.features(x)
        said = [self.network.branch("g").head(features)]
        said += [cast(Tensor, head(features)) for head in self.heads.values()]
        return torch.cat(said, dim=1)

    def loss(self, x: Tensor, y: Tensor, task: str) -> Tensor:
        """Return the sum of all sources' and teachers' losses.

        Zeros are a track without a genre or groups.
        """
        sizes = list(self.targets.values())
        parts = zip(
            self.targets, self(x, task).float().split(sizes, 1), y.split(sizes, 1), strict=True
        )
        total = torch.zeros((), device=x.device)
        for source, said, wanted in parts:
            if source == TASK:  # a teacher of many features counts no more than another
                each = zip(
                    said.split(self.teachers, 1), wanted.split(self.teachers, 1), strict=True
                )
                total = total + torch.stack([F.mse_loss(*one) for one in each]).sum()
            else:
                told = wanted.any(dim=1).sum().clamp(min=1)
                total = total + F.cross_entropy(said, wanted, reduction="sum") / told
        return total


def cut(
    segments: SegmentDataset, spec: InputSpec, heard: Sequence[np.ndarray], tracks: Sequence[int]
) -> tuple[SegmentDataset, np.ndarray, np.ndarray]:
    """Cut tracks into pieces, one for each of `PIECES` stretches that the teachers heard of it.

    A piece is a little longer than what is drawn from it, and lies about the middle of its stretch.

    Parameters
    ----------
    heard : sequence of np.ndarray [shape=(n_stretches, n_features)]
        Of every track of `segments`.
    tracks : sequence of int
        Those to cut.

    Returns
    -------
    pieces : Segments
    tracks : np.ndarray [shape=(n_pieces,), dtype=int]
        Of which each is.
    told : np.ndarray [shape=(n_pieces, n_features)]
        What the teachers heard there.
    """
    owners = np.repeat(tracks, PIECES)
    stretches = np.concatenate([np.linspace(0, len(heard[i]) - 1, PIECES).round() for i in tracks])
    frames = spec.sample_rate / spec.hop_length  # a second
    length = segments.length + round(2 * SLACK_SECONDS * frames)
    rows = segments.counts[torch.from_numpy(owners)]
    middles = torch.from_numpy((stretches + 0.5) * STRETCH_SECONDS * frames)
    lengths = rows.clamp(max=length)
    firsts = (middles - lengths / 2).long().clamp(min=0).minimum(rows - lengths)
    pieces = segments.pieces(torch.from_numpy(owners), firsts, lengths)
    told = np.stack([heard[i][int(k)] for i, k in zip(owners, stretches, strict=True)])
    return pieces, owners, told


def train_distilled(
    segments: SegmentDataset,
    spec: InputSpec,
    targets: Mapping[str, np.ndarray],
    heard: Sequence[np.ndarray],
    scale: Scale,
    schedule: TrainConfig,
    *,
    train: np.ndarray,
    width: float = 1.0,
    frames_pooled: int = 1,
    teachers: Sequence[int] | None = None,
    begin: DistilledNet | None = None,
    checkpoint: Path | None = None,
) -> DistilledNet:
    """Train one branch by all sources.

    Parameters
    ----------
    spec : InputSpec
        Of `segments`.
    targets : mapping of np.ndarray [shape=(n_tracks, n)]
        Per source but the teachers, g first; rows of NaN where a track has no genre or groups.
    heard : sequence of np.ndarray [shape=(n_stretches, n_features)]
        What the teachers heard of every track.
    scale : Scale
    train : np.ndarray [dtype=int]
        Indices of the tracks to learn from.
    width, frames_pooled, teachers
        See `DistilledNet`.
    begin : OneBranchNet, optional
        What to go on from.
    checkpoint : Path, optional
        See `agf_core.train.loop.fit`.
    """
    name = "".join([*targets, TASK])
    torch.manual_seed(schedule.seed)
    pieces, owners, told = cut(segments, spec, heard, [int(i) for i in train])
    sizes = {source: rows.shape[1] for source, rows in targets.items()}
    model = DistilledNet(
        sizes | {TASK: told.shape[1]},
        width,
        frames_pooled,
        teachers,
    )
    if begin is not None:
        model.go_on_from(begin)
    model.to(segments.device)
    channels_last(model)
    rows = [np.nan_to_num(rows[owners]) for rows in targets.values()]
    fit(
        model,
        pieces,
        {name: np.concatenate([*rows, scale.apply(told)], axis=1)},
        schedule,
        train=np.arange(len(owners)),
        checkpoint=checkpoint,
        title=f"network {name}",
    )
    return cast(DistilledNet, model.eval())
