"""Muon for the hidden weights of a network, those of convolutions too (Jordan et al., 2024).

PyTorch has Muon, but for matrices alone, and in bfloat16 alone: on a processor that has to emulate
that, a step took five times as long.
"""

from collections.abc import Iterable
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from agf_core.train.amp import has_bfloat16

MOMENTUM = 0.95
QUINTIC_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # as Jordan et al. found them
ORTHOGONALISATION_STEPS = 5


class HiddenWeights(torch.optim.Optimizer):
    """Muon, as `torch.optim.Muon` without weight decay.

    A step makes the update of each weight orthogonal, so that it is equally large in all
    directions; in distillation a network trains as well in half the steps of Adam.

    Parameters
    ----------
    weights : iterable of nn.Parameter [shape=(outputs, ...)]
        Each is treated as a matrix with a row for every output.
    lr : float or Tensor
        Learning rate; in a CUDA graph it has to be a tensor.
    """

    def __init__(self, weights: Iterable[nn.Parameter], lr: float | Tensor) -> None:
        super().__init__(weights, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update the weights by their gradients."""
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(weight)
                momentum = state["momentum_buffer"]
                momentum.lerp_(weight.grad, 1 - MOMENTUM)
                update = weight.grad.lerp(momentum, MOMENTUM)  # Nesterov's
                matrix = _matrix(weight, weight)
                step = orthogonal(_matrix(update, weight)).to(weight.dtype)
                size = sqrt(max(1.0, matrix.shape[0] / matrix.shape[1]))
                matrix.sub_(step * (size * group["lr"]))


def orthogonal(matrix: Tensor) -> Tensor:
    """Approximate the nearest matrix of orthonormal rows or columns, by Newton-Schulz steps.

    Singular values of the result are about 0.7 to 1.2, which is good enough for training.
    """
    first, third, fifth = QUINTIC_COEFFICIENTS
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    found = wide.bfloat16() if has_bfloat16(matrix.device) else wide.float()
    found = found / found.norm().clamp(min=1e-7)
    for _ in range(ORTHOGONALISATION_STEPS):
        gram = found @ found.T
        found = torch.addmm(
            found, torch.addmm(gram, gram, gram, beta=third, alpha=fifth), found, beta=first
        )
    return found if wide is matrix else found.T


def _matrix(weight: Tensor, like: Tensor) -> Tensor:
    """Return a view of a weight with a row per output, for the memory layout of `like`."""
    if like.is_contiguous():
        return weight.flatten(1)
    return weight.permute(0, 2, 3, 1).flatten(1)  # channels last
