"""A step of training: a batch, its loss, and an update of the weights."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from agf_core.train.amp import has_bfloat16
from agf_core.train.config import TrainConfig
from agf_core.train.dataset import TrackDataset
from agf_core.train.muon import HiddenWeights
from agf_core.train.networks import TaskModel

STEPS_BEFORE_CAPTURE = 3


class Step:
    """A step of training for one task.

    On a GPU, steps of full batches are captured once as a graph and replayed: launching their
    kernels one by one takes longer than computing them. The result is the same.

    Parameters
    ----------
    targets : Tensor [shape=(n_tracks, n_classes)]
    batch_size : int
        Tracks of a full batch.
    """

    def __init__(
        self,
        model: TaskModel,
        task: str,
        data: TrackDataset,
        targets: Tensor,
        optimisers: Sequence[torch.optim.Optimizer],
        *,
        batch_size: int,
        bfloat16: bool,
    ) -> None:
        self.model, self.task, self.data, self.targets = model, task, data, targets
        self.optimisers, self.bfloat16 = optimisers, bfloat16
        self.rates = [float(optimiser.defaults["lr"]) for optimiser in optimisers]
        self.device = data.device
        self.captures = self.device.type == "cuda" and model.capturable and not data.streamed
        self.left = STEPS_BEFORE_CAPTURE
        self.graph: torch.cuda.CUDAGraph | None = None
        if self.captures:
            self.starts, self.tracks = (
                torch.zeros(batch_size, dtype=torch.int64, device=self.device) for _ in range(2)
            )

    def __call__(self, starts: Tensor, tracks: Tensor) -> Tensor:
        """Train on the examples at `starts`, which are of `tracks`; return the loss."""
        if not self.captures:
            return self._learn(starts, tracks)
        # Streams and graphs are made on the current device: with several GPUs not always this one.
        with torch.cuda.device(self.device):
            return self._captured(starts, tracks)

    def scale_rates(self, factor: float) -> None:
        """Set the learning rates to their initial values times a factor."""
        for optimiser, rate in zip(self.optimisers, self.rates, strict=True):
            for group in optimiser.param_groups:
                if isinstance(group["lr"], Tensor):  # a graph reads this memory
                    group["lr"].fill_(factor * rate)
                else:
                    group["lr"] = factor * rate

    def _captured(self, starts: Tensor, tracks: Tensor) -> Tensor:
        if self.graph is None and self.left:
            self.left -= 1
            beside = torch.cuda.Stream()  # on which the first steps of a graph have to run
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                loss = self._learn(starts, tracks)
            torch.cuda.current_stream().wait_stream(beside)
            return loss
        if len(tracks) != len(self.tracks):
            return self._learn(starts, tracks)
        if self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            for optimiser in self.optimisers:
                optimiser.zero_grad(set_to_none=True)
            with torch.cuda.graph(self.graph):  # recorded, not executed
                self.loss = self._learn(self.starts, self.tracks)
        self.starts.copy_(starts)
        self.tracks.copy_(tracks)
        self.graph.replay()
        return self.loss

    def _learn(self, starts: Tensor, tracks: Tensor) -> Tensor:
        x, y = self.data.augmented(starts), self.targets[tracks]
        with autocast(self.device, self.bfloat16):
            loss = self.model.loss(x, y, self.task)
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for optimiser in self.optimisers:
            optimiser.step()
        return loss.detach()


def optimisers_of(
    model: TaskModel, task: str, config: TrainConfig, device: torch.device
) -> dict[str, torch.optim.Optimizer]:
    """Return the optimisers of a task by their name in checkpoints, empty for Adam."""
    hidden = model.hidden_weights(task) if config.muon else []
    taken = {id(weight) for weight in hidden}
    in_graph = device.type == "cuda"

    def rate(value: float) -> float | Tensor:
        return torch.tensor(value, device=device) if in_graph else value

    adam = torch.optim.Adam(
        _decayed(model, task, config, taken),
        lr=rate(config.learning_rate),
        capturable=in_graph,
    )
    if not hidden:
        return {"": adam}
    return {"": adam, "muon ": HiddenWeights(hidden, rate(config.muon))}


def _decayed(
    model: TaskModel, task: str, config: TrainConfig, taken: set[int]
) -> list[dict[str, Any]]:
    """Return the parameters that Adam updates, grouped by their L2 penalty."""
    mine = [p for p in model.task_parameters(task) if id(p) not in taken]
    if not config.l2_on_weights:
        return [{"params": mine, "weight_decay": config.weight_decay}]
    weights = {id(weight) for weight in model.weights(task)}
    return [
        {"params": [p for p in mine if (id(p) in weights) == penalised], "weight_decay": decay}
        for penalised, decay in ((True, 2 * config.weight_decay), (False, 0.0))
    ]


def autocast(device: torch.device, bfloat16: bool) -> torch.autocast:
    """Return a context that computes in bfloat16, if that is wanted and supported."""
    wanted = bfloat16 and has_bfloat16(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)
