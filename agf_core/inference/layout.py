"""A map of tracks: embeddings laid out in two dimensions, so that similar tracks are neighbours.

The layout is that of t-SNE (van der Maaten and Hinton, Journal of Machine Learning Research 9,
2008) by openTSNE, begun at the first two principal components, so that it depends on nothing but
the embeddings. Without openTSNE, and of very few tracks, those components are the layout. A track
that is added later is placed at the median of its nearest neighbours, and no other track moves.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from agf_core.inference.whitening import SEARCH_SHRINKAGE, Whitening
from agf_core.utils.blocks import blocks

FEWEST_FITTED = 20  # sounds, below which t-SNE shows nothing that the principal components do not
MOST_FITTED = 30_000  # sounds that t-SNE lays out; the others are placed among them
N_COMPONENTS = 50  # principal components that distances are measured in
PERPLEXITY = 30.0
N_NEIGHBOURS = 5  # that a track is placed among
EXAGGERATED, ITERATIONS = 250, 250  # iterations with exaggerated attraction, and then without
EXAGGERATION = 12.0
N_JOBS = 1  # threads: more wait for each other most of the time
BLOCK = 128  # rows of distances in memory at a time


@dataclass(frozen=True, eq=False)
class Layout:
    """Positions of sounds.

    Attributes
    ----------
    keys : np.ndarray [shape=(n,), dtype=uint64]
        Of the sounds, see `sound_keys`; ascending, each once.
    positions : np.ndarray [shape=(n, 2), dtype=float32]
    fitted : np.ndarray [shape=(n,), dtype=bool]
        Whether a sound was laid out together with the others, and not placed later.
    """

    keys: np.ndarray
    positions: np.ndarray
    fitted: np.ndarray

    def of(self, keys: np.ndarray) -> np.ndarray:
        """Return the positions of sounds that all are in the layout, (n, 2)."""
        result: np.ndarray = self.positions[np.searchsorted(self.keys, keys)]
        return result


def method() -> str:
    """Return how layouts are made here: ``tsne``, or ``pca`` where openTSNE is not installed."""
    return "tsne" if find_spec("openTSNE") else "pca"


def sound_keys(embeddings: np.ndarray) -> np.ndarray:
    """Return a number for each embedding, equal where embeddings are equal to the last bit.

    Parameters
    ----------
    embeddings : np.ndarray [shape=(n_tracks, n_embedding)]

    Returns
    -------
    np.ndarray [shape=(n_tracks,), dtype=uint64]
    """
    digests = (hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in embeddings)
    return np.frombuffer(b"".join(digests), "<u8")


def lay_out(embeddings: np.ndarray, artists: Sequence[str], known: Layout | None = None) -> Layout:
    """Return a layout that has every track; positions that are known stay.

    Parameters
    ----------
    embeddings : np.ndarray [shape=(n_tracks, n_embedding)]
    artists : sequence of str
        By whose tracks embeddings are whitened.
    known : Layout, optional
        Is extended, as long as at least half of the sounds were fitted with it. Otherwise all are
        laid out anew.
    """
    keys, first = np.unique(sound_keys(embeddings), return_index=True)
    embeddings = embeddings[first]  # in the order of keys, whatever the order of the tracks is
    whitening = Whitening.fit(embeddings, [artists[i] for i in first], SEARCH_SHRINKAGE)
    points = _principal_components(whitening.apply(embeddings), N_COMPONENTS)
    if known is None or 2 * np.isin(keys, known.keys[known.fitted]).sum() < len(keys):
        # Keys are as good as random numbers, so that the smallest are a fair sample.
        known = Layout(keys[:MOST_FITTED], _fitted(points[:MOST_FITTED]), _ones(keys[:MOST_FITTED]))
    new = ~np.isin(keys, known.keys)
    if not new.any():
        return known
    neighbours, _ = nearest(points[new], points[~new], N_NEIGHBOURS)
    positions = np.median(known.of(keys[~new])[neighbours], axis=1)
    all_keys = np.concatenate([known.keys, keys[new]])
    order = np.argsort(all_keys)
    return Layout(
        all_keys[order],
        np.concatenate([known.positions, positions])[order],
        np.concatenate([known.fitted, ~_ones(keys[new])])[order],
    )


def is_complete(layout: Layout, keys: np.ndarray) -> bool:
    """Return whether all sounds are in a layout."""
    return bool(np.isin(keys, layout.keys).all())


def nearest(
    points: np.ndarray, others: np.ndarray, n_neighbours: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest of `others` to each point, and how far away they are, nearest first.

    Returns
    -------
    indices, distances : np.ndarray [shape=(n_points, n_neighbours)]
        Fewer where there are fewer others.
    """
    n_neighbours = min(n_neighbours, len(others))
    lengths = (others**2).sum(axis=1)
    indices = np.zeros((len(points), n_neighbours), np.int32)
    squares = np.zeros(indices.shape, np.float32)
    for start in range(0, len(points), BLOCK):
        block = points[start : start + BLOCK]
        distances = lengths - 2 * block @ others.T  # less the square of the point, which all have
        best = np.argpartition(distances, n_neighbours - 1, axis=1)[:, :n_neighbours]
        found = np.take_along_axis(distances, best, axis=1)
        order = np.argsort(found, axis=1, kind="stable")
        rows = slice(start, start + len(block))
        indices[rows] = np.take_along_axis(best, order, axis=1)
        own = (block**2).sum(axis=1, keepdims=True)
        squares[rows] = np.take_along_axis(found, order, axis=1) + own
    return indices, np.sqrt(np.maximum(squares, 0))


