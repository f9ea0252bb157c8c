"""A model of one's own: what a trained model knows, taught the genres of one collection of music.

The networks go on from where they are, with new heads (`agf_core.finetune.heads`); then the
transfer MLP goes on; then the temperature is fitted. How good the outcome is on artists it has
not met is found by doing all of it without some of the artists, and asking about them
(`agf_core.evaluation`). What a collection is learnt from is chosen by `agf_core.data.sampling`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from agf_core import calibration
from agf_core.bundle import format as bundle_format
from agf_core.data.sampling import votes
from agf_core.data.splits import artist_folds
from agf_core.data.tracks import Track, genre_targets
from agf_core.finetune.heads import namesakes, personal_network
from agf_core.finetune.held_out import HeldOut
from agf_core.groups.codebook import Observations
from agf_core.groups.lda import ArtistGroups, group_targets
from agf_core.label_shift import training_prior
from agf_core.train.config import TrainConfig
from agf_core.train.dataset import FeatureDataset, SegmentDataset
from agf_core.train.loop import best_entry, extract_features, fit, one_thread, predict
from agf_core.train.networks import GenreNet, MultiTaskNet, TransferMLP

TEMPERATURE_PRIOR = 25  # tracks that the temperature of the model to begin with counts as


@dataclass(frozen=True)
class FineTuneConfig:
    """How a model is made one's own; the defaults are those of docs/guide/your-genres.md.

    Attributes
    ----------
    networks : Schedule or None
        Of the networks, its epochs for each task; None leaves them as they are.
    transfer : Schedule
        Of the transfer MLP.
    patience : int
        Validations without a lower log loss, on artists kept back for it, after which both stop.
    folds : int
        Parts into which artists are split.
    all_folds_up_to : int
        Tracks up to which every part is tested on, and only the first with more of them.
    kept_back : int
        One in so many of the artists learnt from says when to stop, and fits the temperature.
    validated_on : int
        One in so many windows of theirs is heard to say when the networks are to stop.
    """

    networks: TrainConfig | None = field(
        default_factory=lambda: TrainConfig(
            epochs=30, batch_size=32, learning_rate=3e-4, bfloat16=True, validate_every=3
        )
    )
    transfer: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            epochs=80, batch_size=32, learning_rate=3e-4, validate_every=5
        )
    )
    patience: int = 3
    folds: int = 5
    all_folds_up_to: int = 500
    kept_back: int = 5
    validated_on: int = 3


@dataclass(frozen=True, eq=False)
class TrainingData:
    """All that is learnt from.

    Attributes
    ----------
    tracks : list of Track
        First those that teach: their genre is one of `genres`; then those that feed the artist
        groups alone, whose genre does not count.
    genres : tuple of str
    features : Features
        Of the teaching tracks, by the networks as they are (`agf_core.finetune.frozen_features`).
    segments : Segments or None
        Of all tracks; None where networks are left as they are.
    described : sequence of Track
        What artist groups are made of: more tracks than there is memory for, if need be.
    observations : mapping
        Of the described tracks, per task of artist groups.
    """

    tracks: list[Track]
    genres: tuple[str, ...]
    features: FeatureDataset
    segments: SegmentDataset | None = None
    described: Sequence[Track] = ()
    observations: Mapping[str, Observations] = field(default_factory=dict)

    @property
    def n_teaching(self) -> int:
        """How many tracks teach genres."""
        return len(self.features)


@dataclass(frozen=True, eq=False)
class FineTuned:
    """What came of learning from some of the tracks.

    Attributes
    ----------
    network : GenreNet
    groups : dict of ArtistGroups
        By task.
    features : Features
        Of the teaching tracks, by `network`.
    epochs : tuple of int
        That networks and MLP took to be at their best.
    """

    network: GenreNet
    groups: dict[str, ArtistGroups]
    features: FeatureDataset
    epochs: tuple[int, int]

    def predict(self, tracks: np.ndarray) -> np.ndarray:
        """Probabilities before any temperature, (n_tracks, n_genres)."""
        return predict(self.network.mlp, self.features, tracks.tolist())


class FineTuner:
    """Makes a trained model one's own.

    Parameters
    ----------
    model : bundle.Bundle
        What to begin with.
    start : GenreNet
        Its network.
    material : Material
    plan : Plan
    counterparts : mapping
        What a label of the model is called here, where it has another name than its own.
    work : Path, optional
        Where checkpoints are kept: learning that was stopped goes on from there. To be emptied when
        anything else of these parameters changes.
    announce : callable
        Is told each phase in a few words, and how many seconds are left as far as that is known.
    progress : bool
        Whether bars are shown.
    """

    def __init__(
        self,
        model: bundle_format.Bundle,
        start: GenreNet,
        material: TrainingData,
        plan: FineTuneConfig,
        *,
        counterparts: Mapping[str, str] | None = None,
        work: Path | None = None,
        announce: Callable[[str, float | None], None] = lambda phase, left: None,
        progress: bool = False,
    ) -> None:
        self.model, self.start, self.material, self.plan = model, start, material, plan
        self.work, self.announce, self.progress = work, announce, progress
        self._seconds: float | None = None  # that learning takes
        labels = model.metadata.labels
        self._called = [(counterparts or {}).get(label, label) for label in labels]
        teaching = material.tracks[: material.n_teaching]
        self._truth = np.array([material.genres.index(track.genre) for track in teaching])
        self._votes = votes(teaching)
        every_genre = genre_targets(teaching, material.genres) * self._votes[:, None]
        rest = len(material.tracks) - len(teaching)
        self._targets = np.pad(every_genre, ((0, rest), (0, 0)), constant_values=np.nan)
        self._folds = artist_folds(
            [
                t if i < len(teaching) else replace(t, genre="")
                for i, t in enumerate(material.tracks)
            ],
            plan.folds,
        )

    @property
    def prior(self) -> np.ndarray:
        """Share of each genre in what teaches, where an album counts as one track."""
        return training_prior(self._targets)

    def hold_out(self) -> HeldOut:
        """Find out how good a personal model is on artists it has not met."""
        n = self.material.n_teaching
        tested = [fold for fold in range(self.plan.folds) if (self._folds[:n] == fold).any()]
        if self.plan.networks is not None and n > self.plan.all_folds_up_to:
            tested = tested[:1]
        parts = []
        began = time.monotonic()
        for i, fold in enumerate(tested):
            left = (time.monotonic() - began) / i * (len(tested) - i + 1) if i else None
            which = f" ({i + 1} of {len(tested)})" if len(tested) > 1 else ""
            self.announce(f"learning without some of the artists, to be asked about{which}", left)
            rest = np.flatnonzero(self._folds != fold)
            parts.append(self.ask(np.flatnonzero(self._folds[:n] == fold), rest, f"fold-{fold}"))
        self._seconds = (time.monotonic() - began) / len(tested)
        if len(parts) > 1:
            parts = self._cross_calibrated(parts)
        return HeldOut.of(parts)

    def _cross_calibrated(self, parts: Sequence[HeldOut]) -> list[HeldOut]:
        """Give each part the temperature of the others: there are more of them than kept back."""
        sizes = [len(part.truth) for part in parts]
        final, _ = calibration.cross_calibrate(
            np.concatenate([part.raw for part in parts]),
            np.concatenate([part.truth for part in parts]),
            np.repeat(np.arange(len(parts)), sizes),
            fit=self._temperature,
        )
        each = np.split(final, np.cumsum(sizes)[:-1])
        return [replace(part, personal=own) for part, own in zip(parts, each, strict=True)]

    def ask(self, asked: np.ndarray, rest: np.ndarray, name: str = "ask") -> HeldOut:
        """Learn from some of the tracks and predict others, by other artists.

        Parameters
        ----------
        asked : np.ndarray [dtype=int]
            Indices of teaching tracks to predict.
        rest : np.ndarray [dtype=int]
            Indices of tracks to learn from; some of their artists are kept back to say when to
            stop and to fit the temperature.
        name : str
            Of the checkpoints.
        """
        n = self.material.n_teaching
        inner = artist_folds(
            [
                replace(track, genre=track.genre if i < n else "")
                for i, track in ((i, self.material.tracks[i]) for i in rest.tolist())
            ],
            self.plan.kept_back,
        )
        kept_back, learning = rest[(inner == 0) & (rest < n)], rest[inner != 0]
        taught = learning[learning < n]
        learnt = self.learn(learning, kept_back, name=name)
        temperature = self._temperature(learnt.predict(kept_back), self._truth[kept_back])
        raw = learnt.predict(asked)
        common = np.zeros_like(raw)
        common[:, np.bincount(self._truth[taught], self._votes[taught]).argmax()] = 1
        return HeldOut(
            asked,
            self._truth[asked],
            raw,
            calibration.apply_temperature(raw, temperature),
            self.before(taught, asked),
            common,
            learnt.epochs,
        )

    def finish(self, held_out: HeldOut) -> tuple[FineTuned, float]:
        """Learn from everything, for as long as was best, and fit the temperature.

        Returns
        -------
        learnt : Learnt
        temperature : float
            That of `held_out`: there is no artist left to fit another on.
        """
        self.announce("learning from everything", self._seconds)
        everything = np.arange(len(self.material.tracks))
        learnt = self.learn(everything, None, epochs=held_out.epochs, name="everything")
        return learnt, self._temperature(held_out.raw, held_out.truth)

    def _temperature(self, probabilities: np.ndarray, truth: np.ndarray) -> float:
        """Fit a temperature; the fewer the tracks, the nearer it stays to that of the model."""
        share = len(truth) / (len(truth) + TEMPERATURE_PRIOR)
        fitted = calibration.fit_temperature(probabilities, truth)
        return float(fitted**share * self.model.metadata.temperature ** (1 - share))

    def learn(
        self,
        learning: np.ndarray,
        kept_back: np.ndarray | None,
        *,
        epochs: tuple[int, int] | None = None,
        name: str = "",
    ) -> FineTuned:
        """Learn from some of the tracks.

        Parameters
        ----------
        learning : np.ndarray [dtype=int]
            Indices of the tracks.
        kept_back : np.ndarray [dtype=int] or None
            Teaching tracks by other artists, which say when to stop.
        epochs : tuple of int, optional
            Of networks and MLP, where there is no `kept_back`.
        name : str
            Of the checkpoints.
        """
        material, plan = self.material, self.plan
        torch.manual_seed(plan.transfer.seed)
        targets: dict[str, np.ndarray] = {"g": self._targets}
        groups: dict[str, ArtistGroups] = {}
        if plan.networks is not None:
            for task in material.observations:
                groups[task], targets[task] = self._groups(task, learning, plan.networks.seed)
        network = personal_network(
            self.start,
            self._called,
            material.genres,
            {task: found.n_groups for task, found in groups.items()},
        )
        features, network_epochs = material.features, 0
        if plan.networks is not None and material.segments is not None:
            for i, net in enumerate(network.networks):
                net = cast(MultiTaskNet, net)
                wanted = {task: targets[task] for task in net.tasks if task in targets}
                if not wanted:
                    continue
                schedule = replace(
                    plan.networks, validate_every=plan.networks.validate_every * len(wanted)
                )
                took = self._fit(
                    net,
                    material.segments.thinned(plan.validated_on),
                    wanted,
                    _for_epochs(schedule, epochs and epochs[0] / len(wanted)),
                    learning,
                    kept_back,
                    f"{name}-network-{i}",
                )
                network_epochs = max(network_epochs, took)
            teaching = material.segments.subset(np.arange(material.n_teaching))
            features = extract_features(
                cast(list[MultiTaskNet], [net.eval() for net in network.networks]),
                teaching,
                bfloat16=plan.networks.bfloat16,
                progress=self.progress,
            )
        with one_thread():
            mlp_epochs = self._fit(
                network.mlp,
                features,
                {"g": self._targets[: material.n_teaching]},
                _for_epochs(plan.transfer, epochs and epochs[1]),
                learning[learning < material.n_teaching],
                kept_back,
                f"{name}-transfer",
            )
        return FineTuned(network.eval(), groups, features, (network_epochs, mlp_epochs))

    def _groups(
        self, task: str, learning: np.ndarray, seed: int
    ) -> tuple[ArtistGroups, np.ndarray]:
        """Find groups without the artists that are not learnt from; return every track's target."""
        material = self.material
        rest = np.setdiff1d(np.arange(len(material.tracks)), learning)
        held_out = {material.tracks[i].artist for i in rest}
        artists = [track.artist for track in material.described]
        train = np.array([i for i, artist in enumerate(artists) if artist not in held_out])
        found, rows = group_targets(task, material.observations[task], artists, train, seed=seed)
        of_artist = dict(zip(artists, rows, strict=True))
        return found, np.stack([of_artist[track.artist] for track in material.tracks])

    def _fit(
        self,
        model: MultiTaskNet | TransferMLP,
        examples: SegmentDataset | FeatureDataset,
        targets: Mapping[str, np.ndarray],
        schedule: TrainConfig,
        learning: np.ndarray,
        kept_back: np.ndarray | None,
        name: str,
    ) -> int:
        """Train and return after how many epochs it was at its best."""
        if schedule.epochs == 0:
            return 0
        history = fit(
            model,
            examples,
            targets,
            schedule,
            train=learning,
            valid=kept_back,
            patience=0 if kept_back is None else self.plan.patience,
            checkpoint=self.work / f"{name}.safetensors" if self.work else None,
            title="networks" if isinstance(model, MultiTaskNet) else "last layers",
            progress=self.progress,
        )
        best = -1 if kept_back is None else best_entry(history, f"{next(iter(targets))}_log_loss")
        return int(history[best]["epoch"])

    def before(self, taught: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """What the model that was begun with says, in the words of this collection.

        A label counts as the genre of its name here. One that has none here counts as the genres
        that teaching tracks have in the proportion in which it is heard in them.

        Parameters
        ----------
        taught, asked : np.ndarray [dtype=int]
            Indices of teaching tracks.

        Returns
        -------
        np.ndarray [shape=(n_asked, n_genres), dtype=float64]
        """
        temperature = self.model.metadata.temperature

        def heard(tracks: np.ndarray) -> np.ndarray:
            raw = predict(self.start.mlp, self.material.features, tracks.tolist())
            return calibration.apply_temperature(raw, temperature)

        genres = self.material.genres
        one_hot = np.eye(len(genres))[self._truth[taught]] * self._votes[taught][:, None]
        words = heard(taught).T @ one_hot  # (n_labels, n_genres)
        words /= words.sum(axis=1, keepdims=True)
        for label, genre in enumerate(namesakes(genres, self._called)):
            if genre is not None:
                words[label] = np.eye(len(genres))[genre]
        mapped: np.ndarray = heard(asked) @ words
        return mapped


def _for_epochs(schedule: TrainConfig, epochs: float | None) -> TrainConfig:
    return schedule if epochs is None else replace(schedule, epochs=round(epochs))


def recipe(plan: FineTuneConfig, model: bundle_format.Bundle) -> dict[str, Any]:
    """Return how a personal model was made, for its ``model.json``."""
    return {"name": "personal", "begun_with": model.model_id, **asdict(plan)}
