"""Learning: networks from segments (section 3.2.4), then the MLP from their features.

One loop (`fit`) trains both. It is seeded, runs on CPU or GPU, shows loss and validation scores,
and goes on from its checkpoint as if it had never stopped.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from agf_core import metrics
from agf_core.train import checkpoints
from agf_core.train.config import TrainConfig
from agf_core.train.dataset import FeatureDataset, PackedRows, SegmentDataset, TrackDataset
from agf_core.train.networks import MultiTaskNet, TaskModel, TransferMLP, channels_last
from agf_core.train.step import Step, autocast, optimisers_of

# What goes through a network at once. On a CPU larger activations cost more to allocate than to
# compute; a GPU wants as many as it can get.
WINDOWS_AT_ONCE = {"cpu": 64, "cuda": 4096}
TRACKS_AT_ONCE = {"cpu": 1, "cuda": 64}


@torch.inference_mode()
def predict(
    model: TaskModel, examples: TrackDataset, tracks: Iterable[int], task: str = "g"
) -> np.ndarray:
    """Probabilities of each track, averaged over its windows (or of averaged logits).

    Returns
    -------
    np.ndarray [shape=(n_tracks, n_classes), dtype=float64]
    """
    model.eval()
    rows: list[Tensor] = []
    for group in _groups(tracks, examples.device):
        parts = examples.windows(*group).split(WINDOWS_AT_ONCE[examples.device.type])
        said = torch.cat([model(part, task) for part in parts])
        for track in said.split(examples.n_windows(group)):
            if model.averages_logits:
                track = track.mean(dim=0, keepdim=True)
            rows.append(track.softmax(dim=1).mean(dim=0))
    return torch.stack(rows).double().cpu().numpy()


def _groups(tracks: Iterable[int], device: torch.device) -> Iterator[list[int]]:
    """Yield the tracks, as many at a time as go through a network together."""
    left = iter(tracks)
    while group := [int(t) for t in islice(left, TRACKS_AT_ONCE[device.type])]:
        yield group


def fit(
    model: TaskModel,
    examples: TrackDataset,
    targets: Mapping[str, np.ndarray],
    schedule: TrainConfig,
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
    target for it: one random example of each, or all its windows (`TrainConfig.every_window`).
    Adam keeps a state per task.

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
        After so many validations in which the log loss of the first task, which is then the only
        one to be scored, did not fall, training ends; `model` is left as it was at the best of
        them, which may be before the first epoch. 0 trains to the end. Needs `valid`.
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
    if patience and valid is None:
        raise ValueError("patience needs tracks to validate on")
    usable = _with_targets(targets, train)
    optimisers = {task: optimisers_of(model, task, schedule, examples.device) for task in targets}
    steps = _steps(model, examples, targets, optimisers, schedule)
    tasks = list(targets)
    n_epochs = schedule.epochs * len(tasks)
    scored = {tasks[0]: targets[tasks[0]]} if patience else targets
    criterion = f"{tasks[0]}_log_loss"
    kept = {n + task: o for task, several in optimisers.items() for n, o in several.items()}
    settings = _settings(schedule, usable, patience, valid)
    history: list[dict[str, Any]] = []
    best: dict[str, Tensor] = {}
    if checkpoint is not None and checkpoint.exists():
        history, best = checkpoints.load(checkpoint, model, kept, settings)
    elif patience and valid is not None:
        history = [{"epoch": 0} | _validate(model, examples, scored, valid)]
        best = _copy_of_state(model)
    done = history[-1]["epoch"] if history else 0

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
        losses.append(_train_epoch(model, examples, steps, usable, schedule, epoch, n_epochs))
        if (epoch + 1) % schedule.validate_every and epoch + 1 < n_epochs:
            continue
        entry: dict[str, Any] = {"epoch": epoch + 1, "loss": float(np.mean(losses))}
        losses = []
        if valid is not None:
            entry |= _validate(model, examples, scored, valid)
        history.append(entry)
        bar.set_postfix({k: f"{v:.3f}" for k, v in entry.items() if k != "epoch"})
        if patience and best_entry(history, criterion) == len(history) - 1:
            best = _copy_of_state(model)
        if checkpoint is not None:
            checkpoints.save(checkpoint, model, best, kept, settings, history)
    if patience:
        model.load_state_dict(best)
    return history


def _with_targets(targets: Mapping[str, np.ndarray], train: np.ndarray) -> dict[str, np.ndarray]:
    """Return the training tracks that have a target, per task; `ValueError` for fewer than two."""
    usable = {task: train[~np.isnan(rows[train]).any(axis=1)] for task, rows in targets.items()}
    for task, tracks in usable.items():
        if len(tracks) < 2:
            raise ValueError(f"task {task} has {len(tracks)} training tracks; it needs two or more")
    return usable


def _steps(
    model: TaskModel,
    examples: TrackDataset,
    targets: Mapping[str, np.ndarray],
    optimisers: Mapping[str, Mapping[str, torch.optim.Optimizer]],
    schedule: TrainConfig,
) -> dict[str, Step]:
    return {
        task: Step(
            model,
            task,
            examples,
            torch.as_tensor(rows, dtype=torch.float32).to(examples.device),
            list(optimisers[task].values()),
            batch_size=schedule.batch_size,
            bfloat16=schedule.bfloat16,
        )
        for task, rows in targets.items()
    }


def _settings(
    schedule: TrainConfig,
    usable: Mapping[str, np.ndarray],
    patience: int,
    valid: np.ndarray | None,
) -> str:
    """Return all that a checkpoint depends on, as JSON."""
    settings = json.dumps(
        schedule.to_dict() | {task: tracks.tolist() for task, tracks in usable.items()}
    )
    if not patience:  # so that checkpoints of training without it stay valid
        return settings
    return json.dumps([settings, patience, np.asarray(valid).tolist()])


def _train_epoch(
    model: TaskModel,
    examples: TrackDataset,
    steps: Mapping[str, Step],
    usable: Mapping[str, np.ndarray],
    schedule: TrainConfig,
    epoch: int,
    n_epochs: int,
) -> float:
    """Train one task for one epoch and return its mean loss.

    All randomness of an epoch follows from the seed and its number: a checkpoint stores no other
    state of it.
    """
    seed = schedule.seed * 1_000_003 + epoch
    generator = torch.Generator().manual_seed(seed)
    model.reseed(seed)
    task = list(usable)[int(torch.randint(len(usable), (1,), generator=generator))]
    starts, order = examples.epoch(
        torch.from_numpy(usable[task]), generator, every_window=schedule.every_window
    )
    model.train()
    loss = torch.zeros((), device=examples.device)
    for at, batch, first in zip(
        starts.to(examples.rows.device).split(schedule.batch_size),
        order.to(examples.device).split(schedule.batch_size),
        range(0, len(order), schedule.batch_size),
        strict=True,
    ):
        if len(batch) == 1:  # batch normalisation needs more than one
            continue
        if schedule.one_cycle:
            steps[task].slow_down(schedule.share((epoch + first / len(order)) / n_epochs))
        loss += steps[task](at, batch) * len(batch) / len(order)
    return float(loss)


def best_entry(history: Sequence[Mapping[str, Any]], criterion: str = "g_log_loss") -> int:
    """Return the index of the validation with the lowest score, the first of equals."""
    return int(np.argmin([entry[criterion] for entry in history]))


def _copy_of_state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _validate(
    model: TaskModel, examples: TrackDataset, targets: Mapping[str, np.ndarray], valid: np.ndarray
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


def train_networks(
    segments: SegmentDataset,
    targets: Mapping[str, np.ndarray],
    schedule: TrainConfig,
    *,
    train: np.ndarray,
    valid: np.ndarray | None = None,
    shared: bool = True,
    width: float = 1.0,
    frames_pooled: int = 1,
    checkpoints: Path | None = None,
    progress: bool = True,
) -> list[MultiTaskNet]:
    """Train one MTN over all tasks of `targets`, or (``shared=False``) one STN for each.

    See `fit` for the parameters. `checkpoints` is a folder; for `width` and `frames_pooled` see
    `MultiTaskNet`.
    """
    groups = [tuple(targets)] if shared else [(task,) for task in targets]
    networks = []
    for tasks in groups:
        name = "".join(tasks)
        torch.manual_seed(schedule.seed)
        sizes = {task: targets[task].shape[1] for task in tasks}
        network = MultiTaskNet(sizes, width, frames_pooled)
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


@torch.no_grad()
def extract_features(
    networks: Iterable[MultiTaskNet],
    segments: SegmentDataset,
    *,
    bfloat16: bool = False,
    progress: bool = True,
) -> FeatureDataset:
    """Transfer features of every window of every track, from frozen networks.

    On a GPU they are kept in half precision: five networks' of FMA-medium take 4 GB.
    """
    networks = list(networks)
    device = segments.device
    counts = segments.n_windows(range(len(segments)))
    width = sum(network.n_features for network in networks)
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    rows = torch.empty(sum(counts), width, dtype=dtype, device=device)
    done = 0
    with (
        autocast(device, bfloat16),
        tqdm(
            total=len(segments), desc="features", unit="track", disable=not progress, leave=False
        ) as bar,
    ):
        for group in _groups(range(len(segments)), device):
            for part in segments.windows(*group).split(WINDOWS_AT_ONCE[device.type]):
                found = torch.cat([network.features(part) for network in networks], dim=1)
                rows[done : done + len(part)] = found
                done += len(part)
            bar.update(len(group))
    return FeatureDataset(PackedRows(rows, counts), dtype=dtype, device=device)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread in a ``with`` statement.

    Steps of MLPs are too small to be worth a second one, and would wait for it at every product
    where another program keeps a core busy: with two cores and one of them busy twice as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def train_transfer(
    features: FeatureDataset,
    targets: np.ndarray,
    schedule: TrainConfig,
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
