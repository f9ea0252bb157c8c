"""A linear head on transfer features, beside the transfer MLP: a logistic regression.

The MLP is trained on windows, of augmented copies too, and on soft labels; the regression on whole
tracks of one main genre alone. Their errors differ, so that the mean of both is right more often.
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
class LinearHead:
    """Genre logits that are linear in features.

    Attributes
    ----------
    weights : np.ndarray [shape=(n_genres, n_features)]
    bias : np.ndarray [shape=(n_genres,)]
    """

    weights: np.ndarray
    bias: np.ndarray

    @classmethod
    def fit(
        cls,
        rows: np.ndarray,
        genres: Sequence[int],
        n_genres: int,
        regularisation: float,
        *,
        class_balance: float = 0.0,
        wccn: float = 0.0,
        spread: np.ndarray | None = None,
    ) -> "LinearHead":
        """Fit a logistic regression.

        Parameters
        ----------
        rows : np.ndarray [shape=(n_tracks, n_features)]
            Of the training tracks with one main genre.
        genres : sequence of int
            Index of each one's genre.
        regularisation : float
            scikit-learn's C.
        class_balance : float
            The weight of a genre's tracks is the genre's share of all to the power of minus this.
        wccn : float
            How far features are whitened, see `training.pretrained.wccn.whitening`.
        spread : np.ndarray [shape=(n_features, n_features)], optional
            The covariance to whiten by, see `training.pretrained.wccn.within_artists`.
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(rows)
        scaled = scaler.transform(rows)
        change = np.eye(rows.shape[1])
        if wccn and spread is not None:
            change = whitening(spread / np.outer(scaler.scale_, scaler.scale_), wccn)
            change /= (scaled @ change).std()  # so that C means the same as without it
        counts = np.bincount(genres, minlength=n_genres).clip(min=1)
        sample_weights = (counts[genres] / len(genres)) ** -class_balance
        regression = LogisticRegression(C=regularisation, max_iter=1_000)
        regression.fit(
            scaled @ change, genres, sample_weight=sample_weights / sample_weights.mean()
        )
        found, intercepts = regression.coef_, regression.intercept_
        if len(regression.classes_) == 2:  # scikit-learn has one logit for the second of two
            found, intercepts = (np.concatenate([-x, x]) / 2 for x in (found, intercepts))
        found = found @ change / scaler.scale_
        weights, bias = np.zeros((n_genres, rows.shape[1])), np.full(n_genres, UNKNOWN)
        weights[regression.classes_] = found
        bias[regression.classes_] = intercepts - found @ scaler.mean_
        return cls(weights, bias)

    def logits(self, rows: np.ndarray) -> np.ndarray:
        """Return the logits of rows, (n_tracks, n_genres)."""
        result: np.ndarray = rows @ self.weights.T + self.bias
        return result


def track_means(features: FeatureDataset) -> np.ndarray:
    """Average features over each track's windows, (n_tracks, n_features)."""
    return np.stack([features.windows(i).mean(dim=0).cpu().numpy() for i in range(len(features))])


def add_linear_head(mlp: TransferMLP, head: LinearHead, share: float) -> TransferMLP:
    """Return an MLP whose logits are a weighted mean of its own and those of a linear head.

    Parameters
    ----------
    mlp : TransferMLP
        Not changed.
    head : LinearHead
        On transfer features.
    share : float
        Weight of the head in the mean; the MLP has the rest of 1.
    """
    n_genres, n_features = head.weights.shape
    result = TransferMLP(n_features, n_genres, direct=True)
    result.layers.load_state_dict(mlp.layers.state_dict())
    last, direct = cast(nn.Linear, result.layers[-1]), cast(nn.Linear, result.direct)
    with torch.no_grad():
        for layer in (last.weight, last.bias):
            layer.mul_(1 - share)
        direct.weight.copy_(torch.as_tensor(share * head.weights))
        direct.bias.copy_(torch.as_tensor(share * head.bias))
    return result.eval()
