"""A model of one's own: what a trained model knows, taught the genres of one collection of music.

The networks go on from where they are, with heads for the collection's genres and artist groups;
then the transfer MLP goes on; then the temperature is fitted. How good the outcome is on artists it
has not met is found by doing all of it without some of the artists, and asking about them.

A genre of the same name in the trained model keeps what is known of it: its weights in the heads.
"""

import copy
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from agf_core import bundle, calibration
from agf_core.artist_groups import ArtistGroups, Observations, group_targets
from agf_core.corpus import Track, album_key, genre_targets
from agf_core.examples import Features, Segments
from agf_core.excerpts import Excerpts
from agf_core.learning import Schedule, best_entry, extract_features, fit, predict
from agf_core.network import GenreNet, MultiTaskNet, TaskBranch, TransferMLP, channels_last

TEMPERATURE_PRIOR = 100  # tracks that the temperature of the model to begin with counts as


@dataclass(frozen=True)
class Plan:
    """How a model is made one's own; the defaults are those of docs/personal.md.

    Attributes
    ----------
    networks : Schedule or None
        Of the networks; None leaves them as they are.
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
    """

    networks: Schedule | None = field(
        default_factory=lambda: Schedule(
            epochs=30, batch_size=32, learning_rate=3e-4, bfloat16=True, validate_every=3
        )
    )
    transfer: Schedule = field(
        default_factory=lambda: Schedule(
            epochs=80, batch_size=32, learning_rate=3e-4, validate_every=5
        )
    )
    patience: int = 3
    folds: int = 5
    all_folds_up_to: int = 500
    kept_back: int = 5


# What is learnt


@dataclass(frozen=True)
class SetAside:
    """A genre that cannot be learnt: too few tracks, or all by one artist."""

    genre: str
    tracks: int
    artists: int

    def __str__(self) -> str:
        tracks = f"{self.tracks} track{'s' * (self.tracks != 1)}"
        return f"{self.genre}: {tracks} by {self.artists} artist{'s' * (self.artists != 1)}"


def learnable_genres(
    tracks: Sequence[Track], min_tracks: int
) -> tuple[tuple[str, ...], list[SetAside]]:
    """Tell genres that can be learnt from those that cannot.

    Returns
    -------
    genres : tuple of str
        In alphabetical order: those with enough tracks, by two artists or more.
    set_aside : list of SetAside
        The others, the largest first.
    """
    of_genre: dict[str, list[Track]] = defaultdict(list)
    for track in tracks:
        if track.genre:
            of_genre[track.genre].append(track)
    genres, set_aside = [], []
    for genre, its in sorted(of_genre.items()):
        n_artists = len({track.artist for track in its})
        if len(its) >= min_tracks and n_artists > 1:
            genres.append(genre)
        else:
            set_aside.append(SetAside(genre, len(its), n_artists))
    return tuple(genres), sorted(set_aside, key=lambda aside: -aside.tracks)


def votes(tracks: Sequence[Track]) -> np.ndarray:
    """Weights that let an artist's tracks of one genre on one album count as one, (n_tracks,).

    A track without an album counts as an album. The mean weight is 1.
    """
    units = [album_key(track) for track in tracks]
    size = Counter(units)
    weights = np.array([1 / size[unit] for unit in units], np.float32)
    return weights / weights.mean()


def at_most(tracks: Sequence[Track], per_album: int, in_all: int) -> list[Track]:
    """Choose tracks to hold in memory: so many of each album, and of all albums in turn.

    The choice of a track depends on its own album alone as long as all albums fit in.
    """
    of_album: dict[tuple[str, str, str], list[Track]] = defaultdict(list)
    for track in tracks:
        of_album[album_key(track)].append(track)

    def dealt(track: Track) -> int:
        return zlib.crc32(track.track_id.encode())

    in_turn = [
        (turn, dealt(track), i, track)
        for i, album in enumerate(of_album.values())
        for turn, track in enumerate(sorted(album, key=dealt)[:per_album])
    ]
    return [entry[-1] for entry in sorted(in_turn, key=lambda entry: entry[:3])[:in_all]]


