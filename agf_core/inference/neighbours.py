"""Exact search among vectors by cosine: nearest neighbours, and paths from one to another."""

from collections.abc import Sequence

import numpy as np

CANDIDATES = 300  # for a path, nearest to its start, its end and its middle each
SMALLEST = 1e-12  # of a length


class Neighbours:
    """Vectors that are searched.

    Parameters
    ----------
    vectors : np.ndarray [shape=(n, n_features)]
        They are copied, normalised and held in single precision: 1 kB each of 256 numbers.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = np.array(vectors, np.float32)
        lengths = np.sqrt(np.einsum("ij,ij->i", self.vectors, self.vectors))
        self.vectors /= np.maximum(lengths, SMALLEST)[:, None]

    def similarities(self, rows: Sequence[int]) -> np.ndarray:
        """Return the cosine of every vector and the mean direction of some, (n,)."""
        mean = self.vectors[rows].mean(axis=0)
        result: np.ndarray = self.vectors @ (mean / max(float(np.linalg.norm(mean)), SMALLEST))
        return result

    def nearest(self, rows: Sequence[int]) -> np.ndarray:
        """Return all rows, the nearest to the mean direction of some first; equals by number."""
        return np.argsort(-self.similarities(rows), kind="stable")

    def path(
        self, start: int, end: int, count: int, allowed: np.ndarray | None = None
    ) -> list[int]:
        """Return rows that lead from one vector to another in steps as small as possible.

        Every step leads nearer to the end than to the start, by the difference of the two cosines,
        so that no row comes twice. Of all such paths among the vectors nearest to the start, to the
        end and to the middle, that with the smallest sum of the distances' eighth powers, in which
        the largest step counts most, is found by dynamic programming.

        Parameters
        ----------
        start, end : int
        count : int
            Length, with both ends; it is shorter where too few vectors lie between.
        allowed : np.ndarray [shape=(n,), dtype=bool], optional
            Rows that may lie between the ends.
        """
        to_ends = self.vectors @ self.vectors[[start, end]].T
        progress = to_ends[:, 1] - to_ends[:, 0]
        between = (progress > progress[start]) & (progress < progress[end])
        if allowed is not None:
            between &= allowed
        between[[start, end]] = False
        rows = np.flatnonzero(between)
        if len(rows) > CANDIDATES:
            near = -np.column_stack([to_ends, to_ends.sum(axis=1)])[rows]
            best = np.argpartition(near, CANDIDATES, axis=0)[:CANDIDATES]
            rows = rows[np.unique(best)]
        rows = rows[np.argsort(progress[rows], kind="stable")]
        return self._shortest(np.concatenate([[start], rows, [end]]), count)

    def _shortest(self, rows: np.ndarray, count: int) -> list[int]:
        """Return `count` rows, or as many as there are, in order, from the first to the last one.

        The sum of their distances' eighth powers is the smallest.
        """
        vectors = self.vectors[rows]
        distances = (1 - vectors @ vectors.T) ** 4  # of squared distances, and without a factor
        distances[np.tril_indices(len(rows))] = np.inf  # only forwards
        cost, chosen = np.where(np.arange(len(rows)) == 0, 0, np.inf), []
        for _ in range(min(count, len(rows)) - 1):
            total = cost[:, None] + distances
            chosen.append(total.argmin(axis=0))
            cost = total.min(axis=0)
        places = [len(rows) - 1]
        for best in reversed(chosen):
            places.append(int(best[places[-1]]))
        return [int(rows[place]) for place in reversed(places)]
