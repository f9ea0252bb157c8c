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
    assert statistics.signed(difference).startswith("**")


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
    assert statistics.holds((scored["y"] - scored["x"])[1]) is False
