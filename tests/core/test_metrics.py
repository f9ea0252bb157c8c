import numpy as np
import pytest
from sklearn import metrics as sk

from agf_core import metrics
from agf_core.calibration import apply_temperature, cross_calibrate, fit_temperature


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 400)
    truth[truth == 3] = 2  # a genre that never occurs
    logits = rng.normal(size=(400, 5)) + 1.5 * np.eye(5)[truth]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), truth


def test_scores_equal_scikit_learn(predictions):
    p, truth = predictions
    best = p.argmax(axis=1)
    assert 3 in best  # which is never true
    assert metrics.accuracy(p, truth) == pytest.approx(sk.accuracy_score(truth, best))
    assert metrics.macro_f1(p, truth) == pytest.approx(sk.f1_score(truth, best, average="macro"))
    assert metrics.log_loss(p, truth) == pytest.approx(sk.log_loss(truth, p, labels=range(5)))


@pytest.mark.parametrize("seed", range(20))
def test_macro_f1_equals_scikit_learn_whichever_genres_are_there(seed):
    rng = np.random.default_rng(seed)
    truth, best = (rng.choice(9, 4)[rng.integers(4, size=12)] for _ in range(2))
    expected = sk.f1_score(truth, best, average="macro", zero_division=0)
    assert metrics.macro_f1(np.eye(9)[best], truth) == pytest.approx(expected)


def test_log_loss_is_bounded_where_the_truth_had_no_chance():
    assert metrics.log_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(-np.log(1e-8))


def test_calibration_error_of_known_cases():
    sure = np.tile([0.9, 0.1], (100, 1))
    truth = np.array([0] * 90 + [1] * 10)
    assert metrics.calibration_error(sure, truth) == pytest.approx(0, abs=1e-9)
    assert metrics.calibration_error(sure, 1 - truth) == pytest.approx(0.8)
    assert metrics.calibration_error(np.array([[1.0, 0.0]]), np.array([0])) == 0


def test_bootstrap_draws_whole_artists(predictions):
    p, truth = predictions
    alone = metrics.evaluate(p, truth, np.arange(400), resamples=200)
    grouped = metrics.evaluate(p, truth, np.arange(400) // 100, resamples=200)
    for name, score in alone.items():
        assert score.value == metrics.SCORES[name](p, truth)
        assert score.low < score.high
    assert alone["accuracy"].low < alone["accuracy"].value < alone["accuracy"].high
    # One artist alone gives no interval, and a seed gives the same again.
    one = metrics.evaluate(p, truth, np.zeros(400), resamples=20)["accuracy"]
    assert one.low == one.high == one.value
    assert metrics.evaluate(p, truth, np.arange(400) // 100, resamples=200) == grouped


def test_bootstrap_interval_widens_when_tracks_of_an_artist_agree():
    rng = np.random.default_rng(1)
    right = np.repeat(rng.random(20) < 0.6, 30)  # an artist is all right or all wrong
    p = np.where(right[:, None], [0.8, 0.2], [0.2, 0.8])
    truth = np.zeros(600, int)
    by_artist = metrics.evaluate(p, truth, np.repeat(np.arange(20), 30), resamples=300)
    by_track = metrics.evaluate(p, truth, np.arange(600), resamples=300)

    def width(scores):
        return scores["accuracy"].high - scores["accuracy"].low

    assert width(by_artist) > 3 * width(by_track)


def test_tracks_of_nobody_are_not_one_artists():
    artists = np.array(["b", "", "a", "", "b", ""])
    assert metrics.artist_numbers(artists).tolist() == [1, 2, 0, 3, 1, 4]
    assert metrics.artist_numbers(np.array([7, 3, 7])).tolist() == [1, 0, 1]
    drawn = list(metrics.artist_resamples(artists, 200, seed=0))
    assert any((1 in d) != (3 in d) for d in drawn)
    assert all((0 in d) == (4 in d) for d in drawn)


def test_temperature_is_found_again(predictions):
    p, truth = predictions
    good = apply_temperature(p, fit_temperature(p, truth))
    overconfident = apply_temperature(good, 1 / 2.5)
    assert fit_temperature(overconfident, truth) == pytest.approx(2.5, rel=0.01)
    assert metrics.log_loss(good, truth) < metrics.log_loss(overconfident, truth)


def test_temperature_keeps_order_and_sums():
    p = np.array([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]])
    for t in (0.1, 1, 7):
        q = apply_temperature(p, t)
        assert np.allclose(q.sum(axis=1), 1)
        assert (np.argsort(q[0]) == np.argsort(p[0])).all()
    assert np.allclose(apply_temperature(p, 1), p, atol=1e-7)
    assert apply_temperature(p, 5)[0, 0] < 0.7 < apply_temperature(p, 0.5)[0, 0]


def test_no_part_has_a_temperature_that_has_met_it(predictions):
    p, truth = predictions
    part = np.arange(400) % 4
    shown, temperatures = cross_calibrate(p, truth, part)
    others = part != 2
    assert temperatures[2] == fit_temperature(p[others], truth[others])
    np.testing.assert_array_equal(shown[~others], apply_temperature(p[~others], temperatures[2]))
    changed = np.where(others, truth, 0)
    again, found = cross_calibrate(p, changed, part)
    np.testing.assert_array_equal(again[~others], shown[~others])
    assert not np.allclose(again[others], shown[others])  # fitted with it
    assert found[2] == temperatures[2]
    assert found[0] != temperatures[0]
    alone, untouched = cross_calibrate(p, truth, np.zeros(400, int))
    np.testing.assert_allclose(alone, p, atol=1e-7)
    assert untouched == {0: 1.0}


def test_resampled_scores_are_those_of_the_resampled_tracks():
    rng = np.random.default_rng(0)
    probabilities, truth = rng.dirichlet(np.ones(5), size=120), rng.integers(4, size=120)
    artists = rng.integers(30, size=120)
    fast = metrics._resampled(probabilities, truth, artists, 20, 7)
    for i, tracks in enumerate(metrics.artist_resamples(artists, 20, 7)):
        for name, score in metrics.SCORES.items():
            expected = score(probabilities[tracks], truth[tracks])
            assert fast[name][i] == pytest.approx(expected, abs=1e-12)


def test_tracks_of_nobody_are_drawn_one_by_one_and_are_no_artists():
    rng = np.random.default_rng(3)
    right = np.repeat(rng.random(20) < 0.6, 30)  # neighbours are all right or all wrong
    p, truth = np.where(right[:, None], [0.8, 0.2], [0.2, 0.8]), np.zeros(600, int)
    nobodys = np.full(600, "")
    drawn = metrics.evaluate(p, truth, nobodys, resamples=50)
    by_track = metrics.evaluate(p, truth, np.arange(600), resamples=50)
    assert drawn == by_track
    assert metrics.count_artists(nobodys) == 0
    assert metrics.count_artists(np.array(["b", "", "a", "b"])) == 2
    assert metrics.count_artists(np.array([3, 7, 3])) == 2
