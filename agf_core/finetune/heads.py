"""Replace the heads of a trained network, for other genres.

A genre of the same name keeps its weights in the heads.
"""

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from agf_core.data.genre_names import namesakes
from agf_core.train.class_head import ClassHead, CorrectedHead, Head
from agf_core.train.networks import GenreNet, MultiTaskNet, TaskBranch, TransferMLP, channels_last


def network_with_heads(
    base_network: GenreNet, known: Sequence[str], genres: Sequence[str]
) -> GenreNet:
    """Return a copy of a network with heads for other genres.

    Parameters
    ----------
    base_network : GenreNet
        Not changed.
    known : sequence of str
        Its genres.
    genres : sequence of str
        The new genres; known ones keep their weights.
    """
    network = copy.deepcopy(base_network)
    rows = namesakes(known, genres)
    for net in cast(list[MultiTaskNet], list(network.networks)):
        if "g" in net.tasks:
            _replace_head(net.branch("g"), rows)
        channels_last(net)
    network.mlp = _with_genres(network.mlp, rows)
    return network


def _with_rows(layer: nn.Linear, rows: Sequence[int | None]) -> nn.Linear:
    """Return a layer with rows of `layer`, and new rows where the index is None."""
    result = nn.Linear(layer.in_features, len(rows))
    with torch.no_grad():
        for i, row in enumerate(rows):
            if row is not None:
                result.weight[i], result.bias[i] = layer.weight[row], layer.bias[row]
    return result


def _replace_head(branch: TaskBranch, rows: Sequence[int | None]) -> None:
    branch.head[-1] = _with_rows(cast(nn.Linear, branch.head[-1]), rows)
    branch.n_classes = len(rows)


def _with_genres(head: Head, rows: Sequence[int | None]) -> Head:
    """Return a head for other genres that does what `head` did for the known ones."""
    if isinstance(head, ClassHead):
        n_features = head.classes.in_features
        return CorrectedHead(n_features, head, [-1 if row is None else row for row in rows])
    if isinstance(head, CorrectedHead):
        known = [-1 if row is None else head.rows[row] for row in rows]
        result = CorrectedHead(_n_features(head.correction), head.base, known)
        result.correction = _mlp_with_genres(head.correction, rows)
        return result
    return _mlp_with_genres(head, rows)


def _n_features(mlp: TransferMLP) -> int:
    return cast(nn.Linear, mlp.layers[1]).in_features


def _mlp_with_genres(mlp: TransferMLP, rows: Sequence[int | None]) -> TransferMLP:
    result = copy.deepcopy(mlp)
    result.layers[-1] = _with_rows(cast(nn.Linear, mlp.layers[-1]), rows)
    if mlp.direct is not None:
        result.direct = _with_rows(mlp.direct, rows)
    return result
