"""Scores of many cases on the same tracks: over seeds, and with the same resamples of artists.

All cases have the same tracks, artists and seeds in every resample, so that differences
are paired and their intervals leave out what all cases have in common.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from agf_core import metrics
from agf_core.metrics import Score

RESAMPLES = 1_000
ARTIST_HALVINGS = 100  # of the artists, over which a choice is averaged
SIGNIFICANCE_LEVEL = 0.05
SECONDS_UNSHOWN = 1.0  # before a progress bar appears
K = TypeVar("K")
Item = TypeVar("Item")


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

    def p_value(self, k: int) -> float:
        """Return the chance of a score as far from 0 if it were 0: 1 at first."""
        from scipy.stats import norm

        value, spread = abs(float(self.values[k])), float(self.drawn[:, k].std())
        return float(2 * norm.sf(value / spread)) if spread else float(value == 0)

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


def certain(differences: Sequence[Scored], k: int) -> list[bool]:
    """Return which differences of a table are not 0, at 5 % over the whole table.

    Their p-values, two-sided, take the resamples' spread as a normal distribution's. Holm's
    correction over all of them keeps the chance of even one false certainty at 5 %.
    """
    p = np.array([difference.p_value(k) for difference in differences])
    order = np.argsort(p, kind="stable")
    below = p[order] * np.arange(len(p), 0, -1) <= SIGNIFICANCE_LEVEL
    result = np.zeros(len(p), bool)
    result[order] = np.logical_and.accumulate(below)
    return result.tolist()


def signed(differences: Sequence[Scored], columns: Iterable[int]) -> list[list[str]]:
    """Return a table's differences, a row for each: in bold where they are `certain`."""
    cells = []
    for k in columns:
        texts = []
        for one, bold in zip(differences, certain(differences, k), strict=True):
            mark = "**" if bold else ""
            found = one[k]
            texts.append(f"{mark}{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]{mark}")
        cells.append(texts)
    return [list(row) for row in zip(*cells, strict=True)]


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
    draws = list(metrics.artist_resamples(artists, resamples or RESAMPLES, seed=0))
    seeds = _seeds(predictions.values(), len(draws))
    every = np.arange(seeds.shape[1])
    return {
        case: Scored(
            np.array(_mean_scores(p, truth, slice(None), every, names)),
            np.array(
                [_mean_scores(p, truth, d, s, names) for d, s in zip(draws, seeds, strict=True)]
            ),
        )
        for case, p in _shown(predictions.items(), "scores", "case")
    }


def chosen_less(
    candidates: Sequence[np.ndarray],
    other: np.ndarray,
    truth: np.ndarray,
    artists: np.ndarray,
    names: Sequence[str],
    lower: Sequence[bool],
    *,
    resamples: int | None = None,
) -> Scored:
    """Compare the best of several cases with another, without favour from the choice.

    For each score the best is chosen on one half of the artists and compared on the other, both
    ways round: a mean over many random halvings. A resample halves the artists, then draws artists
    within each half, and seeds.

    Parameters
    ----------
    candidates : sequence of np.ndarray [shape=(n_seeds, n_tracks, n_genres)]
    other : np.ndarray [shape=(n_seeds, n_tracks, n_genres)]
    truth, artists : np.ndarray [shape=(n_tracks,)]
        Of two artists or more.
    names : sequence of str
        Of `metrics.SCORES`.
    lower : sequence of bool
        Of each score whether less is better.
    """
    everything = [*candidates, other]
    sign = np.where(lower, -1, 1)

    def differences(halvings: Sequence[list[np.ndarray]], seeds: np.ndarray) -> np.ndarray:
        found = []
        pairs = list(zip(halvings, seeds, strict=True))
        for halves, chosen in _shown(pairs, "choices", "resample"):
            scores = [
                np.array([_mean_scores(p, truth, h, chosen, names) for p in everything])
                for h in halves
            ]  # of each half (n_candidates + 1, n_scores)
            gains = []
            for here, there in (scores, scores[::-1]):
                best = (sign * here[:-1]).argmax(axis=0)
                gains.append(there[best, np.arange(len(names))] - there[-1])
            found.append(np.mean(gains, axis=0))
        return np.array(found)

    whole = list(_halvings(artists, ARTIST_HALVINGS, resampled=False))
    drawn = list(_halvings(artists, resamples or RESAMPLES, resampled=True))
    seeds = _seeds(everything, len(drawn))
    every = np.tile(np.arange(seeds.shape[1]), (len(whole), 1))
    return Scored(differences(whole, every).mean(axis=0), differences(drawn, seeds))


def _halvings(artists: np.ndarray, n: int, *, resampled: bool) -> Iterator[list[np.ndarray]]:
    """Yield indices of the tracks of two random halves of the artists."""
    rng = np.random.default_rng(2)
    owner = metrics.artist_numbers(artists)
    for _ in range(n):
        halves = []
        for mine in np.array_split(rng.permutation(owner.max() + 1), 2):
            part = np.flatnonzero(np.isin(owner, mine))
            if resampled:
                seed = int(rng.integers(2**32))
                (drawn,) = metrics.artist_resamples(owner[part], 1, seed=seed)
                part = part[drawn]
            halves.append(part)
        yield halves


def _shown(items: Collection[Item], what: str, unit: str) -> Iterable[Item]:
    """Yield items; how far they have come is shown when they take long."""
    return tqdm(items, desc=what, unit=unit, delay=SECONDS_UNSHOWN, leave=False)


def _seeds(predictions: Iterable[np.ndarray], n: int) -> np.ndarray:
    """Draw as many seeds as there are for each of `n` resamples, (n, n_seeds)."""
    (n_seeds,) = {len(p) for p in predictions}
    return np.random.default_rng(1).integers(n_seeds, size=(n, n_seeds))


def _mean_scores(
    p: np.ndarray,
    truth: np.ndarray,
    tracks: np.ndarray | slice,
    seeds: np.ndarray,
    names: Sequence[str],
) -> list[float]:
    """Return the scores of some tracks, means over some seeds."""
    own = {
        seed: [metrics.SCORES[name](p[seed][tracks], truth[tracks]) for name in names]
        for seed in set(seeds.tolist())
    }
    means: list[float] = np.mean([own[seed] for seed in seeds.tolist()], axis=0).tolist()
    return means
