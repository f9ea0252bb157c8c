"""Artist groups on generated material."""

import numpy as np
import pytest
from safetensors.numpy import load, save
from scipy.stats import norm, rankdata
from sklearn.decomposition import LatentDirichletAllocation

from agf_core.groups import codebook, lda
from agf_core.groups.codebook import Codebook, LabelSet
from agf_core.groups.lda import ArtistGroups, artist_bags, group_sizes, group_targets

N_ARTISTS, KINDS = 40, 4
LABELS = [("Rock", "Punk"), ("Jazz", "Bebop"), ("Techno", "House"), ("Folk", "Ballad")]


def corpus(source, seed=0):
    """Three tracks by each of forty artists of four kinds that sound nothing alike."""
    rng = np.random.default_rng(seed)
    columns = 60 if source == "e" else 25
    sounds = rng.normal(0, 30, (KINDS, 3, columns))
    observations, artists = [], []
    for artist in range(N_ARTISTS):
        kind = artist % KINDS
        for _ in range(3):
            n = 1 if source == "e" else int(rng.integers(200, 260))
            if source == "s":
                observations.append(tuple(rng.permutation(LABELS[kind])[: rng.integers(1, 3)]))
            else:
                frames = sounds[kind, rng.integers(3, size=n)] + rng.normal(size=(n, columns))
                observations.append(frames.astype(np.float32))
            artists.append(f"artist {artist}")
    return observations, artists


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Sizes at which thirty-two artists have four groups and it takes a moment."""
    monkeypatch.setattr(lda, "ARTISTS_PER_GROUP", 8)
    monkeypatch.setattr(lda, "N_WORDS", 64)


@pytest.mark.parametrize("source", list("mdes"))
def test_groups_separate_artists_that_sound_different(source, monkeypatch):
    """The artists nearest to one in their groups are of its kind, also for unseen artists."""
    monkeypatch.setattr(lda, "ARTISTS_PER_GROUP", 4)
    observations, artists = corpus(source)
    number = np.array([int(artist.split()[1]) for artist in artists])
    train = np.flatnonzero(number < 32)
    groups, targets = group_targets(source, observations, artists, train)
    assert groups.n_groups == (4 if source == "s" else 6 if source == "e" else 8)
    assert targets.shape == (120, groups.n_groups)
    assert targets.dtype == np.float32
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-5)
    assert (targets[0::3] == targets[1::3]).all()  # every track of an artist has the same
    kinds, shares = (number % KINDS)[::3], targets[::3]
    far = np.abs(shares[:, None] - shares).sum(axis=2)
    far[np.arange(40), np.arange(40)] = far[:, 32:] = np.inf  # compared to artists seen in training
    assert (kinds[far.argmin(axis=1)] == kinds).mean() > 0.9


@pytest.mark.parametrize("source", list("mdes"))
def test_nothing_of_held_out_tracks_reaches_what_is_fitted(source):
    observations, artists = corpus(source)
    held_out = np.arange(1, 120, 6)  # artists on both sides, too
    train = np.setdiff1d(np.arange(120), held_out)
    poisoned, renamed = list(observations), list(artists)
    for i in held_out:
        renamed[i] = "artist 0"
        if source == "s":
            poisoned[i] = ("Poison",) * 1_000
        else:
            poisoned[i] = np.full_like(observations[i], [1e30, -1e30, np.nan][i % 3])
            if source != "e":
                poisoned[i] = np.nan_to_num(poisoned[i])
    clean, targets = group_targets(source, observations, artists, train)
    odd, odd_targets = group_targets(source, poisoned, renamed, train)
    one, other = clean.to_arrays(), odd.to_arrays()
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].tobytes() == other[name].tobytes(), name
    assert targets[train].tobytes() == odd_targets[train].tobytes()


@pytest.mark.parametrize("source", list("mes"))
def test_a_seed_decides_everything_and_saved_groups_are_the_same(source):
    observations, artists = corpus(source)
    first, again = (ArtistGroups.fit(source, observations, artists, seed=3) for _ in range(2))
    loaded = ArtistGroups.from_arrays(load(save(first.to_arrays())))
    assert loaded.source == source
    unseen, names = corpus(source, seed=1)
    for other in (again, loaded):
        assert other.to_arrays().keys() == first.to_arrays().keys()
        for name, array in first.to_arrays().items():
            np.testing.assert_array_equal(other.to_arrays()[name], array)
        one, two = first.transform(unseen, names), other.transform(unseen, names)
        assert one[0] == two[0]
        assert one[1].tobytes() == two[1].tobytes()
    kept = ArtistGroups.fit(source, observations, artists, seed=3, dictionary=first.dictionary)
    assert kept.topics.tobytes() == first.topics.tobytes()
    different = ArtistGroups.fit(source, observations, artists, seed=4)
    assert not np.array_equal(different.topics, first.topics)


def test_groups_of_before_with_few_quantiles_still_load():
    """Two hundred quantiles were kept, whatever the number of tracks."""
    observations, artists = corpus("e")
    arrays = ArtistGroups.fit("e", observations, artists).to_arrays()
    old = np.quantile(np.concatenate(observations), np.linspace(0, 1, 200), axis=0)
    groups = ArtistGroups.from_arrays(arrays | {"quantiles": old.astype(np.float32)})
    assert np.isfinite(groups.targets(observations, artists)).all()


def test_shares_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    bags = rng.poisson(0.3, (50, 80)).astype(float)
    allocation = LatentDirichletAllocation(5, max_iter=5, random_state=0, mean_change_tol=1e-9)
    allocation.fit(bags)
    groups = ArtistGroups("s", LabelSet(map(str, range(80))), allocation.components_)
    np.testing.assert_allclose(groups.shares(bags), allocation.transform(bags), atol=1e-5)


def test_bags_count_the_words_of_all_tracks():
    dictionary = Codebook(np.array([[0.0], [10.0], [20.0]], np.float32))
    tracks = [[1, 2, 19], [9], [], [21, 22], [0]]
    observations = [np.array(t, np.float32).reshape(-1, 1) for t in tracks]
    names, bags = artist_bags(dictionary, observations, ["b", "a", "a", "b", ""])
    assert names == ["a", "b"]
    assert bags.tolist() == [[0, 1, 0], [2, 0, 3]]  # nothing is known of the second track of a


@pytest.mark.parametrize("source", list("es"))
def test_the_more_tracks_an_artist_has_the_clearer_are_the_shares(source):
    """LDA's prior is worth one word: it must not outweigh twelve tracks of one kind."""
    observations, artists = corpus(source)
    groups = ArtistGroups.fit(source, observations, artists)
    few = groups.targets(observations[:1], ["new"])[0].max()
    many = groups.targets([observations[0]] * 12, ["new"] * 12)[0].max()
    assert few < 0.8 < 0.9 < many


