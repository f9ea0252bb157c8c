"""Codebooks that turn a track's features into words: k-means and label vocabularies."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from agf_core.utils.cores import available_cores

FRAMES_PER_WORD = 200  # sampled to make a dictionary of frames: 4.6 seconds a word
LLOYD_ROUNDS = 20
N_QUANTILES = 5_000  # kept of each entry at most: 90 MB for Essentia's
MISSING_SHARE = 0.5  # of entries, above which a vector counts as none
ROWS_PER_PRODUCT = 256  # words are sought for at once: 2 MB of distances stay in a core's cache
ROWS_PER_PART = 8 * ROWS_PER_PRODUCT  # that a thread takes at once
BLOCK_BYTES = 2**26  # of descriptors held in memory at a time
Observations = Sequence[np.ndarray] | Sequence[Sequence[str]]


class RankNormaliser:
    """Map each entry to a normal distribution by its rank among the training tracks.

    Only the order of an entry's values counts, so that the unit of an entry, or its logarithm,
    changes nothing. Equal values share the mean of their ranks. An entry that is the same in all
    training tracks is 0 everywhere.

    Parameters
    ----------
    kept : np.ndarray [shape=(n_entries,), dtype=bool]
        Entries that are finite in every training track.
    quantiles : np.ndarray [shape=(n_quantiles, n_kept)]
        Values of the training tracks in the entries kept, from the smallest to the largest: all of
        them, or `N_QUANTILES` at equal steps of rank.
    """

    def __init__(self, kept: np.ndarray, quantiles: np.ndarray) -> None:
        self.kept, self.quantiles = kept, quantiles

    @classmethod
    def fit(cls, rows: np.ndarray) -> "RankNormaliser":
        """Fit on training tracks, one a row; an entry that is not finite in one is dropped."""
        kept = np.isfinite(rows).all(axis=0)
        if not kept.any():
            raise ValueError("every entry of the descriptors is missing in some track")
        ranks = np.linspace(0, len(rows) - 1, min(N_QUANTILES, len(rows))).round().astype(int)
        return cls(kept, np.sort(rows[:, kept], axis=0)[ranks])

    def transform(self, rows: np.ndarray) -> np.ndarray:
        """Return the entries kept, normalised; a missing one counts as the median, 0.

        A value between those of two training tracks has a rank between theirs; one beyond all of
        them has the rank of the outermost.

        Parameters
        ----------
        rows : np.ndarray [shape=(n_tracks, n_entries)]

        Returns
        -------
        np.ndarray [shape=(n_tracks, n_kept), dtype=float32]
        """
        from scipy.special import ndtri

        rows, n = rows[:, self.kept], len(self.quantiles)
        missing = ~np.isfinite(rows) | (self.quantiles[0] == self.quantiles[-1])
        below = np.empty(rows.shape)  # training tracks below a value, equal ones count half
        for column, known in enumerate(np.ascontiguousarray(self.quantiles.T)):
            values = rows[:, column]
            sides = [np.searchsorted(known, values, side) for side in ("left", "right")]
            below[:, column] = (sides[0] + sides[1]) / 2
        normal = ndtri(below.clip(0.5, n - 0.5) / n)
        return np.where(missing, 0, normal).astype(np.float32)


class Codebook:
    """Words that descriptors are nearest to.

    Parameters
    ----------
    centres : np.ndarray [shape=(n_words, n_columns), dtype=float32]
    normaliser : RankNormaliser, optional
        Applied to descriptors first.
    """

    def __init__(self, centres: np.ndarray, normaliser: RankNormaliser | None = None) -> None:
        self.centres, self.normaliser = centres, normaliser
        # The nearest centre c to x has the largest x.c - |c|^2 / 2: one product with (x, 1).
        self._plane = np.vstack([centres.T, -0.5 * (centres**2).sum(axis=1)])

    @classmethod
    def fit(
        cls, source: str, observations: Sequence[np.ndarray], n_words: int, seed: int
    ) -> "Codebook":
        """K-means: Lloyd's rounds on a sample that takes as many frames of every track.

        Of whole-track vectors the sample is all of them.
        """
        from sklearn.cluster import KMeans, kmeans_plusplus

        rng = np.random.default_rng(seed)
        each = -(-n_words * FRAMES_PER_WORD // len(observations))  # rounded up
        rows = np.concatenate([_sample(o, each, rng) for o in observations])
        normaliser = None
        if source == "e":
            rows = _without_gaps(rows)
            normaliser = RankNormaliser.fit(rows)
            rows = normaliser.transform(rows)
        rows = rows[rng.permutation(len(rows))[: n_words * FRAMES_PER_WORD]]
        n_words = min(n_words, len(np.unique(rows, axis=0)))
        start, _ = kmeans_plusplus(rows[: 10 * n_words], n_words, random_state=seed)
        means = KMeans(n_words, init=start, n_init=1, max_iter=LLOYD_ROUNDS).fit(rows)
        return cls(means.cluster_centers_.astype(np.float32), normaliser)

    def words(self, rows: np.ndarray) -> np.ndarray:
        """Return the index of the word nearest to each row."""
        if self.normaliser is not None:
            rows = self.normaliser.transform(rows)
        found = np.empty(len(rows), np.int64)
        extended = np.hstack([rows, np.ones((len(rows), 1), np.float32)])
        for start in range(0, len(rows), ROWS_PER_PRODUCT):
            part = slice(start, start + ROWS_PER_PRODUCT)
            found[part] = (extended[part] @ self._plane).argmax(axis=1)
        return found

    def counts(self, observations: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield how often each word occurs in each track, (n_words,)."""
        count = partial(np.bincount, minlength=len(self.centres))
        with ThreadPoolExecutor(available_cores()) as pool:
            for block in _blocks(observations):
                rows = [_without_gaps(o) if self.normaliser else o for o in block]
                ends = np.cumsum([len(r) for r in rows])
                together = np.concatenate(rows)
                parts = [together[i : i + ROWS_PER_PART] for i in range(0, ends[-1], ROWS_PER_PART)]
                words = [np.empty(0, np.int64), *pool.map(self.words, parts)]
                yield from map(count, np.split(np.concatenate(words), ends[:-1]))


