"""Muon for the hidden weights of a network, those of convolutions too.

Imported only where it is wanted: older releases of PyTorch have no Muon.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class HiddenWeights(torch.optim.Muon):
    """`torch.optim.Muon` (Jordan et al., 2024), which by itself takes matrices alone.

    A step makes the update of each weight orthogonal, so that it teaches all directions alike; with
    a teacher's many features a network learns as much in half the steps of Adam's.

    Parameters
    ----------
    weights : iterable of nn.Parameter [shape=(outputs, ...)]
        Each is taken as a matrix with a row for every output.
    lr : float
        Learning rate.
    """

    def __init__(self, weights: Iterable[nn.Parameter], lr: float) -> None:
        self.weights = list(weights)
        matrices = [nn.Parameter(_matrix(weight.detach())) for weight in self.weights]
        super().__init__(matrices, lr=lr, weight_decay=0.0, adjust_lr_fn="original")

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Learn from the weights' gradients."""
        for weight, matrix in zip(self.weights, self.param_groups[0]["params"], strict=True):
            assert weight.grad is not None
            matrix.grad = _matrix(weight.grad, like=weight)
        return super().step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the weights' gradients."""
        for weight in self.weights:
            weight.grad = None


def _matrix(weight: Tensor, like: Tensor | None = None) -> Tensor:
    """Return rows of outputs; of a weight they share its memory, however it lies there."""
    if (weight if like is None else like).is_contiguous():
        return weight.flatten(1)
    return weight.permute(0, 2, 3, 1).flatten(1)  # channels last
