"""A network that predicts the teachers' classes for three seconds of music.

Its targets are both teachers' class logits, from which the genres are made afterwards, and, in
training alone, their layers before the last.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agf_core.features.spectrogram import InputSpec
from agf_core.train.config import TrainConfig
from agf_core.train.dataset import SegmentDataset, SpectrogramAugmentation
from agf_core.train.loop import fit
from agf_core.train.networks import MultiTaskNet, TaskModel, channels_last
from training.teachers.features import Scale
from training.teachers.windows import Windows

CLASS_TASK = "c"  # in the training loop
LOWEST_LOGIT = -7.0  # logits below it are all the same: a probability of 0.001
CROSS_ENTROPY_SHARE, HIDDEN_SHARE = 20.0, 0.5  # in the loss, beside the error of class logits
GENRE_TASK = "g"


class StudentNet(TaskModel):
    """A network of one branch with layers that predict the teachers' classes and hidden layers.

    Parameters
    ----------
    n_genres : int
        Of the branch's own head, which is not trained here.
    classes : sequence of int
        How many classes each teacher has.
    hidden : sequence of int
        Sizes of the teachers' layers before the last.
    mean, std : np.ndarray [shape=(n_classes,)]
        Of the class logits: `predictor` gives them standardised.
    frames_pooled : int
        See `MultiTaskNet`.
    """

    def __init__(
        self,
        n_genres: int,
        classes: Sequence[int],
        hidden: Sequence[int],
        mean: np.ndarray,
        std: np.ndarray,
        frames_pooled: int,
    ) -> None:
        super().__init__()
        self.class_sizes, self.hidden_sizes = list(classes), list(hidden)
        self.network = MultiTaskNet({GENRE_TASK: n_genres}, frames_pooled=frames_pooled)
        for layer in self.network.modules():  # the teachers keep it from learning by heart
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
        self.predictor = nn.Linear(self.network.n_features, sum(classes))
        self.hidden = nn.Linear(self.network.n_features, sum(hidden))
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def task_parameters(self, task: str) -> Iterable[nn.Parameter]:
        """Return all that training changes."""
        head = {id(p) for p in self.network.branch(GENRE_TASK).head.parameters()}
        return [p for p in self.parameters() if id(p) not in head]

    def hidden_weights(self, task: str) -> list[nn.Parameter]:
        """Return those of the branch."""
        return self.network.hidden_weights(GENRE_TASK)

    def forward(self, x: Tensor, task: str = CLASS_TASK) -> Tensor:
        """Return standardised class logits and hidden layers side by side."""
        features = self.network.features(x)
        return torch.cat([self.predictor(features), self.hidden(features)], dim=1)

    def loss(self, x: Tensor, y: Tensor, task: str) -> Tensor:
        """Return the error of class logits and hidden layers, and the classes' cross-entropy.

        Parameters
        ----------
        y : Tensor [shape=(batch, n_classes + n_hidden)]
            Class logits as they are, and hidden layers standardised.
        """
        n = sum(self.class_sizes)
        predicted, wanted = self(x, task).float(), y.float()
        mean, std = cast(Tensor, self.mean), cast(Tensor, self.std)
        standardised = (wanted[:, :n].clamp(min=LOWEST_LOGIT) - mean) / std
        total = _errors(predicted[:, :n], standardised, self.class_sizes)
        total = total + HIDDEN_SHARE * _errors(predicted[:, n:], wanted[:, n:], self.hidden_sizes)
        target = wanted[:, :n].sigmoid()
        logits = predicted[:, :n] * std + mean
        entropy = F.binary_cross_entropy_with_logits(logits, target)
        return total + CROSS_ENTROPY_SHARE * entropy

    def class_layer(self) -> nn.Linear:
        """Return the layer that predicts class logits as they are, not standardised."""
        made = nn.Linear(self.predictor.in_features, self.predictor.out_features)
        mean, std = cast(Tensor, self.mean), cast(Tensor, self.std)
        with torch.no_grad():
            made.weight.copy_(self.predictor.weight * std[:, None])
            made.bias.copy_(self.predictor.bias * std + mean)
        return made


def _errors(predicted: Tensor, wanted: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return the sum over teachers of the mean squared error: one counts as much as another."""
    parts = zip(predicted.split(list(sizes), 1), wanted.split(list(sizes), 1), strict=True)
    return torch.stack([F.mse_loss(*part) for part in parts]).sum()


def train_student(
    windows: Sequence[Windows],
    spec: InputSpec,
    schedule: TrainConfig,
    augmentation: SpectrogramAugmentation,
    *,
    n_genres: int,
    frames_pooled: int,
    device: str = "cpu",
    checkpoint: Path | None = None,
) -> tuple[StudentNet, np.ndarray, np.ndarray]:
    """Train a network on what the teachers predict for windows.

    Parameters
    ----------
    windows : sequence of Windows
        Of every track.

    Returns
    -------
    network : StudentNet
    mean, std : np.ndarray [shape=(n_mels,)]
        Normaliser of its input.
    """
    log_mel = [row for track in windows for row in track.log_mel]
    bands = np.concatenate([row.astype(np.float32) for row in log_mel[::11]])
    mean, std = bands.mean(axis=0), bands.std(axis=0)
    classes = np.concatenate([track.classes for track in windows]).astype(np.float32)
    hidden = np.concatenate([track.hidden for track in windows]).astype(np.float32)
    shown = np.maximum(classes, LOWEST_LOGIT)
    torch.manual_seed(schedule.seed)
    network = StudentNet(
        n_genres,
        windows[0].class_sizes,
        windows[0].hidden_sizes,
        shown.mean(axis=0),
        np.maximum(shown.std(axis=0), 0.3),
        frames_pooled,
    ).to(device)
    channels_last(network)
    scaled = Scale.fit([hidden]).apply(hidden)
    fit(
        network,
        SegmentDataset(log_mel, spec, mean, std, augmentation=augmentation, device=device),
        {CLASS_TASK: np.concatenate([classes, scaled], axis=1)},
        schedule,
        train=np.arange(len(log_mel)),
        checkpoint=checkpoint,
        title="student",
    )
    return network.eval(), mean, std


@torch.inference_mode()
def predict_classes(
    network: StudentNet, windows: Sequence[Windows], mean: np.ndarray, std: np.ndarray
) -> list[np.ndarray]:
    """Return the class logits of every track's windows, each (n_windows, n_classes)."""
    layer = network.class_layer()
    found = []
    for track in windows:
        x = torch.from_numpy((track.log_mel.astype(np.float32) - mean) / std)
        found.append(layer(network.network.features(x[:, None])).numpy())
    return found
