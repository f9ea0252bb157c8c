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
from training.teacher import TEACHERS, Scale
from training.whitening import whitening

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
        cls,
        rows: np.ndarray,
        genres: Sequence[int],
        n_genres: int,
        regularisation: float,
        *,
        balanced: float = 0.0,
        whitened: float = 0.0,
        spread: np.ndarray | None = None,
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
        balanced : float
            A genre's tracks count by its share of all to the power of minus this.
        whitened : float
            How far features are whitened, see `training.whitening.whitening`.
        spread : np.ndarray [shape=(n_features, n_features)], optional
            What they are whitened by, see `training.whitening.within_artists`.
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(rows)
        scaled = scaler.transform(rows)
        changed = np.eye(rows.shape[1])
        if whitened and spread is not None:
            changed = whitening(spread / np.outer(scaler.scale_, scaler.scale_), whitened)
            changed /= (scaled @ changed).std()  # so that C means what it meant
        counts = np.bincount(genres, minlength=n_genres).clip(min=1)
        weights = (counts[genres] / len(genres)) ** -balanced
        regression = LogisticRegression(C=regularisation, max_iter=1_000)
        regression.fit(scaled @ changed, genres, sample_weight=weights / weights.mean())
        found, intercepts = regression.coef_, regression.intercept_
        if len(regression.classes_) == 2:  # scikit-learn says but how far the second is ahead
            found, intercepts = (np.concatenate([-x, x]) / 2 for x in (found, intercepts))
        found = found @ changed / scaler.scale_
        weights, bias = np.zeros((n_genres, rows.shape[1])), np.full(n_genres, UNKNOWN)
        weights[regression.classes_] = found
        bias[regression.classes_] = intercepts - found @ scaler.mean_
        return cls(weights, bias)

    @classmethod
    def by_teachers(
        cls,
        rows: np.ndarray,
        genres: Sequence[int],
        n_genres: int,
        *,
        balanced: float = 0.0,
        whitened: float = 0.0,
        spread: np.ndarray | None = None,
    ) -> "DirectPath":
        """Fit a logistic regression upon each teacher's features; their logits are averaged.

        Parameters
        ----------
        rows : np.ndarray [shape=(n_tracks, n_features)]
            See `training.teacher.over_tracks`.
        genres : sequence of int
            Index of each track's genre.
        balanced, whitened, spread
            See `learn`.
        """
        paths, begin = [], 0
        for teacher in TEACHERS:
            mine = slice(begin, begin := begin + teacher.n_features)
            path = cls.learn(
                rows[:, mine],
                genres,
                n_genres,
                teacher.regularisation,
                balanced=balanced,
                whitened=whitened,
                spread=None if spread is None else spread[mine, mine],
            )
            paths.append(path)
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
