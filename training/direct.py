"""Direct paths from transfer features to genres, beside the MLP: logistic regressions.

The MLP learns from windows, and from soft targets as well; the regressions from whole tracks and
variants, and from those of one main genre alone. One learns from the network's own features. The
other is the teachers': it learns from what they hear, and is asked about what the network takes
them to hear, so that it has seen nothing that the network knows by heart. They err differently; the
recipe says how much each is believed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import nn

from agf_core.examples import Features
from agf_core.network import TransferMLP
from training.teacher import TEACHERS, Scale, classifier

UNKNOWN = -10.0  # logit of a genre that no track has


@dataclass(frozen=True)
class DirectPath:
    """Logits that are linear in features.

    Attributes
    ----------
    weights : np.ndarray [shape=(n_genres, n_features)]
    bias : np.ndarray [shape=(n_genres,)]
    """

    weights: np.ndarray
    bias: np.ndarray

    @classmethod
    def learn(
        cls, rows: np.ndarray, genres: Sequence[int], n_genres: int, regularisation: float
    ) -> "DirectPath":
        """Fit a logistic regression.

        Parameters
        ----------
        rows : np.ndarray [shape=(n_tracks, n_features)]
            Of the tracks with one main genre that teach.
        genres : sequence of int
            Index of each one's genre.
        regularisation : float
            scikit-learn's C.
        """
        scaler, regression = classifier(regularisation).fit(rows, genres)
        found, intercepts = regression.coef_, regression.intercept_
        if len(regression.classes_) == 2:  # scikit-learn says but how far the second is ahead
            found, intercepts = (np.concatenate([-x, x]) / 2 for x in (found, intercepts))
        found = found / scaler.scale_
        weights, bias = np.zeros((n_genres, rows.shape[1])), np.full(n_genres, UNKNOWN)
        weights[regression.classes_] = found
        bias[regression.classes_] = intercepts - found @ scaler.mean_
        return cls(weights, bias)

    @classmethod
    def by_teachers(cls, rows: np.ndarray, genres: Sequence[int], n_genres: int) -> "DirectPath":
        """Fit a logistic regression upon each teacher's features; their logits are averaged.

        Parameters
        ----------
        rows : np.ndarray [shape=(n_tracks, n_features)]
            See `training.teacher.over_tracks`.
        genres : sequence of int
            Index of each track's genre.
        """
        ends = np.cumsum([teacher.n_features for teacher in TEACHERS])
        parts = np.split(rows, ends[:-1], axis=1)
        paths = [
            cls.learn(part, genres, n_genres, teacher.regularisation)
            for part, teacher in zip(parts, TEACHERS, strict=True)
        ]
        weights = np.concatenate([path.weights for path in paths], axis=1) / len(paths)
        return cls(weights, np.mean([path.bias for path in paths], axis=0))

    def logits(self, rows: np.ndarray) -> np.ndarray:
        """Return what it says of rows, (n_tracks, n_genres)."""
        said: np.ndarray = rows @ self.weights.T + self.bias
        return said

    def after(self, head: nn.Linear, scale: Scale) -> "DirectPath":
        """Return the path from the features that a head tells scaled rows of this path's from."""
        told, offset = (x.detach().cpu().double().numpy() for x in (head.weight, head.bias))
        weights = self.weights * scale.std
        return DirectPath(weights @ told, self.bias + weights @ offset + self.weights @ scale.mean)


def track_means(features: Features) -> np.ndarray:
    """Average features over each track's windows, (n_tracks, n_features)."""
    return np.stack([features.windows(i).mean(dim=0).cpu().numpy() for i in range(len(features))])


def add_direct_paths(
    mlp: TransferMLP, paths: Sequence[DirectPath], shares: Sequence[float]
) -> TransferMLP:
    """Return an MLP whose logits are a mean of its own and those of all paths.

    Parameters
    ----------
    mlp : TransferMLP
        Stays as it is.
    paths : sequence of DirectPath
        From transfer features.
    shares : sequence of float
        Weight of each path in the mean; the MLP has the rest of 1.
    """
    n_genres, n_features = paths[0].weights.shape
    result = TransferMLP(n_features, n_genres, direct=True)
    result.layers.load_state_dict(mlp.layers.state_dict())
    last, direct = cast(nn.Linear, result.layers[-1]), cast(nn.Linear, result.direct)
    parts = list(zip(shares, paths, strict=True))
    with torch.no_grad():
        for layer in (last.weight, last.bias):
            layer.mul_(1 - sum(shares))
        direct.weight.copy_(torch.as_tensor(sum(share * path.weights for share, path in parts)))
        direct.bias.copy_(torch.as_tensor(sum(share * path.bias for share, path in parts)))
    return result.eval()
