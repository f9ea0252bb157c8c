"""The genre of a track, given its artist's other tracks.

Artists keep to their genres, and to their sound. Two parts are combined with the prediction of a
track, each with a weight that is estimated from the tags of a collection by leaving albums out:

- The predictions of the artist's other tracks: log probabilities of a track are moved towards their
  mean over the artist. The weight, the pooling, is 0 where that makes predictions worse.
- The genres that other tracks have been given: the shares of genres among an artist's tracks are
  taken to be drawn from a Dirichlet distribution around those of the collection, whose
  concentration is low where artists have one genre each, and high where an artist's tracks are of
  all genres.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

CONCENTRATIONS = np.geomspace(0.1, 100, 13)  # that are tried
USUAL_CONCENTRATION = 0.3  # of collections: the geometric mean
CONCENTRATION_SPREAD = 1.5  # standard deviation of its logarithm
POOLINGS = np.linspace(0, 1, 6)  # that are tried
USUAL_POOLING, POOLING_SPREAD = 0.8, 0.3  # of collections, and its standard deviation
SMALLEST_PROBABILITY = 1e-9


@dataclass(frozen=True, eq=False)
class ArtistContext:
    """Genres of artists in a collection.

    Attributes
    ----------
    counts : dict
        Tracks of each genre by artist, np.ndarray [shape=(n_genres,)].
    shares : np.ndarray [shape=(n_genres,)]
        Of the genres, which the probabilities that are adjusted hold for.
    concentration : float
        In tracks.
    pooling : float
        From 0 to 1.
    """

    counts: dict[str, np.ndarray]
    shares: np.ndarray
    concentration: float
    pooling: float = USUAL_POOLING

    @classmethod
    def of(
        cls,
        tracks: Iterable[tuple[str, Hashable, int]],
        n_genres: int,
        prior: np.ndarray | None = None,
        pooling: float = USUAL_POOLING,
    ) -> "ArtistContext":
        """Collect tagged tracks, and estimate the concentration.

        Parameters
        ----------
        tracks : iterable of (str, hashable, int)
            Of each: the artist's key, the album's, the index of the genre.
        n_genres : int
        prior : np.ndarray [shape=(n_genres,)], optional
            That the probabilities hold for; by default the shares of the genres among the tracks.
        pooling : float
        """
        by_album: dict[str, dict[Hashable, np.ndarray]] = defaultdict(
            lambda: defaultdict(lambda: np.zeros(n_genres))
        )
        for artist, album, genre in tracks:
            by_album[artist][album][genre] += 1
        counts = {
            artist: np.sum(list(albums.values()), axis=0) for artist, albums in by_album.items()
        }
        if prior is None:
            total = np.sum([np.ones(n_genres), *counts.values()], axis=0)
            prior = total / total.sum()
        seen, others = [], []
        for artist, albums in by_album.items():
            for own in albums.values() if len(albums) > 1 else ():
                seen.append(own / own.sum())
                others.append(counts[artist] - own)
        concentration = USUAL_CONCENTRATION
        if seen:
            concentration = _fit(np.array(seen), np.array(others), prior)
        return cls(counts, prior, concentration, pooling)

    def pool(self, probabilities: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
        """Combine the prediction of a track with those of the artist's other tracks.

        Parameters
        ----------
        probabilities : np.ndarray [shape=(n_genres,)]
        others : sequence of np.ndarray [shape=(n_genres,)]
        """
        logs = _logs(np.stack([probabilities, *others]))
        return _pooled(logs[0], logs.sum(axis=0), len(logs), self.pooling)

    def weights(self, counts: np.ndarray, n_unknown: int = 0) -> np.ndarray:
        """Return what the probabilities of genres are multiplied by, (..., n_genres).

        Parameters
        ----------
        counts : np.ndarray [shape=(..., n_genres)]
            Of the artist's other tracks.
        n_unknown : int
            Other tracks of a genre that is none of these. Each counts as a little of every genre:
            it shows that the artist's tracks are not all of one.
        """
        expected = counts + (self.concentration + n_unknown) * self.shares
        result: np.ndarray = expected / expected.sum(axis=-1, keepdims=True) / self.shares
        return result

    def adjust(
        self, probabilities: np.ndarray, counts: np.ndarray, n_unknown: int = 0
    ) -> np.ndarray:
        """Combine the probabilities of a track by its sound with the counts of other tracks."""
        weights = self.weights(counts, n_unknown)
        weighted = np.maximum(probabilities, SMALLEST_PROBABILITY) * weights
        result: np.ndarray = weighted / weighted.sum(axis=-1, keepdims=True)
        return result


@dataclass(frozen=True, eq=False)
class WithoutOwnAlbum:
    """Predictions of tagged tracks, each as if its album were new.

    Attributes
    ----------
    pooled : np.ndarray [shape=(n_tracks, n_genres)]
        With predictions of the artist's other albums.
    adjusted : np.ndarray [shape=(n_tracks, n_genres)]
        With the genres of these albums as well.
    has_others : np.ndarray [shape=(n_tracks,), dtype=bool]
        Whether the artist has other tagged albums.
    pooling : float
        See `fit_pooling`.
    """

    pooled: np.ndarray
    adjusted: np.ndarray
    has_others: np.ndarray
    pooling: float


def adjust_without_own_album(
    probabilities: np.ndarray, tracks: Sequence[tuple[str, Hashable, int]]
) -> WithoutOwnAlbum:
    """Adjust the predictions of tagged tracks, each as if its album were new.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_genres)]
        By a model that has not seen the artists.
    tracks : sequence of (str, hashable, int)
        See `ArtistContext.of`.
    """
    n_genres = probabilities.shape[1]
    totals, sizes = _without_own_album(_logs(probabilities), tracks)
    one_hot = np.eye(n_genres)[[genre for _, _, genre in tracks]]
    counts = _without_own_album(one_hot, tracks)[0] - one_hot
    pooling = fit_pooling(probabilities, tracks)
    context = ArtistContext.of(tracks, n_genres, pooling=pooling)
    pooled = _pooled(_logs(probabilities), totals, sizes[:, None], pooling)
    adjusted = context.adjust(pooled, counts)
    return WithoutOwnAlbum(pooled, adjusted, sizes > 1, pooling)


def adjust_without_itself(
    probabilities: np.ndarray,
    tracks: Sequence[tuple[str, Hashable, int]],
    counted: Sequence[bool] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Adjust the predictions of tagged tracks, each as if it had no genre itself.

    Nor does its album count where most of its tracks have the same genre: an album that was tagged
    in one go must not vouch for itself.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_genres)]
    tracks : sequence of (str, hashable, int)
        See `ArtistContext.of`.
    counted : sequence of bool, optional
        Whether the genre of a track counts for the others; by default it does.

    Returns
    -------
    adjusted, counts : np.ndarray [shape=(n_tracks, n_genres)]
        Probabilities, and how many of the tracks that count have each genre.
    """
    n_genres = probabilities.shape[1]
    counted = [True] * len(tracks) if counted is None else counted
    those = [track for track, counts in zip(tracks, counted, strict=True) if counts]
    context = ArtistContext.of(those, n_genres)
    of_album: dict[tuple[str, Hashable], np.ndarray] = defaultdict(lambda: np.zeros(n_genres))
    for artist, album, genre in those:
        of_album[artist, album][genre] += 1
    counts = np.array([context.counts.get(artist, np.zeros(n_genres)) for artist, _, _ in tracks])
    for row, (artist, album, genre), own in zip(counts, tracks, counted, strict=True):
        mates = of_album[artist, album].copy()
        mates[genre] -= own
        row[genre] -= own
        if mates[genre] >= mates.sum() - mates[genre]:  # with itself, it is more than half
            row -= mates
    return context.adjust(probabilities, counts), counts