def _ones(keys: np.ndarray) -> np.ndarray:
    return np.ones(len(keys), bool)


def _principal_components(points: np.ndarray, n_components: int) -> np.ndarray:
    centre, scatter = points.mean(axis=0), np.zeros((points.shape[1], points.shape[1]))
    for block in blocks(len(points)):
        centred = (points[block] - centre).astype(np.float64)
        scatter += centred.T @ centred
    _, directions = np.linalg.eigh(scatter)
    largest = directions[:, ::-1][:, :n_components]
    # The sign of a direction is arbitrary: its largest number is to be positive.
    largest = largest * np.sign(largest[np.abs(largest).argmax(axis=0), range(largest.shape[1])])
    result = np.empty((len(points), largest.shape[1]), np.float32)
    for block in blocks(len(points)):
        result[block] = (points[block] - centre).astype(np.float64) @ largest
    return result


def _fitted(points: np.ndarray) -> np.ndarray:
    """Return positions of sounds that are all laid out together, (n, 2)."""
    flat = np.zeros((len(points), 2), np.float32)
    flat[:, : points.shape[1]] = points[:, :2]
    spread = float(flat[:, 0].std())
    if len(points) < FEWEST_FITTED or not spread or method() == "pca":
        return flat
    from openTSNE import TSNEEmbedding
    from openTSNE.affinity import PerplexityBasedNN
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    indices, distances = nearest(points, points, round(3 * perplexity) + 1)
    graph = PrecomputedNeighbors(*_without_itself(indices, distances))
    affinities = PerplexityBasedNN(knn_index=graph, perplexity=perplexity, n_jobs=N_JOBS)
    start = (flat / spread * 1e-4).astype(np.float64)
    embedding = TSNEEmbedding(start, affinities, n_jobs=N_JOBS, random_state=0)
    embedding.optimize(EXAGGERATED, exaggeration=EXAGGERATION, momentum=0.5, inplace=True)
    embedding.optimize(ITERATIONS, momentum=0.8, inplace=True)
    return np.asarray(embedding, np.float32)


def _without_itself(indices: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return neighbours of points among themselves without each point, (n, n_neighbours - 1)."""
    others = indices != np.arange(len(indices))[:, None]
    others[others.all(axis=1), -1] = False  # of equal points another one may have come first
    shape = len(indices), indices.shape[1] - 1
    return indices[others].reshape(shape), distances[others].reshape(shape).astype(np.float64)
