"""The genre of a track, given the genres of its artist's other tracks.

Artists keep to their genres. How closely is estimated from the tags of a collection, by leaving
albums out: the shares of genres among an artist's tracks are taken to be drawn from a Dirichlet
distribution around those of the collection, whose concentration is low where artists have one genre
each, and high where an artist's tracks are of all genres.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

CONCENTRATIONS = np.geomspace(0.1, 100, 13)  # that are tried
USUAL_CONCENTRATION = 0.3  # of collections: the geometric mean
CONCENTRATION_SPREAD = 1.5  # standard deviation of its logarithm
SMALLEST_PROBABILITY = 1e-9


@dataclass(frozen=True, eq=False)
class ArtistContext:
    """Genres of artists in a collection.

    Attributes
    ----------
    counts : dict
        Tracks of each genre by artist, np.ndarray [shape=(n_genres,)].
    shares : np.ndarray [shape=(n_genres,)]
        Of the genres in the collection.
    concentration : float
        In tracks.
    """

    counts: dict[str, np.ndarray]
    shares: np.ndarray
    concentration: float

    @classmethod
    def of(cls, tracks: Iterable[tuple[str, Hashable, int]], n_genres: int) -> "ArtistContext":
        """Collect the artist, the album and the genre of tagged tracks.

        Parameters
        ----------
        tracks : iterable of (str, hashable, int)
            Of each: the artist's key, the album's, the index of the genre.
        n_genres : int
        """
        by_album: dict[str, dict[Hashable, np.ndarray]] = defaultdict(
            lambda: defaultdict(lambda: np.zeros(n_genres))
        )
        for artist, album, genre in tracks:
            by_album[artist][album][genre] += 1
        counts = {
            artist: np.sum(list(albums.values()), axis=0) for artist, albums in by_album.items()
        }
        total = np.sum([np.ones(n_genres), *counts.values()], axis=0)
        shares = total / total.sum()
        seen, others = [], []
        for artist, albums in by_album.items():
            for own in albums.values() if len(albums) > 1 else ():
                seen.append(own / own.sum())
                others.append(counts[artist] - own)
        concentration = (
            _fit(np.array(seen), np.array(others), shares) if seen else USUAL_CONCENTRATION
        )
        return cls(counts, shares, concentration)

    def weights(self, counts: np.ndarray) -> np.ndarray:
        """Return what the probabilities of genres are multiplied by, (..., n_genres).

        Parameters
        ----------
        counts : np.ndarray [shape=(..., n_genres)]
            Of the artist's other tracks.
        """
        expected = counts + self.concentration * self.shares
        result: np.ndarray = expected / expected.sum(axis=-1, keepdims=True) / self.shares
        return result

    def adjust(self, probabilities: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Combine the probabilities of a track by its sound with the counts of other tracks."""
        weighted = np.maximum(probabilities, SMALLEST_PROBABILITY) * self.weights(counts)
        result: np.ndarray = weighted / weighted.sum(axis=-1, keepdims=True)
        return result


def adjust_without_own_album(
    probabilities: np.ndarray, tracks: Sequence[tuple[str, Hashable, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Adjust the predictions of tagged tracks, each as if its album had no genre yet.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_tracks, n_genres)]
    tracks : sequence of (str, hashable, int)
        See `ArtistContext.of`.

    Returns
    -------
    adjusted : np.ndarray [shape=(n_tracks, n_genres)]
    known : np.ndarray [shape=(n_tracks,), dtype=bool]
        Whether the artist has other tagged albums.
    """
    n_genres = probabilities.shape[1]
    context = ArtistContext.of(tracks, n_genres)
    of_album: dict[tuple[str, Hashable], np.ndarray] = defaultdict(lambda: np.zeros(n_genres))
    for artist, album, genre in tracks:
        of_album[artist, album][genre] += 1
    counts = np.array([context.counts[a] - of_album[a, album] for a, album, _ in tracks])
    return context.adjust(probabilities, counts), np.array(counts.sum(axis=1) > 0)


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
