"""Learning: networks from segments (section 3.2.4), then the MLP from their features.

One loop (`fit`) trains both. It is seeded, runs on CPU or GPU, shows loss and validation scores,
and goes on from its checkpoint as if it had never stopped.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from tqdm import tqdm

from agf_core import metrics, whole
from agf_core.examples import Examples, Features, Segments
from agf_core.network import MultiTaskNet, TaskModel, TransferMLP, channels_last


@dataclass(frozen=True)
class Schedule:
    """How long and how to train; the defaults are the paper's.

    Attributes
    ----------
    epochs : int
        Of each task: a network of N tasks sees N times as many, each with a task drawn at random.
    batch_size : int
        Tracks.
    learning_rate, weight_decay : float
        Of Adam; the decay is an L2 penalty.
    seed : int
        Of initial weights, order, segments and dropout.
    bfloat16 : bool
        Compute in bfloat16 where autocast does; faster on recent processors.
    validate_every : int
        Epochs between two validations.
    """

    epochs: int = 200
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    seed: int = 0
    bfloat16: bool = False
    validate_every: int = 10


LARGEST_CHECKPOINT = 2**31  # bytes
WINDOWS_AT_ONCE = 64  # through a network: larger activations cost more to allocate than to compute


class CheckpointError(Exception):
    """A checkpoint cannot be gone on from, or kept; the message says why and what to do."""


@torch.inference_mode()
def predict(
    model: TaskModel, examples: Examples, tracks: Iterable[int], task: str = "g"
) -> np.ndarray:
    """Probabilities of each track, averaged over its windows.

    Returns
    -------
    np.ndarray [shape=(n_tracks, n_classes), dtype=float64]
    """
    model.eval()
    rows = []
    for track in tracks:
        parts = examples.windows(track).split(WINDOWS_AT_ONCE)
        logits = torch.cat([model(part, task) for part in parts])
        rows.append(logits.softmax(dim=1).mean(dim=0))
    return torch.stack(rows).double().cpu().numpy()


def fit(
    model: TaskModel,
    examples: Examples,
    targets: Mapping[str, np.ndarray],
    schedule: Schedule,
    *,
    train: np.ndarray,
    valid: np.ndarray | None = None,
    patience: int = 0,
    checkpoint: Path | None = None,
    title: str = "training",
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Train `model` in place.

    Each epoch draws one of the tasks (equal chance) and shows it every training track that has a
    target for it once, one random example of each; Adam keeps a state per task.

    Parameters
    ----------
    model : TaskModel
    examples : Examples
        Of all tracks.
    targets : mapping of np.ndarray [shape=(n_tracks, n_classes)]
        Per task, a distribution over its classes for every track; a row of NaN where there is none.
    train, valid : np.ndarray [dtype=int]
        Indices of tracks; those of `valid` are only ever scored.
    patience : int
        After so many validations in which the log loss of the first task did not fall, training
        ends; `model` is left as it was at the best of them, which may be before the first epoch.
        0 trains to the end. Needs `valid`.
    checkpoint : Path, optional
        Written at every validation; where it exists, training goes on from it.
    title : str
        Stands before the progress bar.

    Returns
    -------
    list of dict
        One entry per validation: epoch, loss and, with `valid`, scores per task.

    Raises
    ------
    CheckpointError
        When the checkpoint is damaged, was made with other settings, or cannot be written.
    ValueError
        When a task has fewer than two training tracks with a target.
    """
    device = examples.device
    usable = {task: train[~np.isnan(rows[train]).any(axis=1)] for task, rows in targets.items()}
    for task, tracks in usable.items():
        if len(tracks) < 2:
            raise ValueError(f"task {task} has {len(tracks)} training tracks; it needs two or more")
    soft = {
        task: torch.as_tensor(rows, dtype=torch.float32).to(device)
        for task, rows in targets.items()
    }
    optimisers = {
        task: torch.optim.Adam(
            model.task_parameters(task),
            lr=schedule.learning_rate,
            weight_decay=schedule.weight_decay,
        )
        for task in targets
    }
    tasks = list(targets)
    n_epochs = schedule.epochs * len(tasks)
    settings = json.dumps(
        asdict(schedule) | {task: tracks.tolist() for task, tracks in usable.items()}
    )
    if patience and valid is None:
        raise ValueError("patience needs tracks to validate on")
    if patience:  # an addition, so that checkpoints of training without it stay good
        settings = json.dumps([settings, patience, np.asarray(valid).tolist()])
    history: list[dict[str, Any]] = []
    best: dict[str, Tensor] = {}
    if checkpoint is not None and checkpoint.exists():
        history, best = _load_checkpoint(checkpoint, model, optimisers, settings)
    elif patience and valid is not None:
        history = [{"epoch": 0} | _validate(model, examples, targets, valid)]
        best = _copy_of_state(model)
    done = history[-1]["epoch"] if history else 0
    criterion = f"{tasks[0]}_log_loss"

    bar = tqdm(
        range(done, n_epochs),
        desc=title,
        unit="epoch",
        initial=done,
        total=n_epochs,
        disable=not progress,
    )
    losses: list[float] = []
    for epoch in bar:
        if patience and len(history) - 1 - best_entry(history, criterion) >= patience:
            break
        # All randomness of an epoch follows from the seed and its number: nothing else to restore.
        generator = torch.Generator().manual_seed(schedule.seed * 1_000_003 + epoch)
        torch.manual_seed(schedule.seed * 1_000_003 + epoch)
        task = tasks[int(torch.randint(len(tasks), (1,), generator=generator))]
        tracks = torch.from_numpy(usable[task])
        order = tracks[torch.randperm(len(tracks), generator=generator)]
        model.train()
        loss = torch.zeros((), device=device)
        for batch in order.split(schedule.batch_size):
            if len(batch) == 1:  # batch normalisation cannot learn from one
                continue
            x, y = examples.draw(batch, generator), soft[task][batch.to(device)]
            with torch.autocast(device.type, torch.bfloat16, enabled=schedule.bfloat16):
                logits = model(x, task)
            step_loss = F.cross_entropy(logits.float(), y)
            optimisers[task].zero_grad(set_to_none=True)
            step_loss.backward()
            optimisers[task].step()
            loss += step_loss.detach() * len(batch) / len(order)
        losses.append(float(loss))
        if (epoch + 1) % schedule.validate_every == 0 or epoch + 1 == n_epochs:
            entry: dict[str, Any] = {"epoch": epoch + 1, "loss": float(np.mean(losses))}
            losses = []
            if valid is not None:
                entry |= _validate(model, examples, targets, valid)
            history.append(entry)
            bar.set_postfix({k: f"{v:.3f}" for k, v in entry.items() if k != "epoch"})
            if patience and best_entry(history, criterion) == len(history) - 1:
                best = _copy_of_state(model)
            if checkpoint is not None:
                _save_checkpoint(checkpoint, model, best, optimisers, settings, history)
    if patience:
        model.load_state_dict(best)
    return history


