"""Embeddings whitened within artists, so that distances depend on the music, not the recording.

Tracks of one artist differ in what depends little on the genre: the mix, the loudness, the tempo.
Directions in which they differ much are shrunk.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agf_core.utils.blocks import ROWS_AT_ONCE, blocks

SHRINKAGE = 0.1  # of the scatter within artists, towards a multiple of the identity
SEARCH_SHRINKAGE = 1.0  # the same where neighbours are searched for: see docs/results/similar.md
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
        n = len(embeddings)
        centre = (embeddings.sum(axis=0, dtype=np.float64) / n).astype(np.float32)
        squares = np.zeros(centre.shape)
        for block in blocks(n):
            squares += ((embeddings[block].astype(np.float32) - centre) ** 2).sum(axis=0)
        spread = np.sqrt(squares / n)
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
        result = np.empty(embeddings.shape, np.float32)
        for block in blocks(len(embeddings)):
            result[block] = (embeddings[block].astype(np.float32) - self.centre) @ self.matrix
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
    block_ends = np.flatnonzero(np.diff(ends // ROWS_AT_ONCE)) + 1
    for some in np.split(np.arange(len(count)), block_ends):
        counts, end = count[some], ends[some[-1]]
        tracks = embeddings[order[end - counts.sum() : end]].astype(np.float32) * scale
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
