"""Exact search among vectors by cosine: nearest neighbours, and paths from one to another."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

CANDIDATES = 50  # vectors that each step of a path chooses from
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

        Each vector has a place on the great circle through both ends, where it is nearest to it.
        The circle is cut into as many parts as there are steps; of the vectors nearest to the
        circle, one in each part is chosen, so that the squares of the distances between one and the
        next have the smallest sum (Viterbi).

        Parameters
        ----------
        start, end : int
        count : int
            Length, with both ends; it is shorter where a part of the circle is empty.
        allowed : np.ndarray [shape=(n,), dtype=bool], optional
            Rows that may lie between the ends.
        """
        along, closeness = self._on_circle(start, end)
        part = np.floor(along * (count - 2)).astype(int)
        usable = np.ones(len(along), bool) if allowed is None else allowed.copy()
        usable[[start, end]] = False
        steps = [np.array([start])]
        for step in range(count - 2):
            inside = np.flatnonzero(usable & (part == step))
            if len(inside):
                steps.append(inside[np.argsort(-closeness[inside], kind="stable")[:CANDIDATES]])
        return self._shortest([*steps, np.array([end])])

    def _on_circle(self, start: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Return where each vector is nearest to the circle, 0 to 1 between the ends, and how near.

        The distance is a cosine; it is 0 of vectors on a right angle to the circle.
        """
        first, last = self.vectors[start], self.vectors[end]
        across = last - (first @ last) * first
        across /= max(float(np.linalg.norm(across)), SMALLEST)
        x, y = self.vectors @ first, self.vectors @ across
        whole = np.arctan2(last @ across, last @ first)
        return np.arctan2(y, x) / max(float(whole), SMALLEST), np.hypot(x, y)

    def _shortest(self, steps: Sequence[np.ndarray]) -> list[int]:
        """Return one row of each step, with the smallest sum of squared distances."""
        cost, chosen = np.zeros(len(steps[0])), []
        for before, after in pairwise(steps):
            distances = 2 - 2 * self.vectors[before] @ self.vectors[after].T
            total = cost[:, None] + distances
            chosen.append(total.argmin(axis=0))
            cost = total.min(axis=0)
        place = int(cost.argmin())
        path = [int(steps[-1][place])]
        for rows, best in zip(reversed(steps[:-1]), reversed(chosen), strict=True):
            place = int(best[place])
            path.append(int(rows[place]))
        return path[::-1]