def best_entry(history: Sequence[Mapping[str, Any]], criterion: str = "g_log_loss") -> int:
    """Return the index of the validation with the lowest score, the first of equals."""
    return int(np.argmin([entry[criterion] for entry in history]))


def _copy_of_state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _validate(
    model: TaskModel, examples: Examples, targets: Mapping[str, np.ndarray], valid: np.ndarray
) -> dict[str, float]:
    """Score `valid` per task: cross-entropy with the target, and accuracy of its largest entry."""
    scores = {}
    for task, rows in targets.items():
        tracks = valid[~np.isnan(rows[valid]).any(axis=1)]
        if len(tracks) == 0:
            continue
        probabilities = predict(model, examples, tracks, task)
        truth = rows[tracks]
        scores[f"{task}_log_loss"] = float(
            -(truth * np.log(np.maximum(probabilities, metrics.SMALLEST))).sum(axis=1).mean()
        )
        scores[f"{task}_accuracy"] = metrics.accuracy(probabilities, truth.argmax(axis=1))
    return scores


def _save_checkpoint(
    path: Path,
    model: nn.Module,
    best: Mapping[str, Tensor],
    optimisers: Mapping[str, torch.optim.Optimizer],
    settings: str,
    history: list[dict[str, Any]],
) -> None:
    tensors = {f"model/{k}": v.contiguous() for k, v in model.state_dict().items()}
    tensors |= {f"best/{k}": v.contiguous() for k, v in best.items()}
    for task, optimiser in optimisers.items():
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"adam/{task}/{index}/{k}": v.contiguous() for k, v in state.items()}
    metadata = {"settings": settings, "history": json.dumps(history)}
    try:
        with whole.written(path) as file:
            file.write(whole.sealed(save(tensors, metadata), path.name))
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written ({error.strerror}); make room there, "
            "or see that it may be written"
        ) from error


