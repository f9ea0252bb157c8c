"""Light training: a small head upon a base model's features, trained on a library in seconds.

The head is a multinomial logistic regression on the embedding and the base model's log
probabilities, regularised towards the base model: with few tagged tracks it predicts as the base
model does. The embedding is whitened by the scatter within the library's artists, of all its
artists, whether their tracks have genres or not: differences between the tracks of one artist
depend little on the genre. numpy is all that is needed.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from agf_core import calibration
from agf_core.bundle import format as bundle_format
from agf_core.bundle.library_head import LibraryHead, head_inputs
from agf_core.data.genre_names import namesakes
from agf_core.data.sampling import album_weights
from agf_core.data.splits import artist_folds
from agf_core.data.tracks import Track, genre_targets
from agf_core.finetune.held_out import HeldOut, map_to_genres
from agf_core.finetune.logistic import fit_logistic, log_softmax
from agf_core.inference.whitening import FEWEST_PAIRS, SHRINKAGE, Whitening
from agf_core.label_shift import training_prior
from agf_core.not_music import is_not_music
from agf_core.utils.blocks import blocks

TEMPERATURE_PRIOR = 25  # tracks that a temperature of 1 counts as
CURVE_SHARES = (8, 4, 2, 1)  # one in so many artists is trained on
UNKNOWN_LOG_PROBABILITY = -3.0  # of a genre that the base model lacks
FEWEST_NOT_MUSIC = 3  # tagged tracks that the base model finds no music in, such as audiobooks
ROUGH_TOLERANCE = 3e-4  # gradient at which fits that only choose the strength end


@dataclass(frozen=True)
class LightConfig:
    """How a light model is trained; the defaults are those of docs/guide/your-genres.md.

    Attributes
    ----------
    strengths : tuple of float
        Of the regularisation, the largest first: cross-validation over artists chooses one.
    bias_strength : float
        The same of the biases: how common genres are may differ from the base model's training set.
    folds : int
    shrinkage : float
        Of the scatter within artists, towards a multiple of the identity.
    fewest_pairs : int
        Tracks, less one for each artist, below which the scatter is not estimated at all.
    """

    strengths: tuple[float, ...] = (10_000.0, 3000.0, 1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
    bias_strength: float = 1.0
    folds: int = 5
    shrinkage: float = SHRINKAGE
    fewest_pairs: int = FEWEST_PAIRS


@dataclass(frozen=True, eq=False)
class LightData:
    """All that is trained on.

    Attributes
    ----------
    tracks : list of Track
        First those of a known genre, one of `genres`; then the others, whose artists count alone.
    genres : tuple of str
    embeddings : np.ndarray [shape=(n_tracks, n_embedding), dtype=float16]
    log_probabilities : np.ndarray [shape=(n_tracks, n_base)]
        Of the base model.
    """

    tracks: list[Track]
    genres: tuple[str, ...]
    embeddings: np.ndarray
    log_probabilities: np.ndarray

    @property
    def n_tagged(self) -> int:
        """Number of tagged tracks."""
        return sum(bool(track.genre) for track in self.tracks)


class LightTrainer:
    """Trains a `LibraryHead`.

    Parameters
    ----------
    model : bundle.Bundle
        The base model.
    data : LightData
    config : LightConfig
    counterparts : mapping, optional
        What a label of the base model is called here, where it has another name than its own.
    """

    def __init__(
        self,
        model: bundle_format.Bundle,
        data: LightData,
        config: LightConfig | None = None,
        *,
        counterparts: Mapping[str, str] | None = None,
    ) -> None:
        self.model, self.data, self.config = model, data, config or LightConfig()
        labels = model.metadata.labels
        self._label_names = [(counterparts or {}).get(label, label) for label in labels]
        tagged = data.tracks[: data.n_tagged]
        self._truth = np.array([data.genres.index(track.genre) for track in tagged])
        self._weights = album_weights(tagged)
        self._targets = genre_targets(tagged, data.genres)
        self._folds = artist_folds(tagged, self.config.folds)
        artists = [track.artist for track in data.tracks]
        self._whitening = Whitening.fit(
            data.embeddings, artists, self.config.shrinkage, self.config.fewest_pairs
        )
        self._towards = self._base_weights()
        self._inputs = self._inputs_of(np.arange(data.n_tagged))

    @property
    def prior(self) -> np.ndarray:
        """Share of each genre in what is trained on, where an album counts as one track."""
        return training_prior(self._targets * self._weights[:, None])

    def hold_out(self) -> HeldOut:
        """Predict every track by a head that was trained without the track's fold of artists.

        The strength of the regularisation, and the temperature, are for each fold those that are
        best on the other folds.
        """
        folds = [fold for fold in range(self.config.folds) if (self._folds == fold).any()]
        n_strengths = len(self.config.strengths)
        predicted = np.zeros((n_strengths, *self._targets.shape))
        for fold in folds:
            test = self._folds == fold
            predicted[:, test] = self._path(~test, test)
        loss = np.stack([-(logs * self._targets).sum(axis=1) * self._weights for logs in predicted])
        by_fold = np.stack([loss[:, self._folds == fold].sum(axis=1) for fold in folds])
        self._strength = self.config.strengths[int(by_fold.sum(axis=0).argmin())]
        chosen = (by_fold.sum(axis=0) - by_fold).argmin(axis=1)  # of the other folds
        raw = np.zeros_like(self._targets, dtype=np.float64)
        for fold, best in zip(folds, chosen.tolist(), strict=True):
            raw[self._folds == fold] = np.exp(predicted[best, self._folds == fold])
        calibrated, _ = calibration.cross_calibrate(
            raw, self._truth, self._folds, fit=fit_temperature
        )
        return HeldOut.of([self._held_out(fold, raw, calibrated) for fold in folds])

    def learning_curve(self) -> list[tuple[int, float]]:
        """Return how often held-out tracks are right with fewer artists to train on.

        Returns
        -------
        list of (int, float)
            Number of artists that are trained on, and accuracy; the strength is that which
            `hold_out` found best for all of them.
        """
        artists = np.array([t.artist for t in self.data.tracks[: len(self._truth)]])
        # In the order of the folds' artists every share has artists of every genre.
        rank = {artist: i for i, artist in enumerate(dict.fromkeys(artists[self._order()]))}
        ranks = np.array([rank[artist] for artist in artists])
        folds = [fold for fold in range(self.config.folds) if (self._folds == fold).any()]
        curve: dict[int, float] = {}
        for every in CURVE_SHARES:
            right, used = 0, []
            for fold in folds:
                test = self._folds == fold
                train = ~test & (ranks // self.config.folds % every == 0)
                if not train.any():
                    continue
                weights = self._fit(train, self._strength, tolerance=ROUGH_TOLERANCE)
                logits = self._inputs[test] @ weights[:, :-1].T + weights[:, -1]
                right += int((logits.argmax(axis=1) == self._truth[test]).sum())
                used.append(len(set(artists[train])))
            if len(used) == len(folds):
                curve[round(float(np.mean(used)))] = right / len(self._truth)
        return list(curve.items())

    def _order(self) -> np.ndarray:
        """Return tagged tracks by genre, so that artists of a genre stand together."""
        return np.argsort(self._truth, kind="stable")

    def predict_others(
        self, others: np.ndarray | None = None, *, without_fold: int | None = None
    ) -> np.ndarray:
        """Return probabilities of tracks without a genre, by a head trained on the tagged.

        Parameters
        ----------
        others : np.ndarray [dtype=int], optional
            Which of the tracks without a genre; all by default.
        without_fold : int, optional
            A fold of `artist_folds` that is not trained on.
        """
        weights = self._fit(self._folds != without_fold, self._strength, tolerance=ROUGH_TOLERANCE)
        n_tagged = len(self._truth)
        tracks = np.arange(n_tagged, len(self.data.tracks))
        tracks = tracks if others is None else tracks[others]
        result = np.empty((len(tracks), len(self.data.genres)))
        for block in blocks(len(tracks)):
            logits = self._inputs_of(tracks[block]) @ weights[:, :-1].T + weights[:, -1]
            result[block] = np.exp(log_softmax(logits))
        return result

    def finish(self, held_out: HeldOut) -> tuple[LibraryHead, float]:
        """Train on everything, with the strength that `hold_out` found, and fit the temperature."""
        weights = self._fit(slice(None), self._strength)
        n_embedding = len(self._whitening.centre)
        of_embedding = weights[:, :n_embedding] @ self._whitening.matrix.T
        metadata = self.model.metadata
        not_music = is_not_music(np.exp(self.data.log_probabilities[: self.data.n_tagged]))
        head = LibraryHead(
            base_id=self.model.model_id,
            base_labels=metadata.labels,
            base_temperature=metadata.temperature,
            weights=np.hstack([of_embedding, weights[:, n_embedding:-1]]).astype(np.float32),
            bias=(weights[:, -1] - of_embedding @ self._whitening.centre).astype(np.float32),
            music_only=bool(not_music.sum() < FEWEST_NOT_MUSIC),
        )
        return head, fit_temperature(held_out.raw, held_out.truth)

    def recipe(self) -> dict[str, Any]:
        """Return how the model was made, for its ``model.json``."""
        return {"name": "light", "base_model": self.model.model_id, **asdict(self.config)} | {
            "strength": self._strength
        }

    def _inputs_of(self, tracks: np.ndarray) -> np.ndarray:
        data, n_inputs = self.data, self._towards.shape[1] - 1
        result = np.empty((len(tracks), n_inputs), np.float32)
        for block in blocks(len(tracks)):
            whitened = self._whitening.apply(data.embeddings[tracks[block]])
            result[block] = head_inputs(whitened, data.log_probabilities[tracks[block]])
        return result

    def _base_weights(self) -> np.ndarray:
        """Return the weights of a head that predicts as the base model does."""
        n_embedding, n_base = len(self._whitening.centre), len(self._label_names)
        weights = np.zeros((len(self.data.genres), n_embedding + n_base + 1))
        for genre, label in enumerate(namesakes(self._label_names, self.data.genres)):
            if label is None:
                weights[genre, -1] = UNKNOWN_LOG_PROBABILITY
            else:
                weights[genre, n_embedding + label] = 1
        return weights

    def _path(self, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        """Return log probabilities by each strength, (n_strengths, n_test, n_genres)."""
        weights, rows = None, []
        for strength in self.config.strengths:
            weights = self._fit(train, strength, start=weights, tolerance=ROUGH_TOLERANCE)
            rows.append(log_softmax(self._inputs[test] @ weights[:, :-1].T + weights[:, -1]))
        return np.stack(rows)

    def _fit(self, train: np.ndarray | slice, strength: float, **options: Any) -> np.ndarray:
        return fit_logistic(
            self._inputs[train],
            self._targets[train],
            strength,
            weights=self._weights[train],
            towards=self._towards,
            bias_strength=self.config.bias_strength,
            **options,
        )

    def _held_out(self, fold: int, raw: np.ndarray, calibrated: np.ndarray) -> HeldOut:
        train, test = self._folds != fold, self._folds == fold
        known = np.exp(self.data.log_probabilities[: len(self._truth)])
        targets = self._targets * self._weights[:, None]
        common = np.zeros((test.sum(), targets.shape[1]))
        common[:, targets[train].sum(axis=0).argmax()] = 1
        base = map_to_genres(
            known[test], known[train], targets[train], self._label_names, self.data.genres
        )
        return HeldOut(
            np.flatnonzero(test),
            self._truth[test],
            raw[test],
            calibrated[test],
            base,
            common,
            (0, 0),
        )


def fit_temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Fit a temperature; the fewer the tracks, the nearer it stays to 1."""
    share = len(truth) / (len(truth) + TEMPERATURE_PRIOR)
    return float(calibration.fit_temperature(probabilities, truth) ** share)


def most_informative(probabilities: np.ndarray, tracks: Sequence[Track], at_most: int) -> list[int]:
    """Return the tracks that are most worth tagging, one for each of several artists.

    The first are by artists with many tracks of which the model is unsure.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_genres)]
    tracks : sequence of Track
    at_most : int
    """
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1)
    of_artist: dict[str, list[int]] = defaultdict(list)
    for i, track in enumerate(tracks):
        of_artist[track.artist].append(i)
    worth = {
        artist: float(entropy[its].mean() * np.log1p(len(its))) for artist, its in of_artist.items()
    }
    first = sorted(of_artist, key=lambda artist: -worth[artist])[:at_most]
    return [max(of_artist[artist], key=lambda i: entropy[i]) for artist in first]
