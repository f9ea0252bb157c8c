"""Checkpoints: the state of training on disk, to resume from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from agf_core.errors import CheckpointError, why_not_written
from agf_core.utils import atomic

LARGEST_CHECKPOINT = 2**31  # bytes


def read_history(checkpoint: Path) -> list[dict[str, Any]]:
    """Return the history of training up to a checkpoint, as `fit` returns it.

    Raises
    ------
    CheckpointError
        When it is damaged.
    """
    _, metadata = _read(checkpoint)
    history: list[dict[str, Any]] = json.loads(metadata["history"])
    return history


def save(
    path: Path,
    model: nn.Module,
    best: Mapping[str, Tensor],
    optimisers: Mapping[str, torch.optim.Optimizer],
    settings: str,
    history: list[dict[str, Any]],
) -> None:
    """Write a checkpoint, whole or not at all.

    Parameters
    ----------
    best : mapping of Tensor
        The best state of the model so far; empty without early stopping.
    optimisers : mapping
        By task.
    settings : str
        Of the training: it resumes with the same settings only.
    history : list of dict
        As `agf_core.train.loop.fit` returns it.

    Raises
    ------
    CheckpointError
        When it cannot be written.
    """
    tensors = {f"model/{k}": v.contiguous() for k, v in model.state_dict().items()}
    tensors |= {f"best/{k}": v.contiguous() for k, v in best.items()}
    for task, optimiser in optimisers.items():
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"adam/{task}/{index}/{k}": v.contiguous() for k, v in state.items()}
    metadata = {"settings": settings, "history": json.dumps(history)}
    try:
        with atomic.written(path) as file:
            file.write(atomic.sealed(to_bytes(tensors, metadata), path.name))
    except OSError as error:
        raise CheckpointError(why_not_written(path, error)) from error


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a checkpoint."""
    try:
        content = atomic.unsealed(atomic.read(path, LARGEST_CHECKPOINT), path.name)
        tensors = from_bytes(content)
        header = content[8 : 8 + int.from_bytes(content[:8], "little")]
        return tensors, json.loads(header)["__metadata__"]
    except (OSError, ValueError, LookupError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); delete it to start again") from error


def load(
    path: Path,
    model: nn.Module,
    optimisers: Mapping[str, torch.optim.Optimizer],
    settings: str,
) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """Load a checkpoint into model and optimisers; return its history and best state.

    Raises
    ------
    CheckpointError
        When it is damaged or was made with other settings.
    """
    tensors, metadata = _read(path)
    if metadata.get("settings") != settings:
        raise CheckpointError(
            f"{path} was made with other settings or tracks; delete it to start again"
        )
    model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model/")})
    for task, optimiser in optimisers.items():
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith(f"adam/{task}/"):
                _, _, index, key = name.split("/")
                state.setdefault(int(index), {})[key] = tensor
        optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
    best = {k.removeprefix("best/"): v for k, v in tensors.items() if k.startswith("best/")}
    return json.loads(metadata["history"]), best
