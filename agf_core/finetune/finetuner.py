"""Fine-tune a trained model on the genres of a collection of music.

The networks are trained further, with new heads (`agf_core.finetune.heads`); then the transfer MLP;
then the temperature is fitted. To evaluate the result on unseen artists, the same is done without
some of the artists (`agf_core.evaluation`). `agf_core.data.sampling` chooses the training tracks.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from agf_core import calibration
from agf_core.bundle import format as bundle_format
from agf_core.data.sampling import album_weights
from agf_core.data.splits import artist_folds
from agf_core.data.tracks import genre_targets
from agf_core.finetune.auxiliary import WithGroupHeads
from agf_core.finetune.config import FineTuneConfig, TrainingData
from agf_core.finetune.heads import network_with_heads
from agf_core.finetune.held_out import HeldOut, map_to_genres
from agf_core.groups.lda import group_targets
from agf_core.label_shift import training_prior
from agf_core.train.class_head import Head
from agf_core.train.config import TrainConfig
from agf_core.train.dataset import FeatureDataset, SegmentDataset
from agf_core.train.loop import best_entry, extract_features, fit, one_thread, predict
from agf_core.train.networks import GenreNet, MultiTaskNet

GENRE = "g"
TEMPERATURE_PRIOR = 25  # tracks that the temperature of the base model counts as


@dataclass(frozen=True, eq=False)
class FineTuned:
    """A fine-tuned network.

    Attributes
    ----------
    network : GenreNet
    features : FeatureDataset
        Of the tagged tracks, by `network`.
    epochs : tuple of int
        Best epochs of networks and MLP.
    """

    network: GenreNet
    features: FeatureDataset
    epochs: tuple[int, int]

    def predict(self, tracks: np.ndarray) -> np.ndarray:
        """Predict uncalibrated probabilities of tagged tracks, (n_tracks, n_genres)."""
        return predict(self.network.mlp, self.features, tracks.tolist())


class FineTuner:
    """Fine-tune a trained model.

    Parameters
    ----------
    model : Bundle
        The base model.
    base_network : GenreNet
        Its network.
    data : TrainingData
    config : FineTuneConfig
    counterparts : mapping
        Names of labels of the model in this collection, where they differ.
    work : Path, optional
        Folder of checkpoints, from which stopped training resumes. It must be emptied when another
        parameter changes.
    announce : callable
        Called with a description of each phase, and the seconds left if known.
    progress : bool
        Whether progress bars are shown.
    """

    def __init__(
        self,
        model: bundle_format.Bundle,
        base_network: GenreNet,
        data: TrainingData,
        config: FineTuneConfig,
        *,
        counterparts: Mapping[str, str] | None = None,
        work: Path | None = None,
        announce: Callable[[str, float | None], None] = lambda phase, left: None,
        progress: bool = False,
    ) -> None:
        self.model, self.base_network = model, base_network
        self.data, self.config = data, config
        self.work, self.announce, self.progress = work, announce, progress
        self._seconds: float | None = None  # that training takes
        labels = model.metadata.labels
        self._label_names = [(counterparts or {}).get(label, label) for label in labels]
        tagged = data.tracks[: data.n_tagged]
        self._truth = np.array([data.genres.index(track.genre) for track in tagged])
        self._weights = album_weights(tagged)
        every_genre = genre_targets(tagged, data.genres) * self._weights[:, None]
        rest = len(data.tracks) - len(tagged)
        self._targets = np.pad(every_genre, ((0, rest), (0, 0)), constant_values=np.nan)
        self._folds = artist_folds(
            [t if i < len(tagged) else replace(t, genre="") for i, t in enumerate(data.tracks)],
            config.folds,
        )

    @property
    def prior(self) -> np.ndarray:
        """Share of each genre among the tagged tracks, with an album counted as one track."""
        return training_prior(self._targets)

    def hold_out(self) -> HeldOut:
        """Predict every fold by a model that is fine-tuned on the others."""
        n = self.data.n_tagged
        tested = [fold for fold in range(self.config.folds) if (self._folds[:n] == fold).any()]
        if self.config.networks is not None and n > self.config.all_folds_up_to:
            tested = tested[:1]
        folds = []
        began = time.monotonic()
        for i, fold in enumerate(tested):
            left = (time.monotonic() - began) / i * (len(tested) - i + 1) if i else None
            which = f" ({i + 1} of {len(tested)})" if len(tested) > 1 else ""
            self.announce(f"training without some of the artists, to test on them{which}", left)
            rest = np.flatnonzero(self._folds != fold)
            test = np.flatnonzero(self._folds[:n] == fold)
            folds.append(self.predict_held_out(test, rest, f"fold-{fold}"))
        self._seconds = (time.monotonic() - began) / len(tested)
        if len(folds) > 1:
            folds = self._cross_calibrated(folds)
        return HeldOut.of(folds)

    def _cross_calibrated(self, folds: Sequence[HeldOut]) -> list[HeldOut]:
        """Calibrate each fold by the others, which are larger than the validation split."""
        sizes = [len(fold.truth) for fold in folds]
        final, _ = calibration.cross_calibrate(
            np.concatenate([fold.raw for fold in folds]),
            np.concatenate([fold.truth for fold in folds]),
            np.repeat(np.arange(len(folds)), sizes),
            fit=self._temperature,
        )
        each = np.split(final, np.cumsum(sizes)[:-1])
        return [replace(fold, fine_tuned=own) for fold, own in zip(folds, each, strict=True)]

    def predict_held_out(self, test: np.ndarray, rest: np.ndarray, name: str = "unseen") -> HeldOut:
        """Fine-tune on some tracks and predict others, by other artists.

        Parameters
        ----------
        test : np.ndarray [dtype=int]
            Indices of tagged tracks to predict.
        rest : np.ndarray [dtype=int]
            Indices of tracks to train on; some of their artists form the validation split.
        name : str
            Of the checkpoints.
        """
        n = self.data.n_tagged
        inner = artist_folds(
            [
                replace(track, genre=track.genre if i < n else "")
                for i, track in ((i, self.data.tracks[i]) for i in rest.tolist())
            ],
            self.config.validation_folds,
        )
        validation, train = rest[(inner == 0) & (rest < n)], rest[inner != 0]
        train_tagged = train[train < n]
        fine_tuned = self.train(train, validation, name=name)
        temperature = self._temperature(fine_tuned.predict(validation), self._truth[validation])
        raw = fine_tuned.predict(test)
        common = np.zeros_like(raw)
        common[:, np.bincount(self._truth[train_tagged], self._weights[train_tagged]).argmax()] = 1
        return HeldOut(
            test,
            self._truth[test],
            raw,
            calibration.apply_temperature(raw, temperature),
            self.predict_base(train_tagged, test),
            common,
            fine_tuned.epochs,
        )

    def finish(self, held_out: HeldOut) -> tuple[FineTuned, float]:
        """Train on all tracks for the best number of epochs, and fit the temperature.

        Returns
        -------
        fine_tuned : FineTuned
        temperature : float
            Fitted on `held_out`, as no unseen artist is left.
        """
        self.announce("training on all tracks", self._seconds)
        everything = np.arange(len(self.data.tracks))
        fine_tuned = self.train(everything, None, epochs=held_out.epochs, name="everything")
        return fine_tuned, self._temperature(held_out.raw, held_out.truth)

    def _temperature(self, probabilities: np.ndarray, truth: np.ndarray) -> float:
        """Fit a temperature, which stays closer to that of the model with fewer tracks."""
        share = len(truth) / (len(truth) + TEMPERATURE_PRIOR)
        fitted = calibration.fit_temperature(probabilities, truth)
        return float(fitted**share * self.model.metadata.temperature ** (1 - share))

    def train(
        self,
        train: np.ndarray,
        validation: np.ndarray | None,
        *,
        epochs: tuple[int, int] | None = None,
        name: str = "",
    ) -> FineTuned:
        """Fine-tune on some of the tracks.

        Parameters
        ----------
        train : np.ndarray [dtype=int]
            Indices of the tracks.
        validation : np.ndarray [dtype=int] or None
            Tagged tracks by other artists, which decide when to stop.
        epochs : tuple of int, optional
            Of networks and MLP, without `validation`.
        name : str
            Of the checkpoints.
        """
        data, config = self.data, self.config
        torch.manual_seed(config.transfer.seed)
        network = network_with_heads(self.base_network, self._label_names, data.genres)
        features, network_epochs = data.features, 0
        if config.networks is not None and data.segments is not None:
            groups = self._group_targets(train, config.networks.seed)
            for i, net in enumerate(cast(list[MultiTaskNet], list(network.networks))):
                if GENRE not in net.tasks:
                    continue
                sizes = [targets.shape[1] for targets in groups]
                network_epochs = self._fit(
                    WithGroupHeads(net, GENRE, sizes, config.group_share) if groups else net,
                    data.segments.thinned(config.validation_thinning),
                    self._targets,
                    _for_epochs(config.networks, epochs and epochs[0]),
                    train,
                    validation,
                    f"{name}-network-{i}",
                    np.hstack(groups) if groups else None,
                )
            tagged = data.segments.subset(np.arange(data.n_tagged))
            features = extract_features(
                cast(list[MultiTaskNet], [net.eval() for net in network.networks]),
                tagged,
                bfloat16=config.networks.bfloat16,
                progress=self.progress,
            )
        with one_thread():
            mlp_epochs = self._fit(
                network.mlp,
                features,
                self._targets[: data.n_tagged],
                _for_epochs(config.transfer, epochs and epochs[1]),
                train[train < data.n_tagged],
                validation,
                f"{name}-transfer",
            )
        return FineTuned(network.eval(), features, (network_epochs, mlp_epochs))

    def _group_targets(self, train: np.ndarray, seed: int) -> list[np.ndarray]:
        """Fit groups on artists of training tracks alone; return the targets of all tracks.

        Zeros where nothing is known of an artist. A task that cannot be fitted is left out.
        """
        data = self.data
        rest = np.setdiff1d(np.arange(len(data.tracks)), train)
        held_out = {data.tracks[i].artist for i in rest}
        artists = [track.artist for track in data.described]
        fitted = np.array([i for i, artist in enumerate(artists) if artist not in held_out])
        targets = []
        for task, observations in data.observations.items():
            try:
                _, rows = group_targets(task, observations, artists, fitted, seed=seed)
            except ValueError as error:
                self.announce(f"artist groups {task} are left out: {error}", None)
                continue
            of_artist = dict(zip(artists, np.nan_to_num(rows), strict=True))
            targets.append(np.stack([of_artist[track.artist] for track in data.tracks]))
        return targets

    def _fit(
        self,
        model: MultiTaskNet | WithGroupHeads | Head,
        dataset: SegmentDataset | FeatureDataset,
        genres: np.ndarray,
        train_config: TrainConfig,
        train: np.ndarray,
        validation: np.ndarray | None,
        name: str,
        groups: np.ndarray | None = None,
    ) -> int:
        """Train a model and return its best epoch.

        Parameters
        ----------
        genres : np.ndarray [shape=(n_tracks, n_genres)]
        groups : np.ndarray [shape=(n_tracks, n_groups)], optional
            Their targets, for which untagged tracks are trained on, too.
        """
        if train_config.epochs == 0:
            return 0
        history = fit(
            model,
            dataset,
            {GENRE: genres if groups is None else np.nan_to_num(genres)},
            train_config,
            train=train,
            valid=validation,
            auxiliary=groups,
            patience=0 if validation is None else self.config.patience,
            checkpoint=self.work / f"{name}.safetensors" if self.work else None,
            title="networks" if isinstance(dataset, SegmentDataset) else "last layers",
            progress=self.progress,
        )
        best = -1 if validation is None else best_entry(history)
        return int(history[best]["epoch"])

    def predict_base(self, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        """Predict by the base model, with its labels mapped to the genres of the collection.

        A label is mapped to the genre of its name. Any other label is distributed over the genres
        of the training tracks for which the base model predicts it.

        Parameters
        ----------
        train, test : np.ndarray [dtype=int]
            Indices of tagged tracks.

        Returns
        -------
        np.ndarray [shape=(n_test, n_genres), dtype=float64]
        """
        temperature = self.model.metadata.temperature

        def predicted(tracks: np.ndarray) -> np.ndarray:
            raw = predict(self.base_network.mlp, self.data.features, tracks.tolist())
            return calibration.apply_temperature(raw, temperature)

        genres = self.data.genres
        one_hot = np.eye(len(genres))[self._truth[train]] * self._weights[train][:, None]
        return map_to_genres(predicted(test), predicted(train), one_hot, self._label_names, genres)


def _for_epochs(train_config: TrainConfig, epochs: float | None) -> TrainConfig:
    return train_config if epochs is None else replace(train_config, epochs=round(epochs))


def recipe(config: FineTuneConfig, model: bundle_format.Bundle) -> dict[str, Any]:
    """Return the recipe of a fine-tuned model, for its ``model.json``."""
    return {"name": "deep", "base_model": model.model_id, **asdict(config)}
