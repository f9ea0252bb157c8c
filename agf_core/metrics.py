"""Scores of genre predictions, with bootstrap intervals.

Throughout, `probabilities` is [shape=(n_tracks, n_classes)] and `truth` [shape=(n_tracks,)] holds
the index of each track's genre.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

SMALLEST_PROBABILITY = 1e-8  # a probability counts as at least this in the log loss
CALIBRATION_BINS = 15


def accuracy(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Return the share of tracks whose most probable genre is right."""
    return float((probabilities.argmax(axis=1) == truth).mean())


def macro_f1(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Return F1 averaged with equal weight over genres that are true or predicted for a track.

    As in scikit-learn: a genre that is predicted but never true counts as 0, one that is neither
    does not count.
    """
    predicted = probabilities.argmax(axis=1)
    n = probabilities.shape[1]
    right = np.bincount(truth[predicted == truth], minlength=n)
    occurrences = np.bincount(truth, minlength=n) + np.bincount(predicted, minlength=n)
    f1 = 2 * right / np.maximum(occurrences, 1)
    return float(f1[occurrences > 0].mean())


def log_loss(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean negative natural logarithm of the probability of the true genre."""
    chosen = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(chosen, SMALLEST_PROBABILITY)).mean())


def calibration_error(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Return the expected calibration error of the most probable genre, in 15 equal bins."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gap = np.bincount(bins, weights=right - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(gap).sum() / len(truth))


SCORES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "log_loss": log_loss,
    "calibration_error": calibration_error,
}


@dataclass(frozen=True)
class Score:
    """A score with the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, resampled: Sequence[float] | np.ndarray) -> "Score":
        """Return a score with the interval of the same score in resamples."""
        low, high = np.percentile(resampled, [2.5, 97.5]).tolist()
        return cls(value, low, high)

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def evaluate(
    probabilities: np.ndarray,
    truth: np.ndarray,
    artists: np.ndarray,
    *,
    resamples: int = 1_000,
    seed: int = 0,
) -> dict[str, Score]:
    """Return every score with a 95 % interval from a bootstrap over artists.

    Tracks of one artist are not independent, so whole artists are drawn with replacement.

    Parameters
    ----------
    artists : np.ndarray [shape=(n_tracks,)]
        Any values that identify artists; a track without one (an empty name) is drawn by itself.
    """
    drawn = _resampled(probabilities, truth, artists, resamples, seed)
    return {
        name: Score.of(score(probabilities, truth), drawn[name]) for name, score in SCORES.items()
    }


def _resampled(
    probabilities: np.ndarray, truth: np.ndarray, artists: np.ndarray, resamples: int, seed: int
) -> dict[str, np.ndarray]:
    """Return every score of every resample (see `artist_resamples`), from sums by artist."""
    n = probabilities.shape[1]
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    right = predicted == truth
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    loss = -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], SMALLEST_PROBABILITY))
    owner = artist_numbers(artists)
    n_artists = int(owner.max()) + 1

    def by_artist(column: np.ndarray, weights: np.ndarray, n_columns: int) -> np.ndarray:
        """Sum weights by artist and column, (n_artists, n_columns)."""
        places = owner * n_columns + column
        flat = np.bincount(places, weights=weights, minlength=n_artists * n_columns)
        return flat.reshape(n_artists, n_columns)

    one, first = np.ones(len(truth)), np.zeros(len(truth), int)
    parts = [
        by_artist(first, one, 1),
        by_artist(first, loss, 1),
        by_artist(truth, right.astype(float), n),
        by_artist(truth, one, n) + by_artist(predicted, one, n),
        by_artist(bins, right - confidence, CALIBRATION_BINS),
    ]
    sums = np.hstack(parts)
    rng = np.random.default_rng(seed)
    totals = np.stack(
        [
            np.bincount(rng.integers(n_artists, size=n_artists), minlength=n_artists) @ sums
            for _ in range(resamples)
        ]
    )
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]
    tracks, losses, hits, occurrences, gaps = np.split(totals, ends, axis=1)
    f1 = 2 * hits / np.maximum(occurrences, 1)
    return {
        "accuracy": hits.sum(axis=1) / tracks[:, 0],
        "macro_f1": f1.sum(axis=1) / (occurrences > 0).sum(axis=1),
        "log_loss": losses[:, 0] / tracks[:, 0],
        "calibration_error": np.abs(gaps).sum(axis=1) / tracks[:, 0],
    }


def artist_resamples(artists: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield indices of the tracks of as many artists as there are, drawn with replacement.

    A track without an artist (an empty name) is drawn by itself.
    """
    owner = artist_numbers(artists)
    tracks_of = np.split(np.argsort(owner, kind="stable"), np.cumsum(np.bincount(owner))[:-1])
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        chosen = rng.integers(len(tracks_of), size=len(tracks_of))
        yield np.concatenate([tracks_of[a] for a in chosen])


def artist_numbers(artists: np.ndarray) -> np.ndarray:
    """Number the artists from 0; every track without one has a number of its own.

    Returns
    -------
    np.ndarray [shape=(n_tracks,), dtype=int]
    """
    keys = [
        (1, i) if isinstance(artist, str) and not artist else (0, artist)
        for i, artist in enumerate(np.asarray(artists).tolist())
    ]
    number = {key: i for i, key in enumerate(sorted(set(keys)))}
    return np.array([number[key] for key in keys], int)


def count_artists(artists: Iterable[object]) -> int:
    """Return how many artists there are; an empty name is none."""
    return len({artist for artist in np.asarray(list(artists)).tolist() if artist != ""})
