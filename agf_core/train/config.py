"""Settings of training."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

LATER_FIELDS = {
    "every_window": False,
    "l2_on_weights": False,
}  # fields added later, with their former behaviour


@dataclass(frozen=True)
class TrainConfig:
    """Settings of training.

    Attributes
    ----------
    epochs : int
        Per task: a network of N tasks is trained for N times as many, each of a random task.
    batch_size : int
        Tracks.
    learning_rate : float
        Of Adam.
    weight_decay : float
        Factor of an L2 penalty.
    l2_on_weights : bool
        Apply the penalty ``weight_decay * sum(w ** 2)`` to weights alone, not to biases and
        normalisation, as the code of the paper does. Otherwise all parameters have half of it, as
        with the option of Adam.
    every_window : bool
        Train on every window of a track in each epoch, instead of one drawn at random.
    seed : int
        Of initial weights, order, segments and dropout.
    bfloat16 : bool
        Compute in bfloat16 where autocast does, on processors that support it; others use float32,
        which is several times as fast there.
    validate_every : int
        Epochs between two validations.
    one_cycle : bool
        Raise the learning rate for a tenth of the steps, then lower it to 0 along a cosine (Smith
        and Topin, 2018).
    muon : float
        Learning rate of Muon (`agf_core.train.muon`), which updates the hidden weights of the
        model; Adam updates the others, and at 0 all.
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

        Fields added later are omitted at their former value, so that older settings compare equal.
        """
        return {k: v for k, v in asdict(self).items() if (k, v) not in LATER_FIELDS.items()}

    def share(self, done: float) -> float:
        """Return the factor of the learning rates at some point of training.

        Parameters
        ----------
        done : float
            Share of the epochs that are done, 0 to 1.
        """
        if not self.one_cycle:
            return 1.0
        rising = min(1.0, 0.04 + done / 0.1)
        falling = 0.5 + 0.5 * np.cos(np.pi * max(0.0, done - 0.1) / 0.9)
        return float(rising * falling)
