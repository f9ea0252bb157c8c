"""Artist group factors: how artists sound, as shares of a few groups (paper, section 3.1).

A codebook turns a track's descriptors into words, an artist's bag counts them, and Latent
Dirichlet Allocation finds groups in the bags. Every track of an artist then has the artist's
shares of the groups as the target of a task.

Only what is given to `ArtistGroups.fit` shapes dictionary, normaliser and groups: give it training
tracks alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agf_core.constants import N_GROUPS
from agf_core.groups.codebook import (
    FRAMES_PER_WORD,
    Codebook,
    LabelSet,
    Observations,
    RankNormaliser,
    _from_bytes,
    _to_bytes,
)
from agf_core.utils.lazy import OnDemand

N_WORDS = 2048  # paper, section 4
TRACKS_PER_WORD = 8  # at least; the paper has 12
ARTISTS_PER_GROUP = 15  # at least; a group of fewer is about them and not about music
WORDS_PER_GROUP = 2  # at least
LDA_ROUNDS = 50
INFERENCE_ROUNDS = 100  # for every artist, so that none depends on which others are inferred


def group_sizes(source: str, n_observations: int, n_artists: int) -> tuple[int, int]:
    """Size of the dictionary and number of groups that a corpus supports.

    The paper's 2048 words and 40 groups, but no more than leave each word 200 frames (``m``, ``d``)
    or 8 tracks (``e``), and each group 15 artists and 2 words: FMA-medium gets the paper's numbers,
    60 artists get 4 groups.

    Parameters
    ----------
    source : str
        ``m``, ``d``, ``e`` or ``s``.
    n_observations : int
        Frames, tracks or, for ``s``, different labels, which are the words then.
    n_artists : int

    Returns
    -------
    n_words, n_groups : int
        At least 2 of each.
    """
    if source == "s":
        n_words = n_observations
    else:
        each = TRACKS_PER_WORD if source == "e" else FRAMES_PER_WORD
        n_words = min(N_WORDS, max(2, n_observations // each))
    limit = min(n_artists // ARTISTS_PER_GROUP, n_words // WORDS_PER_GROUP, N_GROUPS)
    return n_words, max(2, limit)


@dataclass(frozen=True, eq=False)
class ArtistGroups:
    """Groups of artists, and the shares in them of any artist, seen in training or unseen.

    Attributes
    ----------
    source : str
        What artists are described by: ``m``, ``d``, ``e`` or ``s``.
    dictionary : Codebook or LabelSet
    topics : np.ndarray [shape=(n_groups, n_words), dtype=float64]
        Parameters of the groups' Dirichlet distributions over words.
    """

    source: str
    dictionary: Codebook | LabelSet
    topics: np.ndarray

    @classmethod
    def fit(
        cls,
        source: str,
        observations: Observations,
        artists: Sequence[str],
        *,
        seed: int = 0,
        dictionary: Codebook | LabelSet | None = None,
    ) -> "ArtistGroups":
        """Find groups.

        Parameters
        ----------
        source : str
            ``m``, ``d``, ``e`` or ``s``.
        observations : sequence
            Of each training track its descriptors, (n_observations, n_columns), or its labels for
            ``s``. Read track by track, several times.
        artists : sequence of str
            Of each training track the artist's key; empty for none.
        seed : int
        dictionary : Codebook or LabelSet, optional
            Of the same tracks, from former groups; by default it is found here.

        Raises
        ------
        ValueError
            When the source is unknown or fewer than two artists can be described.
        """
        from sklearn.decomposition import LatentDirichletAllocation
        from threadpoolctl import threadpool_limits

        if source not in ("m", "d", "e", "s"):
            raise ValueError(f"the source is {source!r}, not m, d, e or s")
        if len(observations) != len(artists):
            raise ValueError(f"{len(observations)} tracks, but {len(artists)} artists")
        sizes = [len(observations[i]) if artist else 0 for i, artist in enumerate(artists)]
        given = np.flatnonzero(sizes).tolist()
        chosen, keys = _Part(observations, given), [artists[i] for i in given]
        n_artists = len(set(keys))
        if n_artists < 2:
            raise ValueError(f"task {source} needs tracks by two artists or more, not {n_artists}")
        with threadpool_limits(1):  # sums in one order, so that the seed decides everything
            labels = sorted({label for row in chosen for label in row}) if source == "s" else []
            n_words, n_groups = group_sizes(source, len(labels) or sum(sizes), n_artists)
            if dictionary is None:
                dictionary = (
                    LabelSet(labels)
                    if source == "s"
                    else Codebook.fit(source, chosen, n_words, seed)
                )
            _, bags = artist_bags(dictionary, chosen, keys)
            allocation = LatentDirichletAllocation(n_groups, max_iter=LDA_ROUNDS, random_state=seed)
            return cls(source, dictionary, allocation.fit(bags[bags.any(axis=1)]).components_)

    @property
    def n_groups(self) -> int:
        """How many groups there are: the classes of the task."""
        return len(self.topics)

    def shares(self, bags: np.ndarray) -> np.ndarray:
        """Shares of the groups in bags of words: the mean of LDA's posterior.

        Parameters
        ----------
        bags : np.ndarray [shape=(n_artists, n_words)]

        Returns
        -------
        np.ndarray [shape=(n_artists, n_groups), dtype=float32]
            Rows sum to 1; NaN where a bag is empty.
        """
        from scipy.special import digamma

        def exp_mean_log(dirichlet: np.ndarray) -> np.ndarray:
            total = dirichlet.sum(axis=1, keepdims=True)
            result: np.ndarray = np.exp(digamma(dirichlet) - digamma(total))
            return result

        prior = 1 / self.n_groups
        word_given_group = exp_mean_log(self.topics)
        gamma = np.ones((len(bags), self.n_groups))
        for _ in range(INFERENCE_ROUNDS):  # Blei et al. (2003), section 5.2
            group = exp_mean_log(gamma)
            expected = group @ word_given_group + np.finfo(float).eps
            gamma = prior + group * ((bags / expected) @ word_given_group.T)
        shares: np.ndarray = gamma / gamma.sum(axis=1, keepdims=True)
        shares[~bags.any(axis=1)] = np.nan
        return shares.astype(np.float32)

    def transform(
        self, observations: Observations, artists: Sequence[str]
    ) -> tuple[list[str], np.ndarray]:
        """Describe artists by their tracks; none of the fitted parts change.

        Returns
        -------
        names : list of str
            Each artist once, in alphabetical order.
        shares : np.ndarray [shape=(n_artists, n_groups), dtype=float32]
            See `shares`.
        """
        names, bags = artist_bags(self.dictionary, observations, artists)
        return names, self.shares(bags)

    def targets(self, observations: Observations, artists: Sequence[str]) -> np.ndarray:
        """Return every track's target: its artist's shares, of the tracks given here alone.

        Returns
        -------
        np.ndarray [shape=(n_tracks, n_groups), dtype=float32]
            NaN where there is no artist or nothing is known of the artist's tracks.
        """
        names, shares = self.transform(observations, artists)
        row = {name: i for i, name in enumerate(names)}
        result = np.full((len(artists), self.n_groups), np.nan, np.float32)
        for i, artist in enumerate(artists):
            if artist:
                result[i] = shares[row[artist]]
        return result

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return all that was fitted, as arrays that `from_arrays` reads."""
        arrays = {"source": _to_bytes([self.source]), "topics": self.topics}
        if isinstance(self.dictionary, LabelSet):
            return arrays | {"labels": _to_bytes(self.dictionary.labels)}
        arrays["centres"] = self.dictionary.centres
        if (normaliser := self.dictionary.normaliser) is not None:
            arrays |= {"kept": normaliser.kept, "quantiles": normaliser.quantiles}
        return {name: np.ascontiguousarray(array) for name, array in arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "ArtistGroups":
        """Read what `to_arrays` made; `KeyError` or `ValueError` otherwise."""
        (source,) = _from_bytes(arrays["source"])
        dictionary: Codebook | LabelSet
        if source == "s":
            dictionary = LabelSet(_from_bytes(arrays["labels"]))
        else:
            normaliser = (
                RankNormaliser(arrays["kept"], arrays["quantiles"]) if source == "e" else None
            )
            dictionary = Codebook(arrays["centres"], normaliser)
        return cls(source, dictionary, arrays["topics"])


def group_targets(
    source: str,
    observations: Observations,
    artists: Sequence[str],
    train: np.ndarray,
    *,
    seed: int = 0,
    dictionary: Codebook | LabelSet | None = None,
) -> tuple[ArtistGroups, np.ndarray]:
    """Find groups in the training tracks and describe every track of a corpus by them.

    An artist on both sides of the split is described on each by the tracks of that side.

    Parameters
    ----------
    source, observations, artists, seed, dictionary
        See `ArtistGroups.fit`; of all tracks.
    train : np.ndarray [dtype=int]
        Indices of the training tracks.

    Returns
    -------
    groups : ArtistGroups
    targets : np.ndarray [shape=(n_tracks, n_groups), dtype=float32]
        See `ArtistGroups.targets`. Learn from those of `train` only.
    """
    sides = [np.asarray(train), np.setdiff1d(np.arange(len(artists)), train)]
    seen = [(_Part(observations, side), [artists[i] for i in side]) for side in sides]
    groups = ArtistGroups.fit(source, *seen[0], seed=seed, dictionary=dictionary)
    targets = np.empty((len(artists), groups.n_groups), np.float32)
    for side, given in zip(sides, seen, strict=True):
        targets[side] = groups.targets(*given)
    return groups, targets


class _Part(OnDemand[Any]):
    """Some items of a sequence, without reading them."""

    def __init__(self, items: Sequence[Any], indices: Sequence[int] | np.ndarray) -> None:
        self.items, self.indices = items, indices

    def __len__(self) -> int:
        return len(self.indices)

    def item(self, index: int) -> Any:
        """Return one of them."""
        return self.items[self.indices[index]]


def artist_bags(
    dictionary: Codebook | LabelSet, observations: Observations, artists: Sequence[str]
) -> tuple[list[str], np.ndarray]:
    """Count how often each word occurs in all tracks of each artist.

    Returns
    -------
    names : list of str
        Each artist once, in alphabetical order; tracks with an empty one are passed over.
    bags : np.ndarray [shape=(n_artists, n_words), dtype=float64]
    """
    from threadpoolctl import threadpool_limits

    names = sorted({artist for artist in artists if artist})
    row = {name: i for i, name in enumerate(names)}
    n_words = len(dictionary.labels if isinstance(dictionary, LabelSet) else dictionary.centres)
    bags = np.zeros((len(names), n_words))
    kept = [i for i, artist in enumerate(artists) if artist]
    with threadpool_limits(1):  # the dictionary has its own threads
        for i, counts in zip(kept, dictionary.counts(_Part(observations, kept)), strict=True):
            bags[row[artists[i]]] += counts
    return names, bags