def fit_pooling(probabilities: np.ndarray, tracks: Sequence[tuple[str, Hashable, int]]) -> float:
    """Return the pooling under which the genres of tracks are most probable.

    For each track, the artist's other albums are pooled. Every album counts once, and what is usual
    counts as well, so that little data changes little.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_genres)]
        By a model that has not seen the artists.
    tracks : sequence of (str, hashable, int)
        See `ArtistContext.of`.
    """
    prior = -0.5 * ((POOLINGS - USUAL_POOLING) / POOLING_SPREAD) ** 2
    if not len(tracks):
        return float(POOLINGS[prior.argmax()])
    logs = _logs(probabilities)
    totals, sizes = _without_own_album(logs, tracks)
    of_album: dict[tuple[str, Hashable], int] = defaultdict(int)
    for artist, album, _ in tracks:
        of_album[artist, album] += 1
    counts = np.array([1 / of_album[artist, album] for artist, album, _ in tracks])
    counts[sizes == 1] = 0
    truth = np.array([genre for _, _, genre in tracks])
    for i, pooling in enumerate(POOLINGS):
        pooled = _pooled(logs, totals, sizes[:, None], float(pooling))
        prior[i] += counts @ _logs(pooled[np.arange(len(truth)), truth])
    return float(POOLINGS[prior.argmax()])


def _without_own_album(
    values: np.ndarray, tracks: Sequence[tuple[str, Hashable, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Sum values over each track and the artist's tracks on other albums.

    Returns
    -------
    totals : np.ndarray [shape=(n_tracks, n_genres)]
    sizes : np.ndarray [shape=(n_tracks,), dtype=int]
        How many tracks these are.
    """
    sums: dict[Hashable, np.ndarray] = defaultdict(lambda: np.zeros(values.shape[1] + 1))
    rows = np.column_stack([values, np.ones(len(values))])
    for row, (artist, album, _) in zip(rows, tracks, strict=True):
        sums[artist] += row
        sums[artist, album] += row
    found = np.array(
        [
            row + sums[artist] - sums[artist, album]
            for row, (artist, album, _) in zip(rows, tracks, strict=True)
        ]
    )
    return found[:, :-1], found[:, -1].round().astype(int)


def _logs(probabilities: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))
    return result


def _pooled(own: np.ndarray, total: np.ndarray, n: int | np.ndarray, pooling: float) -> np.ndarray:
    """Return probabilities whose logarithms are moved towards their mean over `n` tracks.

    Parameters
    ----------
    own, total : np.ndarray [shape=(..., n_genres)]
        Log probabilities of a track, and their sum over it and the others.
    """
    logs = (1 - pooling) * own + pooling * total / n
    powers = np.exp(logs - logs.max(axis=-1, keepdims=True))
    result: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return result


def _fit(seen: np.ndarray, others: np.ndarray, shares: np.ndarray) -> float:
    """Return the concentration under which left-out albums are most probable."""
    scores = []
    for concentration in CONCENTRATIONS:
        expected = others + concentration * shares
        expected /= expected.sum(axis=1, keepdims=True)
        fit = float((seen * np.log(expected)).sum())
        prior = -0.5 * (np.log(concentration / USUAL_CONCENTRATION) / CONCENTRATION_SPREAD) ** 2
        scores.append(fit + prior)
    return float(CONCENTRATIONS[int(np.argmax(scores))])