def test_the_nearest_word_is_found(monkeypatch):
    rng = np.random.default_rng(0)
    centres, rows = rng.normal(size=(50, 25)), rng.normal(size=(1_000, 25)).astype(np.float32)
    dictionary = Codebook(centres.astype(np.float32))
    nearest = ((rows[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert (dictionary.words(rows) == nearest).all()
    expected = [np.bincount(nearest[i : i + 100], minlength=50) for i in range(0, 1_000, 100)]
    for size in (1, 12_345, 2**26):  # however the tracks fall into blocks
        monkeypatch.setattr(codebook, "BLOCK_BYTES", size)
        counts = list(dictionary.counts([rows[i : i + 100] for i in range(0, 1_000, 100)]))
        np.testing.assert_array_equal(counts, expected)


def test_artists_of_whom_nothing_is_known_get_no_target():
    observations, artists = corpus("m")
    observations[:3] = [np.empty((0, 25), np.float32)] * 3  # artist 0 has nothing
    observations[3] = observations[0]  # artist 1 has two tracks left
    artists[6:9] = [""] * 3  # and these have no artist
    targets = ArtistGroups.fit("m", observations, artists).targets(observations, artists)
    gone = np.isnan(targets).all(axis=1)
    assert np.flatnonzero(gone).tolist() == [0, 1, 2, 6, 7, 8]
    assert np.isfinite(targets[~gone]).all()

    labels, artists = corpus("s")
    groups = ArtistGroups.fit("s", labels, artists)
    targets = groups.targets([("Rock",), ("Polka",), ()], ["a", "b", "c"])
    assert np.isfinite(targets[0]).all()
    assert np.isnan(targets[1:]).all()


def test_entries_that_are_missing_are_dropped_or_count_as_the_middle():
    observations, artists = corpus("e")
    observations[5] = np.full_like(
        observations[5], np.nan
    )  # the whole vector: the track is dropped
    observations[7] = observations[7].copy()
    observations[7][0, 13] = np.nan  # one entry: the entry is dropped
    groups = ArtistGroups.fit("e", observations, artists)
    kept = groups.dictionary.normaliser.kept
    assert np.flatnonzero(~kept).tolist() == [13]
    rows = np.concatenate(observations)
    normal = groups.dictionary.normaliser.transform(rows[[0, 1, 2]])
    holed = rows[[0, 1, 2]]
    holed[1, 0] = np.nan
    expected = normal.copy()
    expected[1, 0] = 0
    np.testing.assert_array_equal(groups.dictionary.normaliser.transform(holed), expected)


def test_ranks_become_a_normal_distribution():
    rows = np.random.default_rng(0).lognormal(size=(2_000, 3)).astype(np.float32)
    rows[:, 1] = rows[:, 1].round(1)  # many tracks alike
    normal = codebook.RankNormaliser.fit(rows).transform(rows)
    expected = norm.ppf((rankdata(rows, axis=0) - 0.5) / len(rows))
    np.testing.assert_allclose(normal, expected, atol=1e-5)


@pytest.mark.parametrize("unit", [1e-12, 1e9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_unit_of_an_entry_changes_nothing(unit, dtype):
    """Essentia's band energies are as small as 1e-11, its loudness as large as 1e2."""
    rng = np.random.default_rng(0)
    known, new = (
        (rng.lognormal(sigma=3, size=(n, 8)) * np.logspace(-11, 2, 8)).astype(dtype)
        for n in (150, 40)
    )
    normaliser = codebook.RankNormaliser.fit(known)
    scaled = codebook.RankNormaliser.fit(known * dtype(unit))
    for rows in (known, new):
        expected = normaliser.transform(rows)
        assert expected.std(axis=0).min() > 0.5
        np.testing.assert_array_equal(scaled.transform(rows * dtype(unit)), expected)
        decibels = codebook.RankNormaliser.fit(np.log10(known)).transform(np.log10(rows))
        np.testing.assert_allclose(decibels, expected, atol=0.2)
        assert np.abs(decibels - expected).mean() < 1e-3  # but for a tie or two


def test_the_unit_of_an_entry_changes_no_group():
    observations, artists = corpus("e")
    units = 10.0 ** np.random.default_rng(0).integers(-9, 9, 60)
    targets = [
        ArtistGroups.fit("e", rows, artists, seed=0).targets(rows, artists)
        for rows in (observations, [(row * units).astype(np.float32) for row in observations])
    ]
    np.testing.assert_allclose(targets[0], targets[1], atol=1e-6)


def test_values_between_and_beyond_and_constant_ones():
    rows = np.array([[1.0, 5.0], [2.0, 5.0], [2.0, 5.0], [9.0, 5.0]])
    normaliser = codebook.RankNormaliser.fit(rows)
    new = np.array([[1.5, 5.0], [2.0, 6.0], [-99.0, 4.0], [99.0, np.inf], [np.inf, 5.0]])
    scores = norm.ppf(np.array([1, 2, 0.5, 3.5]) / 4)
    np.testing.assert_allclose(normaliser.transform(new)[:, 0], [*scores, 0], atol=1e-6)
    assert not normaliser.transform(new)[:, 1].any()


def test_of_many_tracks_some_stand_for_all(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(3_001, 2)).astype(np.float32)
    every = codebook.RankNormaliser.fit(rows)
    monkeypatch.setattr(codebook, "N_QUANTILES", 301)
    some = codebook.RankNormaliser.fit(rows)
    assert some.quantiles.shape == (301, 2)
    np.testing.assert_array_equal(some.quantiles[[0, -1]], [rows.min(axis=0), rows.max(axis=0)])
    middle = np.abs(rows) < 1.5
    far = np.abs(every.transform(rows) - some.transform(rows))[middle]
    assert far.max() < 0.05


def test_sizes_follow_the_corpus(monkeypatch):
    monkeypatch.undo()
    fma = {"m": 25_000 * 1_290, "d": 25_000 * 1_289, "e": 25_000, "s": 150}
    for source, n in fma.items():
        assert group_sizes(source, n, 5_000) == (150 if source == "s" else 2_048, 40)
    assert group_sizes("m", 100 * 1_290, 60) == (645, 4)
    assert group_sizes("e", 100, 60) == (12, 4)
    assert group_sizes("s", 29, 800) == (29, 14)
    assert group_sizes("m", 10, 2) == (2, 2)


def test_what_cannot_be_grouped_is_refused():
    observations, _ = corpus("m")
    with pytest.raises(ValueError, match="two artists or more, not 1"):
        ArtistGroups.fit("m", observations[:6], ["a"] * 3 + [""] * 3)
    with pytest.raises(ValueError, match="'x'"):
        ArtistGroups.fit("x", observations[:2], ["a", "b"])
    gaps = [np.array([[1, 1, np.nan, np.nan]]), np.array([[np.nan, np.nan, 1, 1]])]
    with pytest.raises(ValueError, match="missing in some track"):
        ArtistGroups.fit("e", gaps, ["a", "b"])
    alike = [np.ones((50, 25), np.float32)] * 4  # such as silence
    assert np.isfinite(
        ArtistGroups.fit("m", alike, list("abcd")).targets(alike, list("abcd"))
    ).all()
