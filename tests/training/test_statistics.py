"""Scores of many cases on the same tracks, with paired intervals over artists and seeds."""

import numpy as np
import pytest

from agf_core import metrics
from training import statistics


def test_differences_are_paired():
    """A case that is a little surer of every track is better beyond doubt, however few they are."""
    rng = np.random.default_rng(0)
    truth, artists = rng.integers(3, size=60), np.arange(60) // 2
    probabilities = rng.dirichlet(np.ones(3), size=60)
    surer = 0.98 * probabilities + 0.02 * np.eye(3)[truth]
    cases = {"plain": probabilities[None], "surer": surer[None]}
    scored = statistics.score(cases, truth, artists, ["log_loss"])
    assert scored["surer"][0].value == pytest.approx(metrics.log_loss(surer, truth))
    assert scored["surer"][0].high > scored["plain"][0].low  # the intervals overlap
    difference = (scored["surer"] - scored["plain"])[0]
    assert difference.high < 0
    ((cell,),) = statistics.signed([scored["surer"] - scored["plain"]], [0])
    assert cell.startswith("**-0.")
    assert cell.endswith("]**")


def test_scores_over_seeds_vary_by_seed_and_artist():
    rng = np.random.default_rng(0)
    truth, artists = np.arange(30) % 3, np.arange(30)
    good, bad = (np.eye(3)[truth] * w + rng.dirichlet(np.ones(3), 30) for w in (3.0, 0.0))
    good, bad = (p / p.sum(axis=1, keepdims=True) for p in (good, bad))
    names = ("accuracy", "log_loss")
    two = {"x": np.stack([good, bad]), "y": np.stack([good, good])}
    scored = statistics.score(two, truth, artists, names, resamples=200)
    assert scored["y"][0].value == scored["y"][0].low == 1
    assert scored["x"][0].value == pytest.approx(1 / 2 + (bad.argmax(1) == truth).mean() / 2)
    assert scored["x"][0].low < 0.6  # resamples that drew the bad seed twice
    assert scored["x"][0].high == 1
    best = statistics.Scored.best(scored.values(), (False, True))
    assert (best.values == scored["y"].values).all()
    assert statistics.certain([scored["y"] - scored["x"]], 1) == [False]


def test_of_many_differences_few_are_certain_by_chance():
    """Holm (1979): each needs 5 % divided by how many are not certain yet."""
    rng = np.random.default_rng(0)

    def difference(sigmas):
        spread = rng.normal(size=(1_000, 1))
        return statistics.Scored(np.array([sigmas]), sigmas + spread / spread.std())

    def certain(*sigmas):
        return statistics.certain([difference(s) for s in sigmas], 0)

    assert certain(2.0) == [True]  # p = .0455
    assert certain(2.0, 0.0) == [False, False]
    assert certain(2.0, -2.5) == [True, True]  # .0124, then .0455
    assert certain(0.1, 2.0, -2.5, 1.0) == [False, False, True, False]
    assert certain(*[2.5] * 5) == [False] * 5
    same = statistics.Scored(np.zeros(1), np.zeros((100, 1)))
    assert statistics.certain([same], 0) == [False]
    assert statistics.signed([], [0, 1]) == []
    false = sum(any(certain(*rng.normal(size=20))) for _ in range(200))
    assert false < 200 * 0.05 + 10


def test_the_best_of_many_that_are_all_alike_is_not_better():
    """Noise makes one of ten the best on the very tracks that it is chosen on."""
    rng = np.random.default_rng(0)
    artists = np.arange(150) // 2
    names, lower = ("log_loss", "macro_f1"), (True, False)
    naive, fair = [], []
    for _ in range(20):
        truth = rng.integers(3, size=150)
        every = [rng.dirichlet(np.ones(3), 150)[None] for _ in range(11)]
        scores = [[metrics.SCORES[n](p[0], truth) for n in names] for p in every]
        best = np.min(scores[:-1], axis=0)[0], np.max(scores[:-1], axis=0)[1]
        naive.append(np.subtract(best, scores[-1]))
        chosen = statistics.chosen_less(
            every[:-1], every[-1], truth, artists, names, lower, resamples=40
        )
        fair.append([chosen[k].low <= 0 <= chosen[k].high for k in (0, 1)])
        naive[-1] = [*naive[-1], *chosen.values]
    means = np.mean(naive, axis=0)
    assert means[0] < -0.1
    assert means[1] > 0.03
    assert np.abs(means[2:]) == pytest.approx([0, 0], abs=0.05)
    assert np.mean(fair) > 0.85


def test_a_set_that_is_better_is_found_and_stays_better():
    rng = np.random.default_rng(0)
    truth, artists = rng.integers(3, size=200), np.arange(200) // 2
    every = [rng.dirichlet(np.ones(3), 200)[None] for _ in range(4)]
    every[1] = 0.7 * every[1] + 0.3 * np.eye(3)[truth][None]
    chosen = statistics.chosen_less(
        every[:-1], every[-1], truth, artists, ["log_loss"], [True], resamples=60
    )
    assert chosen[0].high < 0
    assert statistics.certain([chosen], 0) == [True]


def test_halves_share_no_artist():
    artists = np.repeat(np.arange(7), 3)
    for resampled in (False, True):
        for one, other in statistics._halvings(artists, 20, resampled=resampled):
            assert set(artists[one]).isdisjoint(artists[other])
            assert len(one) + len(other) == 21
