"""How long and how to train."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

LATER = {"every_window": False, "l2_on_weights": False}  # fields added since, as it was before


@dataclass(frozen=True)
class TrainConfig:
    """How long and how to train.

    Attributes
    ----------
    epochs : int
        Of each task: a network of N tasks sees N times as many, each with a task drawn at random.
    batch_size : int
        Tracks.
    learning_rate : float
        Of Adam.
    weight_decay : float
        Factor of an L2 penalty.
    l2_on_weights : bool
        Put the penalty ``weight_decay * sum(w ** 2)`` on weights alone, as the paper's code does:
        no bias and no normalisation has one. Otherwise all parameters have half of it, as Adam's
        own option has it.
    every_window : bool
        Show every window of a track in each epoch, instead of one example drawn at random.
    seed : int
        Of initial weights, order, segments and dropout.
    bfloat16 : bool
        Compute in bfloat16 where autocast does, on processors that have it; others would take
        several times as long as in float32, and compute in that.
    validate_every : int
        Epochs between two validations.
    one_cycle : bool
        Let the learning rate rise for a tenth of the steps, then fall to nothing as a cosine does
        (Smith and Topin, 2018).
    muon : float
        Learning rate of Muon (`agf_core.train.muon`), which teaches the weights that `model` calls
        hidden; Adam teaches the others, and at 0 all.
    """

    epochs: int = 200
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    seed: int = 0
    bfloat16: bool = False
    validate_every: int = 10
    one_cycle: bool = False
    muon: float = 0.0
    every_window: bool = False
    l2_on_weights: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them.

        Those added later are left out where they change nothing, so that what was made before they
        were there compares equal.
        """
        return {k: v for k, v in asdict(self).items() if (k, v) not in LATER.items()}

    def share(self, done: float) -> float:
        """Return how much of the learning rates counts when `done` of all epochs lie behind.

        Parameters
        ----------
        done : float
            0 to 1.
        """
        if not self.one_cycle:
            return 1.0
        rising = min(1.0, 0.04 + done / 0.1)
        falling = 0.5 + 0.5 * np.cos(np.pi * max(0.0, done - 0.1) / 0.9)
        return float(rising * falling)
