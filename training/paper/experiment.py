"""One split, one recipe, one seed: the networks of any cases, and the MLPs upon their features.

A network is trained once and serves every case that has it: the single-task networks of five tasks
serve 31 cases. `training.paper.run` and `training.paper.leak` both train here.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from agf_core.constants import N_GROUPS
from agf_core.data.tracks import Track, genre_targets
from agf_core.train.amp import has_bfloat16
from agf_core.train.checkpoints import read_history
from agf_core.train.dataset import FeatureDataset, SegmentDataset, SideBySide
from agf_core.train.loop import (
    Watch,
    extract_features,
    ignore_progress,
    predict,
    train_networks,
    train_transfer,
)
from agf_core.train.networks import GenreNet, MultiTaskNet, TransferMLP, count_parameters
from training.errors import RunError
from training.paper.cases import TASKS, Case, wide_multiplier
from training.paper.progress import Follower
from training.paper.stacked_mlp import train_transfers
from training.recipes import Recipe
from training.splits import Split, places

FOLLOWED = {"name", "tasks", "shared", "width", "frames_pooled", "input", "networks", "transfer"}
"""What cases do of a recipe; tasks and shared are their own."""


def check_recipe(recipe: Recipe) -> None:
    """Make sure that cases can be trained by a recipe.

    Raises
    ------
    RunError
        When it has more than networks of a branch per task and a transfer MLP.
    """
    plain = Recipe(recipe.name)
    extra = [
        f.name
        for f in fields(Recipe)
        if f.name not in FOLLOWED and getattr(recipe, f.name) != getattr(plain, f.name)
    ]
    if extra:
        raise RunError(
            f"the paper's cases cannot be trained by the recipe {recipe.name}, which has"
            f" {', '.join(extra)}; take --recipe paper"
        )


def width_of(case: Case, recipe: Recipe, n_genres: int) -> float:
    """Return the factor on the channels of a case's networks."""
    if not case.wide:
        return recipe.width
    sizes = dict.fromkeys(TASKS[: case.wide], N_GROUPS) | {"g": n_genres}
    return wide_multiplier(n_genres, count_parameters(MultiTaskNet(sizes, recipe.width)))


def checkpoint_of(folder: Path, tasks: str, case: Case, width: float) -> Path:
    """Return where a network of a case is kept below a folder."""
    folder = folder / ("shuffled" if case.shuffled else "")
    if case.wide:
        folder /= f"width-{width}"
    return folder / f"network-{tasks}.safetensors"


