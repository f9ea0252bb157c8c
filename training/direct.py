"""A direct path from transfer features to genres, beside the MLP: a logistic regression.

The MLP learns from windows, and from soft targets as well; the regression from whole tracks, and
from those with one main genre alone. They err differently, and are believed half each.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import nn

from agf_core.examples import Features
from agf_core.network import TransferMLP
from training.teacher import classifier

UNKNOWN = -10.0  # logit of a genre that no track has


def add_direct_path(
    mlp: TransferMLP, features: Features, genres: Sequence[int], regularisation: float
) -> TransferMLP:
    """Return an MLP with a direct path, whose logits are the mean of what both say.

    Parameters
    ----------
    mlp : TransferMLP
        Stays as it is.
    features : Features
        Of every window of the tracks with one main genre that teach, and of no others.
    genres : sequence of int
        Index of each one's genre.
    regularisation : float
        scikit-learn's C.
    """
    means = np.stack([features.windows(i).mean(dim=0).cpu().numpy() for i in range(len(features))])
    scaler, regression = classifier(regularisation).fit(means, genres)
    weights, intercepts = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:  # scikit-learn says but how far the second is ahead
        weights, intercepts = (np.concatenate([-x, x]) / 2 for x in (weights, intercepts))
    weights = weights / scaler.scale_
    intercepts = intercepts - weights @ scaler.mean_

    n_genres = cast(nn.Linear, mlp.layers[-1]).out_features
    result = TransferMLP(means.shape[1], n_genres, direct=True)
    result.layers.load_state_dict(mlp.layers.state_dict())
    last, direct = cast(nn.Linear, result.layers[-1]), cast(nn.Linear, result.direct)
    with torch.no_grad():
        for layer in (last.weight, last.bias):
            layer.mul_(0.5)
        direct.weight.zero_()
        direct.bias.fill_(UNKNOWN / 2)
        direct.weight[regression.classes_] = torch.as_tensor(weights / 2).float()
        direct.bias[regression.classes_] = torch.as_tensor(intercepts / 2).float()
    return result.eval()
