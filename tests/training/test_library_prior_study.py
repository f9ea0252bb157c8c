"""The study of class priors, on made libraries whose class balance is known."""

import numpy as np
import pytest

from agf_core.label_shift import adjust_prior
from training.studies import library_prior as study

TRAINED = np.array([0.6, 0.3, 0.1])


def library(name, balance, n=300, seed=0):
    """Return exact probabilities, under the training prior, of tracks with another balance."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, size=n, p=balance)
    sounds = 1.5 * np.eye(3)[truth] + rng.normal(size=(n, 3))
    p = adjust_prior(np.exp(1.5 * sounds), np.ones(3), TRAINED)
    return study.Library(name, p, truth, np.arange(n) // 3, TRAINED)


LIBRARIES = [library("a", [0.1, 0.2, 0.7]), library("b", [0.2, 0.1, 0.7], seed=1)]


def test_the_right_prior_is_better_than_that_of_training_and_intervals_are_paired():
    base = study.run(LIBRARIES, study.shipped)
    new = study.run(LIBRARIES, study.estimated(0.0))
    accuracy, loss = study.difference(new, base, ["a", "b"])
    assert accuracy.low > 0
    assert loss.high < 0
    same = study.difference(base, base, ["a", "b"])
    assert [(d.value, d.low, d.high) for d in same] == [(0, 0, 0)] * 2


def test_with_exact_probabilities_all_steps_are_better_than_one():
    one, all_of_them = (
        study.means(study.run(LIBRARIES, e), ["a", "b"])[1]
        for e in (study.estimated(0.0), study.converged)
    )
    assert all_of_them < one


def test_tagged_tracks_are_not_scored():
    tag = study.artists_tagged(0.5)
    rows = study.run(LIBRARIES[:1], study.shipped, tag)["a"]
    assert len(rows) == sum(int((~tagged).sum()) for tagged in tag(LIBRARIES[0]))


def test_the_share_for_a_library_is_chosen_on_the_others():
    good, bad = np.zeros((4, 5)), np.ones((4, 5))
    by_share = {0.0: {"a": good, "b": bad, "c": bad}, 0.5: {"a": bad, "b": good, "c": good}}
    assert study.nested(by_share)["a"] is bad


@pytest.mark.parametrize("of_one_genre", [False, True])
def test_small_libraries(of_one_genre):
    drawn = study.small_libraries(LIBRARIES[0], 5, of_one_genre)
    assert [len(one.truth) for one in drawn] == [5] * study.DRAWS
    if of_one_genre:
        assert {len(set(one.truth.tolist())) for one in drawn} == {1}


def test_the_tables_have_a_row_for_every_case():
    lines = study.tables(LIBRARIES, {"a"})
    rows = [line for line in "\n".join(lines).splitlines() if line.startswith("| ")]
    assert {line.count("|") for line in rows} == {10}
    assert any(line.startswith("| 5 tracks, mean prediction") for line in rows)