class Experiment:
    """Train cases on the training set of a split alone.

    Parameters
    ----------
    tracks : sequence of Track
    segments : Segments
        Of all tracks, with the normaliser of the training set.
    genres : sequence of str
    recipe : Recipe
        Its tasks and `shared` do not matter: cases have their own.
    split : Split
        Training and test tracks.
    targets : callable
        Returns the targets of a task, (n_tracks, n_classes), from its letter and whether the
        training tracks' artists are shuffled.
    folder : Path
        For the networks' checkpoints.
    watched : np.ndarray [dtype=int], optional
        Tracks to score on the way.
    stream : bool
        Leave features on the disk, as long as this is there.
    progress : bool
        Show it.

    Raises
    ------
    RunError
        See `check_recipe`.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        segments: SegmentDataset,
        genres: Sequence[str],
        recipe: Recipe,
        split: Split,
        targets: Callable[[str, bool], np.ndarray],
        folder: Path,
        *,
        watched: np.ndarray | None = None,
        stream: bool = False,
        progress: bool = True,
    ) -> None:
        check_recipe(recipe)
        self.tracks, self.segments, self.genres = tracks, segments, genres
        self.recipe, self.split, self.folder = recipe, split, folder
        self.watched, self.progress = watched, progress
        self.labelled = np.array([i for i, track in enumerate(tracks) if track.genre])
        self._labelled_segments = segments.subset(self.labelled)
        self._genre_of = genre_targets([tracks[i] for i in self.labelled], genres)
        self.targets = cache(targets)
        self.stream = stream
        self._scratch: TemporaryDirectory[str] | None = None
        self._features: dict[Path, FeatureDataset] = {}

    def width(self, case: Case) -> float:
        """Return the factor on the channels of a case's networks."""
        return width_of(case, self.recipe, len(self.genres))

    def followed(self, case: Case) -> Recipe:
        """Return the recipe as a case is trained by it, on the device that is there."""
        networks = self.recipe.networks
        computes = networks.bfloat16 and has_bfloat16(self.segments.device)
        return replace(
            self.recipe,
            tasks=case.tasks,
            shared=case.shared,
            width=self.width(case),
            networks=replace(networks, bfloat16=computes),
            transfer=replace(self.recipe.transfer, bfloat16=False, muon=0.0),
        )

    def network(self, tasks: str, case: Case) -> MultiTaskNet:
        """Train a network of a case, or go on from its checkpoint, which may be its end."""
        (network,) = train_networks(
            self.segments,
            {task: self.targets(task, case.shuffled) for task in tasks},
            self.recipe.networks,
            train=self.split.train,
            valid=self.watched,
            width=self.width(case),
            frames_pooled=self.recipe.frames_pooled,
            checkpoints=self.checkpoint(tasks, case).parent,
            progress=self.progress,
            watch=Follower(
                self.checkpoint(tasks, case), tasks, len(tasks) * self.recipe.networks.epochs
            ),
        )
        return network

    def networks(self, case: Case) -> list[MultiTaskNet]:
        """Return a case's networks, trained."""
        return [self.network(tasks, case) for tasks in case.networks]

    def curves(self, case: Case) -> dict[str, list[dict[str, Any]]]:
        """Return what `fit` has noted of each network of a case, by its tasks."""
        return {tasks: read_history(self.checkpoint(tasks, case)) for tasks in case.networks}

    def features(self, case: Case) -> FeatureDataset:
        """Return the transfer features of a case, of the tracks that have a genre."""
        made = {tasks: self.checkpoint(tasks, case) for tasks in case.networks}
        for tasks, checkpoint in made.items():
            if checkpoint not in self._features:
                self._features[checkpoint] = extract_features(
                    [self.network(tasks, case)],
                    self._labelled_segments,
                    bfloat16=self.recipe.networks.bfloat16,
                    progress=self.progress,
                    file=self._file(checkpoint),
                )
        return SideBySide([self._features[checkpoint] for checkpoint in made.values()])

    def _file(self, checkpoint: Path) -> Path | None:
        """Return where the features of a network are put, unless there is memory for them."""
        if not self.stream:
            return None
        if self._scratch is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._scratch = TemporaryDirectory(dir=self.folder, prefix="features-")
        return Path(self._scratch.name) / f"{len(self._features)}-{checkpoint.stem}.npy"

    def transfer(
        self,
        case: Case,
        *,
        also: Sequence[int] | np.ndarray = (),
        checkpoint: Path | None = None,
    ) -> TransferMLP:
        """Train the MLP of a case.

        Parameters
        ----------
        also : sequence of int
            Training tracks besides those of the training set: see `training.paper.leak`.
        """
        train = np.union1d(self.split.train, np.asarray(also, int))
        return train_transfer(
            self.features(case),
            self._genre_of,
            self.recipe.transfer,
            train=places(train, self.labelled),
            checkpoint=checkpoint,
            progress=self.progress,
            watch=self._follower(checkpoint),
        )

    def transfers(
        self, cases: Sequence[Case], *, checkpoint: Path | None = None
    ) -> tuple[list[TransferMLP], list[dict[str, Any]]]:
        """Train the MLPs of several STN cases side by side; see `train_transfers`."""
        tasks = "".join(t for t in TASKS if any(t in case.tasks for case in cases))
        features = self.features(Case(tasks))
        each = features.n_features // len(tasks)
        columns = {task: np.arange(i * each, (i + 1) * each) for i, task in enumerate(tasks)}
        return train_transfers(
            features,
            [np.concatenate([columns[task] for task in case.tasks]) for case in cases],
            self._genre_of,
            self.recipe.transfer,
            train=places(self.split.train, self.labelled),
            checkpoint=checkpoint,
            progress=self.progress,
            watch=self._follower(checkpoint),
        )

    def _follower(self, checkpoint: Path | None) -> Watch:
        if checkpoint is None:
            return ignore_progress
        return Follower(checkpoint, "transfer", self.recipe.transfer.epochs)

    def predict(self, case: Case, mlp: TransferMLP) -> np.ndarray:
        """Return probabilities before any temperature, (n_tracks, n_genres).

        NaN for all but the tracks of the calibration and the test sets.
        """
        predicted = np.concatenate([self.split.calibration, self.split.test])
        raw = np.full((len(self.tracks), len(self.genres)), np.nan)
        raw[predicted] = predict(mlp, self.features(case), places(predicted, self.labelled))
        return raw

    def whole(self, case: Case, mlp: TransferMLP) -> GenreNet:
        """Return a case's networks and MLP as one."""
        return GenreNet(self.networks(case), mlp)

    def checkpoint(self, tasks: str, case: Case) -> Path:
        """Return where `agf_core.train.loop.train_networks` keeps a network of a case."""
        return checkpoint_of(self.folder, tasks, case, self.width(case))
