"""A direct path from transfer features to genres, beside the MLP: a logistic regression.

The MLP learns from windows, of variants too, and from soft targets; the regression from whole
tracks of one main genre alone. They err differently, so that together they are right more often.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import nn

from agf_core.train.dataset import FeatureDataset
from agf_core.train.networks import TransferMLP
from training.pretrained.wccn import whitening

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
            How far features are whitened, see `training.pretrained.wccn.whitening`.
        spread : np.ndarray [shape=(n_features, n_features)], optional
            What they are whitened by, see `training.pretrained.wccn.within_artists`.
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

    def logits(self, rows: np.ndarray) -> np.ndarray:
        """Return what it says of rows, (n_tracks, n_genres)."""
        said: np.ndarray = rows @ self.weights.T + self.bias
        return said


def track_means(features: FeatureDataset) -> np.ndarray:
    """Average features over each track's windows, (n_tracks, n_features)."""
    return np.stack([features.windows(i).mean(dim=0).cpu().numpy() for i in range(len(features))])


def add_direct_path(mlp: TransferMLP, path: DirectPath, share: float) -> TransferMLP:
    """Return an MLP whose logits are a mean of its own and those of a path.

    Parameters
    ----------
    mlp : TransferMLP
        Stays as it is.
    path : DirectPath
        From transfer features.
    share : float
        Weight of the path in the mean; the MLP has the rest of 1.
    """
    n_genres, n_features = path.weights.shape
    result = TransferMLP(n_features, n_genres, direct=True)
    result.layers.load_state_dict(mlp.layers.state_dict())
    last, direct = cast(nn.Linear, result.layers[-1]), cast(nn.Linear, result.direct)
    with torch.no_grad():
        for layer in (last.weight, last.bias):
            layer.mul_(1 - share)
        direct.weight.copy_(torch.as_tensor(share * path.weights))
        direct.bias.copy_(torch.as_tensor(share * path.bias))
    return result.eval()
