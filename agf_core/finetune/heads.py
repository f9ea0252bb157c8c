"""Replace the heads of a trained network, for other genres and artist groups.

A genre of the same name keeps its weights in the heads.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from agf_core.data.genre_names import namesakes
from agf_core.train.class_head import ClassHead, CorrectedHead, Head
from agf_core.train.networks import GenreNet, MultiTaskNet, TaskBranch, TransferMLP, channels_last


def network_with_heads(
    base_network: GenreNet, known: Sequence[str], genres: Sequence[str], groups: Mapping[str, int]
) -> GenreNet:
    """Return a copy of a network with heads for other genres and artist groups.

    Parameters
    ----------
    base_network : GenreNet
        Not changed.
    known : sequence of str
        Its genres.
    genres : sequence of str
        The new genres; known ones keep their weights.
    groups : mapping
        Number of groups of each task but g. A task that the network lacks gets a copy of the branch
        of the genre task.
    """
    network = copy.deepcopy(base_network)
    own = cast(list[MultiTaskNet], list(network.networks))
    genre_net = next((net for net in own if "g" in net.tasks), own[0])
    added = [task for task in groups if not any(task in net.tasks for net in own)]
    kept_columns = _columns(own)
    for task in added:
        genre_net.branches[task] = copy.deepcopy(genre_net.branch(genre_net.tasks[0]))
    for net in own:
        for task in net.tasks:
            branch = net.branch(task)
            if task == "g":
                _replace_head(branch, namesakes(known, genres))
            elif task in groups:
                _replace_head(branch, [None] * groups[task])
        channels_last(net)
    network.mlp = _grown(network.mlp, kept_columns, _columns(own), namesakes(known, genres))
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


def _columns(networks: Sequence[MultiTaskNet]) -> list[tuple[int, str, int]]:
    """Return a key of every column of the features of networks, in order."""
    return [
        (n, task, column)
        for n, net in enumerate(networks)
        for task in net.tasks
        for column in range(net.branch(task).n_features)
    ]


def _grown(
    mlp: Head, before: Sequence[Any], after: Sequence[Any], rows: Sequence[int | None]
) -> Head:
    """Return a head over more features and other genres that does what `mlp` did for the old."""
    if isinstance(mlp, ClassHead):
        return CorrectedHead(len(after), mlp, [-1 if row is None else row for row in rows])
    if isinstance(mlp, CorrectedHead):
        known = [-1 if row is None else mlp.rows[row] for row in rows]
        result = CorrectedHead(len(after), mlp.base, known)
        result.correction = _grown_mlp(mlp.correction, before, after, rows)
        return result
    return _grown_mlp(mlp, before, after, rows)


def _grown_mlp(
    mlp: TransferMLP, before: Sequence[Any], after: Sequence[Any], rows: Sequence[int | None]
) -> TransferMLP:
    result = TransferMLP(len(after), len(rows), direct=mlp.direct is not None)
    place = {column: i for i, column in enumerate(after)}
    (first, last), (old_first, old_last) = (
        [cast(nn.Linear, layer) for layer in net.layers if isinstance(layer, nn.Linear)]
        for net in (result, mlp)
    )
    columns = [place[column] for column in before]
    with torch.no_grad():
        first.weight.zero_()
        first.weight[:, columns] = old_first.weight
        first.bias.copy_(old_first.bias)
        new_last = _with_rows(old_last, rows)
        last.weight.copy_(new_last.weight)
        last.bias.copy_(new_last.bias)
        if mlp.direct is not None and result.direct is not None:
            new_direct = _with_rows(mlp.direct, rows)
            result.direct.weight.zero_()
            result.direct.weight[:, columns] = new_direct.weight
            result.direct.bias.copy_(new_direct.bias)
    return result