def _load_checkpoint(
    path: Path,
    model: nn.Module,
    optimisers: Mapping[str, torch.optim.Optimizer],
    settings: str,
) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    try:
        content = whole.unsealed(whole.read(path, LARGEST_CHECKPOINT), path.name)
        tensors = load(content)
        header = content[8 : 8 + int.from_bytes(content[:8], "little")]
        metadata = json.loads(header)["__metadata__"]
    except (OSError, ValueError, LookupError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); delete it to start again") from error
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


def train_networks(
    segments: Segments,
    targets: Mapping[str, np.ndarray],
    schedule: Schedule,
    *,
    train: np.ndarray,
    valid: np.ndarray | None = None,
    shared: bool = True,
    width: float = 1.0,
    checkpoints: Path | None = None,
    progress: bool = True,
) -> list[MultiTaskNet]:
    """Train one MTN over all tasks of `targets`, or (``shared=False``) one STN for each.

    See `fit` for the parameters. `checkpoints` is a folder, `width` the factor of a wide network.
    """
    groups = [tuple(targets)] if shared else [(task,) for task in targets]
    networks = []
    for tasks in groups:
        name = "".join(tasks)
        torch.manual_seed(schedule.seed)
        network = MultiTaskNet({task: targets[task].shape[1] for task in tasks}, width)
        network.to(segments.device)
        channels_last(network)
        fit(
            network,
            segments,
            {task: targets[task] for task in tasks},
            schedule,
            train=train,
            valid=valid,
            checkpoint=checkpoints / f"network-{name}.safetensors" if checkpoints else None,
            title=f"network {name}",
            progress=progress,
        )
        networks.append(network.eval())
    return networks


@torch.inference_mode()
def extract_features(
    networks: Iterable[MultiTaskNet],
    segments: Segments,
    *,
    bfloat16: bool = False,
    progress: bool = True,
) -> Features:
    """Transfer features of every window of every track, from frozen networks."""
    networks = list(networks)
    rows = []
    with torch.autocast(segments.device.type, torch.bfloat16, enabled=bfloat16):
        for track in tqdm(
            range(len(segments)), desc="features", unit="track", disable=not progress, leave=False
        ):
            parts = [
                torch.cat([network.features(part) for network in networks], dim=1)
                for part in segments.windows(track).split(WINDOWS_AT_ONCE)
            ]
            rows.append(torch.cat(parts).float().cpu().numpy())
    return Features(rows, device=segments.device)


def train_transfer(
    features: Features,
    targets: np.ndarray,
    schedule: Schedule,
    *,
    train: np.ndarray,
    valid: np.ndarray | None = None,
    checkpoint: Path | None = None,
    progress: bool = True,
) -> TransferMLP:
    """Train the transfer MLP on segments' features (section 3.2.3); see `fit`.

    Parameters
    ----------
    targets : np.ndarray [shape=(n_tracks, n_genres)]
    """
    torch.manual_seed(schedule.seed)
    mlp = TransferMLP(features.rows.shape[1], targets.shape[1]).to(features.device)
    fit(
        mlp,
        features,
        {"g": targets},
        replace(schedule, bfloat16=False),
        train=train,
        valid=valid,
        checkpoint=checkpoint,
        title="transfer MLP",
        progress=progress,
    )
    return mlp.eval()
