"""Train networks on segments (section 3.2.4), then the transfer MLP on their features.

One loop (`fit`) trains both. It is seeded, runs on CPU or GPU, shows loss and validation scores,
and resumes from its checkpoint with the same result as without a stop.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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

# Sizes of a forward pass. On a CPU larger activations cost more to allocate than to compute; a GPU
# needs large batches.
WINDOWS_AT_ONCE = {"cpu": 64, "cuda": 4096}
TRACKS_AT_ONCE = {"cpu": 1, "cuda": 64}


Watch = Callable[[float, Sequence[Mapping[str, Any]]], None]


def ignore_progress(done: float, history: Sequence[Mapping[str, Any]]) -> None:
    """Watch a training without doing anything; see `fit`."""


@torch.inference_mode()
def predict(
    model: TaskModel, data: TrackDataset, tracks: Iterable[int], task: str = "g"
) -> np.ndarray:
    """Predict probabilities of tracks, averaged over windows (or from averaged logits).

    Returns
    -------
    np.ndarray [shape=(n_tracks, n_classes), dtype=float64]
    """
    model.eval()
    rows: list[Tensor] = []
    for group in _groups(tracks, data.device):
        parts = data.windows(*group).split(WINDOWS_AT_ONCE[data.device.type])
        logits = torch.cat([model(part, task) for part in parts])
        for track in logits.split(data.n_windows(group)):
            if model.averages_logits:
                track = track.mean(dim=0, keepdim=True)
            rows.append(track.softmax(dim=1).mean(dim=0))
    return torch.stack(rows).double().cpu().numpy()


def _groups(tracks: Iterable[int], device: torch.device) -> Iterator[list[int]]:
    """Yield the tracks in groups for one forward pass."""
    left = iter(tracks)
    while group := [int(t) for t in islice(left, TRACKS_AT_ONCE[device.type])]:
        yield group


def fit(
    model: TaskModel,
    data: TrackDataset,
    targets: Mapping[str, np.ndarray],
    config: TrainConfig,
    *,
    train: np.ndarray,
    valid: np.ndarray | None = None,
    auxiliary: np.ndarray | None = None,
    patience: int = 0,
    checkpoint: Path | None = None,
    title: str = "training",
    progress: bool = True,
    watch: Watch = ignore_progress,
) -> list[dict[str, Any]]:
    """Train `model` in place.

    Each epoch draws one of the tasks (equal chance) and trains it on every training track with a
    target: one random example of each, or all its windows (`TrainConfig.every_window`). Adam keeps
    a state per task.

    Parameters
    ----------
    model : TaskModel
    data : TrackDataset
        Of all tracks.
    targets : mapping of np.ndarray [shape=(n_tracks, n_classes)]
        Per task, a distribution over its classes for every track; a row of NaN where there is none.
    train, valid : np.ndarray [dtype=int]
        Indices of tracks; the validation split `valid` is scored, never trained on.
    auxiliary : np.ndarray [shape=(n_tracks, n_more)], optional
        Further targets of every track, which the loss of `model` gets behind those of each task
        (`agf_core.finetune.auxiliary`); they are not scored.
    patience : int
        Stop after so many validations without a lower log loss of the first task, the only one
        scored then; `model` gets its best state, which may be that before the first epoch. 0 trains
        to the end. Needs `valid`.
    checkpoint : Path, optional
        Written at every validation; where it exists, training resumes from it.
    title : str
        Title of the progress bar.
    watch : callable
        Called before each step, and after the last, with the epochs done and the history so far.

    Returns
    -------
    list of dict
        One entry per validation: epoch, loss and, with `valid`, scores per task.

    Raises
    ------
    CheckpointError
        When the checkpoint is damaged, has other settings, or cannot be written.
    ValueError
        When a task has fewer than two training tracks with a target.
    """
    if patience and valid is None:
        raise ValueError("patience needs a validation split")
    usable = _with_targets(targets, train)
    optimisers = {task: optimisers_of(model, task, config, data.device) for task in targets}
    steps = _steps(model, data, targets, auxiliary, optimisers, config)
    tasks = list(targets)
    n_epochs = config.epochs * len(tasks)
    scored = {tasks[0]: targets[tasks[0]]} if patience else targets
    criterion = f"{tasks[0]}_log_loss"
    kept = {n + task: o for task, several in optimisers.items() for n, o in several.items()}
    settings = _settings(config, usable, patience, valid)
    history: list[dict[str, Any]] = []
    best: dict[str, Tensor] = {}
    if checkpoint is not None and checkpoint.exists():
        history, best = checkpoints.load(checkpoint, model, kept, settings)
    elif patience and valid is not None:
        history = [{"epoch": 0} | _validate(model, data, scored, valid)]
        best = _copy_of_state(model)
    done = history[-1]["epoch"] if history else 0
    watch(done, history)

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
        losses.append(
            _train_epoch(
                model,
                data,
                steps,
                usable,
                config,
                epoch,
                n_epochs,
                lambda done: watch(done, history),
            )
        )
        if (epoch + 1) % config.validate_every and epoch + 1 < n_epochs:
            continue
        entry: dict[str, Any] = {"epoch": epoch + 1, "loss": float(np.mean(losses))}
        losses = []
        if valid is not None:
            entry |= _validate(model, data, scored, valid)
        history.append(entry)
        bar.set_postfix({k: f"{v:.3f}" for k, v in entry.items() if k != "epoch"})
        if patience and best_entry(history, criterion) == len(history) - 1:
            best = _copy_of_state(model)
        if checkpoint is not None:
            checkpoints.save(checkpoint, model, best, kept, settings, history)
        watch(epoch + 1, history)
    if patience:
        model.load_state_dict(best)
    return history


def _with_targets(targets: Mapping[str, np.ndarray], train: np.ndarray) -> dict[str, np.ndarray]:
    """Return the training tracks with a target, per task; raise `ValueError` for fewer than 2."""
    usable = {task: train[~np.isnan(rows[train]).any(axis=1)] for task, rows in targets.items()}
    for task, tracks in usable.items():
        if len(tracks) < 2:
            raise ValueError(f"task {task} has {len(tracks)} training tracks; it needs two or more")
    return usable


def _steps(
    model: TaskModel,
    data: TrackDataset,
    targets: Mapping[str, np.ndarray],
    auxiliary: np.ndarray | None,
    optimisers: Mapping[str, Mapping[str, torch.optim.Optimizer]],
    config: TrainConfig,
) -> dict[str, Step]:
    if auxiliary is not None:
        targets = {task: np.hstack([rows, auxiliary]) for task, rows in targets.items()}
    return {
        task: Step(
            model,
            task,
            data,
            torch.as_tensor(rows, dtype=torch.float32).to(data.device),
            list(optimisers[task].values()),
            batch_size=config.batch_size,
            bfloat16=config.bfloat16,
        )
        for task, rows in targets.items()
    }


def _settings(
    config: TrainConfig,
    usable: Mapping[str, np.ndarray],
    patience: int,
    valid: np.ndarray | None,
) -> str:
    """Return all that a checkpoint depends on, as JSON."""
    settings = json.dumps(
        config.to_dict() | {task: tracks.tolist() for task, tracks in usable.items()}
    )
    if not patience:  # so that older checkpoints stay valid
        return settings
    return json.dumps([settings, patience, np.asarray(valid).tolist()])


def _train_epoch(
    model: TaskModel,
    data: TrackDataset,
    steps: Mapping[str, Step],
    usable: Mapping[str, np.ndarray],
    config: TrainConfig,
    epoch: int,
    n_epochs: int,
    moved: Callable[[float], None],
) -> float:
    """Train one task for one epoch and return its mean loss; call `moved` before each step.

    All randomness of an epoch follows from the seed and its number, so that a checkpoint need not
    store the state of generators.
    """
    seed = config.seed * 1_000_003 + epoch
    generator = torch.Generator().manual_seed(seed)
    model.reseed(seed)
    task = list(usable)[int(torch.randint(len(usable), (1,), generator=generator))]
    starts, order = data.epoch(
        torch.from_numpy(usable[task]), generator, every_window=config.every_window
    )
    model.train()
    loss = torch.zeros((), device=data.device)
    for at, batch, first in zip(
        starts.to(data.rows.device).split(config.batch_size),
        order.to(data.device).split(config.batch_size),
        range(0, len(order), config.batch_size),
        strict=True,
    ):
        moved(epoch + first / len(order))
        if len(batch) == 1:  # batch normalisation needs more than one
            continue
        if config.one_cycle:
            steps[task].scale_rates(config.share((epoch + first / len(order)) / n_epochs))
        loss += steps[task](at, batch) * len(batch) / len(order)
    return float(loss)


def best_entry(history: Sequence[Mapping[str, Any]], criterion: str = "g_log_loss") -> int:
    """Return the index of the validation with the lowest score, the first of ties."""
    return int(np.argmin([entry[criterion] for entry in history]))


def _copy_of_state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _validate(
    model: TaskModel, data: TrackDataset, targets: Mapping[str, np.ndarray], valid: np.ndarray
) -> dict[str, float]:
    """Score `valid` per task: cross-entropy with the target, and accuracy of its largest entry."""
    scores = {}
    for task, rows in targets.items():
        tracks = valid[~np.isnan(rows[valid]).any(axis=1)]
        if len(tracks) == 0:
            continue
        probabilities = predict(model, data, tracks, task)
        truth = rows[tracks]
        scores[f"{task}_log_loss"] = float(
            -(truth * np.log(np.maximum(probabilities, metrics.SMALLEST_PROBABILITY)))
            .sum(axis=1)
            .mean()
        )
        scores[f"{task}_accuracy"] = metrics.accuracy(probabilities, truth.argmax(axis=1))
    return scores


def train_networks(
    segments: SegmentDataset,
    targets: Mapping[str, np.ndarray],
    config: TrainConfig,
    *,
    train: np.ndarray,
    valid: np.ndarray | None = None,
    shared: bool = True,
    width: float = 1.0,
    frames_pooled: int = 1,
    checkpoints: Path | None = None,
    progress: bool = True,
    watch: Watch = ignore_progress,
) -> list[MultiTaskNet]:
    """Train one MTN over all tasks of `targets`, or (``shared=False``) one STN for each.

    See `fit` for the parameters. `checkpoints` is a folder; for `width` and `frames_pooled` see
    `MultiTaskNet`.
    """
    groups = [tuple(targets)] if shared else [(task,) for task in targets]
    networks = []
    for tasks in groups:
        name = "".join(tasks)
        torch.manual_seed(config.seed)
        sizes = {task: targets[task].shape[1] for task in tasks}
        network = MultiTaskNet(sizes, width, frames_pooled)
        network.to(segments.device)
        channels_last(network)
        fit(
            network,
            segments,
            {task: targets[task] for task in tasks},
            config,
            train=train,
            valid=valid,
            checkpoint=checkpoints / f"network-{name}.safetensors" if checkpoints else None,
            title=f"network {name}",
            progress=progress,
            watch=watch,
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
    file: Path | None = None,
) -> FeatureDataset:
    """Compute transfer features of every window of every track, from frozen networks.

    On a GPU they are stored in half precision: those of five networks and FMA-medium take 4 GB.

    Parameters
    ----------
    file : Path, optional
        Where to put them, in half precision, for lack of memory: examples are read from there.
    """
    networks = list(networks)
    device = segments.device
    counts = segments.n_windows(range(len(segments)))
    shape = sum(counts), sum(network.n_features for network in networks)
    dtype = torch.float16 if file or device.type == "cuda" else torch.float32
    if file:
        rows = torch.from_numpy(np.lib.format.open_memmap(file, "w+", np.float16, shape))
    else:
        rows = torch.empty(shape, dtype=dtype, device=device)
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
    packed = PackedRows(rows, counts)
    return FeatureDataset(packed, dtype=dtype, device=device, stream=file is not None)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread in a ``with`` statement.

    Steps of MLPs are too small for a second thread, and wait for it at every product where another
    program uses a core: with one of two cores busy they take twice as long.
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
    config: TrainConfig,
    *,
    train: np.ndarray,
    valid: np.ndarray | None = None,
    checkpoint: Path | None = None,
    progress: bool = True,
    watch: Watch = ignore_progress,
) -> TransferMLP:
    """Train the transfer MLP on features of segments (section 3.2.3); see `fit`.

    Parameters
    ----------
    targets : np.ndarray [shape=(n_tracks, n_genres)]
    """
    torch.manual_seed(config.seed)
    mlp = TransferMLP(features.n_features, targets.shape[1]).to(features.device)
    fit(
        mlp,
        features,
        {"g": targets},
        replace(config, bfloat16=False),
        train=train,
        valid=valid,
        checkpoint=checkpoint,
        title="transfer MLP",
        progress=progress,
        watch=watch,
    )
    return mlp.eval()
