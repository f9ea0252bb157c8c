"""Embeddings whitened within artists, so that distances depend on the music, not the recording.

Tracks of one artist differ in what depends little on the genre: the mix, the loudness, the tempo.
Directions in which they differ much are shrunk.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SHRINKAGE = 0.1  # of the scatter within artists, towards a multiple of the identity
SEARCH_SHRINKAGE = 1.0  # the same where neighbours are searched for: see docs/results/similar.md
ARTISTS_AT_ONCE = 1000  # for the sake of memory
FEWEST_PAIRS = 30  # tracks, less one for each artist, below which the scatter is not estimated


@dataclass(frozen=True, eq=False)
class Whitening:
    """An affine map of embeddings.

    Attributes
    ----------
    centre : np.ndarray [shape=(n_embedding,)]
        Subtracted first.
    matrix : np.ndarray [shape=(n_embedding, n_embedding)]
        Multiplied by then.
    """

    centre: np.ndarray
    matrix: np.ndarray

    @classmethod
    def fit(
        cls,
        embeddings: np.ndarray,
        artists: Sequence[str],
        shrinkage: float = SHRINKAGE,
        fewest_pairs: int = FEWEST_PAIRS,
    ) -> "Whitening":
        """Standardise embeddings, then whiten them by the scatter within artists.

        Parameters
        ----------
        embeddings : np.ndarray [shape=(n_tracks, n_embedding)]
        artists : sequence of str
            Tracks of an unknown artist, "", do not count in the scatter.
        shrinkage, fewest_pairs
            See `within_artist_whitening`.
        """
        exact = embeddings.astype(np.float32)
        centre, spread = exact.mean(axis=0), exact.std(axis=0)
        del exact
        scale = np.where(spread > 0, 1 / np.maximum(spread, 1e-6), 0).astype(np.float32)
        known = np.array([artist != "" for artist in artists], bool)
        matrix = within_artist_whitening(
            embeddings if known.all() else embeddings[known],
            [artist for artist in artists if artist],
            shrinkage,
            fewest_pairs,
            scale=scale,
        )
        return cls(centre, (scale[:, None] * matrix).astype(np.float32))

    def apply(self, embeddings: np.ndarray) -> np.ndarray:
        """Return whitened embeddings, (n_tracks, n_embedding)."""
        centred = embeddings.astype(np.float32)
        centred -= self.centre
        result: np.ndarray = centred @ self.matrix
        return result


def within_artist_whitening(
    embeddings: np.ndarray,
    artists: Sequence[str],
    shrinkage: float,
    fewest_pairs: int,
    *,
    scale: np.ndarray | float = 1.0,
) -> np.ndarray:
    """Return a matrix that embeddings are multiplied by to make each artist's tracks round.

    That is within-class covariance normalisation (Hatch et al., Interspeech 2006) with artists as
    the classes.

    Parameters
    ----------
    embeddings : np.ndarray [shape=(n_tracks, n_embedding)]
    artists : sequence of str
    shrinkage : float
        Share of the identity.
    fewest_pairs : int
        Degrees of freedom below which the identity is returned.
    scale : np.ndarray [shape=(n_embedding,)], optional
        That embeddings are multiplied by first, to be standardised.
    """
    n_embedding = embeddings.shape[1]
    _, owner, count = np.unique(artists, return_inverse=True, return_counts=True)
    free = len(owner) - len(count)
    if n_embedding == 0 or free < fewest_pairs:
        return np.eye(n_embedding)
    order, ends = np.argsort(owner, kind="stable"), np.cumsum(count)
    scatter = np.zeros((n_embedding, n_embedding))
    for first in range(0, len(count), ARTISTS_AT_ONCE):
        counts = count[first : first + ARTISTS_AT_ONCE]
        begin = ends[first] - count[first]
        tracks = embeddings[order[begin : begin + counts.sum()]].astype(np.float32) * scale
        means = np.add.reduceat(tracks, np.cumsum(counts) - counts) / counts[:, None]
        inner = (tracks - np.repeat(means, counts, axis=0)).astype(np.float32)
        scatter += inner.T @ inner
    scatter /= free
    level = np.trace(scatter) / n_embedding
    if level <= 0:
        return np.eye(n_embedding)
    sizes, directions = np.linalg.eigh(scatter)
    stretch = np.sqrt(level / (np.maximum(sizes, 0) + shrinkage * level))
    result: np.ndarray = (directions * stretch) @ directions.T
    return result