def _sample(rows: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return `n` of the rows, or all, in their order."""
    return rows if len(rows) <= n else rows[np.sort(rng.choice(len(rows), n, replace=False))]


def _without_gaps(rows: np.ndarray) -> np.ndarray:
    """Return the rows of which most entries are there."""
    result: np.ndarray = rows[(~np.isfinite(rows)).mean(axis=1) <= MISSING_SHARE]
    return result


def _blocks(observations: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Yield the tracks' descriptors in lists of about `BLOCK_BYTES`."""
    block: list[np.ndarray] = []
    size = 0
    for rows in observations:
        block.append(rows)
        size += rows.nbytes
        if size >= BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


class LabelSet:
    """Genre labels as words; labels that it does not have are not counted.

    Parameters
    ----------
    labels : sequence of str
    """

    def __init__(self, labels: Iterable[str]) -> None:
        self.labels = tuple(labels)
        self._index = {label: i for i, label in enumerate(self.labels)}

    def counts(self, observations: Sequence[Sequence[str]]) -> Iterator[np.ndarray]:
        """Yield how often each label is given to each track, (n_labels,)."""
        for labels in observations:
            known = [self._index[label] for label in labels if label in self._index]
            yield np.bincount(np.array(known, int), minlength=len(self.labels))


def _to_bytes(words: Iterable[str]) -> np.ndarray:
    """Return words as one array of bytes: the tensors of a model hold numbers only."""
    return np.frombuffer("\0".join(words).encode(), np.uint8)


def _from_bytes(array: np.ndarray) -> list[str]:
    return array.tobytes().decode().split("\0")