def artist_folds(tracks: Sequence[Track], n_folds: int) -> np.ndarray:
    """Deal artists into folds, those of each genre evenly.

    Returns
    -------
    np.ndarray [shape=(n_tracks,), dtype=int]
        The fold of each track's artist; -1 for artists of whom no track has a genre.
    """
    genres_of: dict[str, Counter[str]] = defaultdict(Counter)
    for track in tracks:
        if track.genre:
            genres_of[track.artist][track.genre] += 1
    # By the genre an artist has most of; within one in an order that new artists do not disturb.
    order = sorted(
        genres_of,
        key=lambda artist: (
            max(sorted(genres_of[artist]), key=lambda genre: genres_of[artist][genre]),
            zlib.crc32(artist.encode()),
        ),
    )
    fold_of = {artist: i % n_folds for i, artist in enumerate(order)}
    return np.array([fold_of.get(track.artist, -1) for track in tracks])


# What the model to begin with hears


def segments_of(model: bundle.Bundle, spectrograms: Sequence[np.ndarray]) -> Segments:
    """Return spectrograms as a model's networks hear them, in windows that do not overlap.

    That is half of the windows of a prediction, and half of what they cost.
    """
    metadata = model.metadata
    spec = replace(metadata.input, window_hop=metadata.input.segment_frames)
    return Segments(spectrograms, spec, metadata.mean, metadata.std)


def frozen_features(
    model: bundle.Bundle,
    network: GenreNet,
    excerpts: Excerpts,
    step: Callable[[], None] = lambda: None,
) -> Features:
    """Transfer features of tracks by a model as it is, each made once and kept.

    Parameters
    ----------
    network : GenreNet
        That of `model`.
    excerpts : Excerpts
        Of the tracks.
    step : callable
        Called after each track.
    """
    rows = []
    for index, key in enumerate(excerpts.keys):

        def compute(index: int = index) -> np.ndarray:
            windows = segments_of(model, [excerpts[index]]).windows(0)
            with torch.inference_mode():
                return network.features(windows).numpy().astype(np.float16)

        rows.append(excerpts.cache.get(f"features-{model.model_id}", key, compute))
        step()
    return Features(rows)


# The network to begin with


def personal_network(
    start: GenreNet, known: Sequence[str], genres: Sequence[str], groups: Mapping[str, int]
) -> GenreNet:
    """Return a trained network with heads for other genres and artist groups.

    Parameters
    ----------
    start : GenreNet
        Stays as it is.
    known : sequence of str
        Its genres.
    genres : sequence of str
        The new genres; those that are known keep their weights.
    groups : mapping
        Number of groups of each task but g. A task that `start` lacks gets a branch that begins
        as a copy of the genre's.
    """
    network = copy.deepcopy(start)
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
                _replace_head(branch, _namesakes(known, genres))
            elif task in groups:
                _replace_head(branch, [None] * groups[task])
        channels_last(net)
    network.mlp = _grown(network.mlp, kept_columns, _columns(own), _namesakes(known, genres))
    return network


def _namesakes(known: Sequence[str], genres: Sequence[str]) -> list[int | None]:
    """Return where each of the genres stands among the known ones."""
    place = {name.casefold(): i for i, name in enumerate(known)}
    return [place.get(genre.casefold()) for genre in genres]


def _with_rows(layer: nn.Linear, rows: Sequence[int | None]) -> nn.Linear:
    """Return a layer with some of another's rows, and new ones where there is None."""
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
    """Name every column of the networks' features, in order."""
    return [
        (n, task, column)
        for n, net in enumerate(networks)
        for task in net.tasks
        for column in range(net.branch(task).n_features)
    ]


def _grown(
    mlp: TransferMLP, before: Sequence[Any], after: Sequence[Any], rows: Sequence[int | None]
) -> TransferMLP:
    """Return an MLP over more features and other genres that does what `mlp` did for the old."""
    result = TransferMLP(len(after), len(rows))
    place = {column: i for i, column in enumerate(after)}
    (first, last), (old_first, old_last) = (
        [cast(nn.Linear, layer) for layer in net.layers if isinstance(layer, nn.Linear)]
        for net in (result, mlp)
    )
    with torch.no_grad():
        first.weight.zero_()
        first.weight[:, [place[column] for column in before]] = old_first.weight
        first.bias.copy_(old_first.bias)
        new_last = _with_rows(old_last, rows)
        last.weight.copy_(new_last.weight)
        last.bias.copy_(new_last.bias)
    return result


# Learning


@dataclass(frozen=True, eq=False)
class Material:
    """All that is learnt from.

    Attributes
    ----------
    tracks : list of Track
        First those that teach: their genre is one of `genres`; then those that feed the artist
        groups alone, whose genre does not count.
    genres : tuple of str
    features : Features
        Of the teaching tracks, by the networks as they are (`frozen_features`).
    segments : Segments or None
        Of all tracks; None where networks are left as they are.
    described : sequence of Track
        What artist groups are made of: more tracks than there is memory for, if need be.
    observations : mapping
        Of the described tracks, per task of artist groups.
    """

    tracks: list[Track]
    genres: tuple[str, ...]
    features: Features
    segments: Segments | None = None
    described: Sequence[Track] = ()
    observations: Mapping[str, Observations] = field(default_factory=dict)

    @property
    def n_teaching(self) -> int:
        """How many tracks teach genres."""
        return len(self.features)


