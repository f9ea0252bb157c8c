"""Scores of many cases on the same tracks: over seeds, and with the same resamples of artists.

All cases have the same tracks, artists and seeds in every resample, so that differences
are paired and their intervals leave out what all cases have in common.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from agf_core import metrics
from agf_core.metrics import Score

RESAMPLES = 1_000
K = TypeVar("K")


@dataclass(frozen=True)
class Scored:
    """Scores of one case, and of the same case in every resample.

    Attributes
    ----------
    values : np.ndarray [shape=(n_scores,)]
    drawn : np.ndarray [shape=(n_resamples, n_scores)]
    """

    values: np.ndarray
    drawn: np.ndarray

    def __sub__(self, other: "Scored") -> "Scored":
        return Scored(self.values - other.values, self.drawn - other.drawn)

    def __getitem__(self, k: int) -> Score:
        """Return a score with its 95 % interval."""
        return Score.of(float(self.values[k]), self.drawn[:, k])

    @classmethod
    def mean(cls, scored: Iterable["Scored"]) -> "Scored":
        """Return the mean of several cases."""
        values, drawn = zip(*((one.values, one.drawn) for one in scored), strict=True)
        return cls(np.mean(values, axis=0), np.mean(drawn, axis=0))

    @classmethod
    def best(cls, scored: Iterable["Scored"], lower: Sequence[bool]) -> "Scored":
        """Return the best of several cases, for each score and in each resample by itself.

        Parameters
        ----------
        lower : sequence of bool
            Of each score whether less is better.
        """
        values, drawn = zip(*((one.values, one.drawn) for one in scored), strict=True)
        sign = np.where(lower, -1, 1)
        return cls(sign * np.max(sign * values, axis=0), sign * np.max(sign * drawn, axis=0))


def holds(difference: Score) -> bool:
    """Whether the interval of a difference leaves out 0."""
    return difference.low > 0 or difference.high < 0


def signed(difference: Score) -> str:
    """Return a difference for a table: in bold where it holds."""
    text = f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"
    return f"**{text}**" if holds(difference) else text


def score(
    predictions: Mapping[K, np.ndarray],
    truth: np.ndarray,
    artists: np.ndarray,
    names: Sequence[str],
    *,
    resamples: int | None = None,
) -> dict[K, Scored]:
    """Score every case, over its seeds.

    A resample draws artists and, where there are several, seeds with replacement; all cases meet
    the same ones.

    Parameters
    ----------
    predictions : mapping of np.ndarray [shape=(n_seeds, n_tracks, n_genres)]
        Of every case as many seeds.
    truth, artists : np.ndarray [shape=(n_tracks,)]
    names : sequence of str
        Of `metrics.SCORES`.
    """
    (n_seeds,) = {len(p) for p in predictions.values()}
    draws = list(metrics.artist_resamples(artists, resamples or RESAMPLES, seed=0))
    seeds = np.random.default_rng(1).integers(n_seeds, size=(len(draws), n_seeds))

    def scores_of(p: np.ndarray, tracks: np.ndarray | slice, chosen: np.ndarray) -> list[float]:
        own = {
            seed: [metrics.SCORES[name](p[seed][tracks], truth[tracks]) for name in names]
            for seed in set(chosen.tolist())
        }
        means: list[float] = np.mean([own[seed] for seed in chosen.tolist()], axis=0).tolist()
        return means

    return {
        case: Scored(
            np.array(scores_of(p, slice(None), np.arange(n_seeds))),
            np.array([scores_of(p, d, s) for d, s in zip(draws, seeds, strict=True)]),
        )
        for case, p in predictions.items()
    }