@dataclass(frozen=True, eq=False)
class Learnt:
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
    features: Features
    epochs: tuple[int, int]

    def predict(self, tracks: np.ndarray) -> np.ndarray:
        """Probabilities before any temperature, (n_tracks, n_genres)."""
        return predict(self.network.mlp, self.features, tracks.tolist())


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Predictions of tracks by artists that were not learnt from.

    Attributes
    ----------
    tracks : np.ndarray [shape=(n,), dtype=int]
        Which of the teaching tracks.
    truth : np.ndarray [shape=(n,), dtype=int]
        Their genres.
    raw, personal : np.ndarray [shape=(n, n_genres)]
        Of personal models, before and after the temperature.
    before : np.ndarray [shape=(n, n_genres)]
        Of the model that was begun with, in the words of this collection.
    common : np.ndarray [shape=(n, n_genres)]
        1 for the genre that was most common among what was learnt from.
    epochs : tuple of int
        That the networks and the MLP took to be at their best; the median of the parts.
    parts : int
        How many models were made for these.
    """

    tracks: np.ndarray
    truth: np.ndarray
    raw: np.ndarray
    personal: np.ndarray
    before: np.ndarray
    common: np.ndarray
    epochs: tuple[int, int]
    parts: int = 1

    @classmethod
    def of(cls, parts: Sequence["HeldOut"]) -> "HeldOut":
        """Put several parts together."""
        networks, mlp = np.median([part.epochs for part in parts], axis=0)
        arrays = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("tracks", "truth", "raw", "personal", "before", "common")
        }
        return cls(**arrays, epochs=(round(networks), round(mlp)), parts=len(parts))


class Personaliser:
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
        model: bundle.Bundle,
        start: GenreNet,
        material: Material,
        plan: Plan,
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
        return HeldOut.of(parts)

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
            self._before(taught, asked),
            common,
            learnt.epochs,
        )

    def finish(self, held_out: HeldOut) -> tuple[Learnt, float]:
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
    ) -> Learnt:
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
                took = self._fit(
                    net,
                    material.segments,
                    wanted,
                    _for_epochs(plan.networks, epochs and epochs[0] / len(wanted)),
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
        mlp_epochs = self._fit(
            network.mlp,
            features,
            {"g": self._targets[: material.n_teaching]},
            _for_epochs(plan.transfer, epochs and epochs[1]),
            learning[learning < material.n_teaching],
            kept_back,
            f"{name}-transfer",
        )
        return Learnt(network.eval(), groups, features, (network_epochs, mlp_epochs))

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
        examples: Segments | Features,
        targets: Mapping[str, np.ndarray],
        schedule: Schedule,
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
            title=name,
            progress=self.progress,
        )
        best = -1 if kept_back is None else best_entry(history, f"{next(iter(targets))}_log_loss")
        return int(history[best]["epoch"])

    def _before(self, taught: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """What the model that was begun with says, in the words of this collection.

        A label counts as the genre of its name here. One that has none here counts as the genres
        that teaching tracks have in the proportion in which it is heard in them.
        """
        temperature = self.model.metadata.temperature

        def heard(tracks: np.ndarray) -> np.ndarray:
            raw = predict(self.start.mlp, self.material.features, tracks.tolist())
            return calibration.apply_temperature(raw, temperature)

        genres = self.material.genres
        one_hot = np.eye(len(genres))[self._truth[taught]] * self._votes[taught][:, None]
        words = heard(taught).T @ one_hot  # (n_labels, n_genres)
        words /= words.sum(axis=1, keepdims=True)
        for label, genre in enumerate(_namesakes(genres, self._called)):
            if genre is not None:
                words[label] = np.eye(len(genres))[genre]
        mapped: np.ndarray = heard(asked) @ words
        return mapped


def _for_epochs(schedule: Schedule, epochs: float | None) -> Schedule:
    return schedule if epochs is None else replace(schedule, epochs=round(epochs))


def recipe(plan: Plan, model: bundle.Bundle) -> dict[str, Any]:
    """Return how a personal model was made, for its ``model.json``."""
    return {"name": "personal", "begun_with": model.model_id, **asdict(plan)}
