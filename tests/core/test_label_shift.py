"""Class priors: estimated without labels, and used to adjust predictions."""

import numpy as np
import pytest

from agf_core import label_shift, metrics
from agf_core.errors import SilentAudioError
from agf_core.inference.prediction import FileResult, Prediction
from agf_core.inference.prior_adjusted import PriorAdjustedTagger

TRAINED = np.array([0.5, 0.3, 0.15, 0.05])


def predictions_of(balance, n, seed=0):
    """Exact probabilities, under the prior of training, of tracks with another class balance."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(4, size=n, p=balance)
    sounds = 1.5 * np.eye(4)[truth] + rng.normal(size=(n, 4))
    # The density of a sound given a genre, as far as it differs between genres.
    weights = TRAINED * np.exp(1.5 * sounds)
    return weights / weights.sum(axis=1, keepdims=True), truth


NO_TAGS = np.zeros(4)


@pytest.mark.parametrize("balance", [[0.25] * 4, [0.05, 0.15, 0.3, 0.5], [0.0, 0.0, 0.2, 0.8]])
@pytest.mark.parametrize("tagged", [0, 1_000])
def test_an_estimate_lowers_the_log_loss(balance, tagged):
    probabilities, _ = predictions_of(balance, 2_000)
    others, truth = predictions_of(balance, 2_000, seed=1)
    tags = np.array(balance) * tagged
    found = label_shift.estimate(TRAINED, probabilities, tags, 2_000 - tagged)
    label_shift.check_prior(found, 4)
    before, after = np.abs(TRAINED - balance).sum(), np.abs(found - balance).sum()
    assert after < (0.6 if tagged else 0.8) * before
    adjusted = label_shift.adjust_prior(others, TRAINED, found)
    assert metrics.log_loss(adjusted, truth) < metrics.log_loss(others, truth) - 0.04


def test_every_track_counts_once():
    certain = np.tile([0, 0, 0, 1.0], (40, 1))
    found = label_shift.estimate(TRAINED, certain, np.array([0, 0, 40, 0]), 40, training_share=0)
    assert found == pytest.approx((TRAINED * 20 + [0, 0, 40, 40]) / 100)


def test_tracks_that_have_not_been_analysed_count_like_the_others():
    certain = np.tile([0, 0, 0, 1.0], (20, 1))  # of 60: their mean is shrunk by half
    found = label_shift.estimate(TRAINED, certain, np.array([0, 0, 20, 0]), 60, training_share=0)
    mean = (TRAINED + np.array([0, 0, 0, 1])) / 2
    assert found == pytest.approx((80 * mean + [0, 0, 20, 0]) / 100)


def test_no_genre_becomes_impossible():
    certain = np.tile([1.0, 0, 0, 0], (100_000, 1))
    found = label_shift.estimate(TRAINED, certain, np.array([1e6, 0, 0, 0]), len(certain))
    assert found[1:] == pytest.approx(TRAINED[1:] / 4, rel=1e-3)
    assert found.sum() == pytest.approx(1)


def test_without_anything_known_the_prior_of_training_stays():
    for n_others in (0, 1, 50_000):
        found = label_shift.estimate(TRAINED, np.zeros((0, 4)), NO_TAGS, n_others)
        assert found == pytest.approx(TRAINED)
    found = label_shift.estimate(TRAINED, np.tile(TRAINED, (500, 1)), NO_TAGS, 500)
    assert found == pytest.approx(TRAINED)


@pytest.mark.parametrize(
    ("probabilities", "words"),
    [
        (np.full((5, 3), 1 / 3), "have shape"),
        (np.full(4, 0.25), "have shape"),
        (np.full((5, 4), 0.3), "sum to 1"),
        (np.tile([1.5, -0.5, 0, 0], (5, 1)), "sum to 1"),
        (np.full((5, 4), np.nan), "sum to 1"),
    ],
)
def test_nothing_is_estimated_from_nonsense(probabilities, words):
    with pytest.raises(ValueError, match=words):
        label_shift.estimate(TRAINED, probabilities, NO_TAGS, 5)


def test_reweighting_there_and_back_changes_nothing():
    rng = np.random.default_rng(0)
    p, even = rng.dirichlet(np.ones(4), size=(3, 5)), np.full(4, 0.25)
    there = label_shift.adjust_prior(p, TRAINED, even)
    assert there.sum(axis=-1) == pytest.approx(np.ones((3, 5)))
    assert there[..., 3] / there[..., 0] == pytest.approx(10 * p[..., 3] / p[..., 0])
    assert label_shift.adjust_prior(there, even, TRAINED) == pytest.approx(p)


def test_training_targets_count_by_weight_and_no_genre_is_impossible():
    targets = np.array([[1, 0, 0], [0.5, 0.5, 0], [np.nan] * 3, [2, 0, 0]], np.float32)
    shares = label_shift.training_prior(targets)
    assert shares == pytest.approx(np.array([3.5, 0.5, 0.5]) / 4.5)
    label_shift.check_prior(shares, 3)


# Tagging with an adjusted prior


class Tagger:
    """Predicts the same for every file but the silent ones."""

    labels = tuple("abcd")
    styles = ()
    model_id = "ears-1"
    prior = TRAINED
    fine_tuned = False

    def __init__(self):
        self.analysed, self.closed = [], False

    def stored(self, path):
        return FileResult(path, Prediction(self.labels, TRAINED)) if path == "stored" else None

    def predict_files(self, paths):
        try:
            for path in paths:
                self.analysed.append(path)
                if path == "silent":
                    yield FileResult(path, error=SilentAudioError("silent"))
                else:
                    yield FileResult(path, Prediction(self.labels, TRAINED), lost=0.5)
        finally:
            self.closed = True


EVEN = np.full(4, 0.25)


def test_predictions_are_reweighted_and_errors_passed_on():
    ears = PriorAdjustedTagger(Tagger(), EVEN, "balanced")
    assert (ears.labels, ears.model_id) == (tuple("abcd"), "ears-1+balanced")
    one, silent, other = ears.predict_files(["x", "silent", "y"])
    assert [r.path for r in (one, silent, other)] == ["x", "silent", "y"]
    assert one.prediction.probabilities == pytest.approx(EVEN)
    assert one.lost == 0.5
    assert isinstance(silent.error, SilentAudioError)


def test_a_known_prediction_is_not_computed_again():
    tagger = Tagger()
    known = FileResult("b", Prediction(tagger.labels, np.array([0.1, 0.2, 0.3, 0.4])), lost=2.0)
    ears = PriorAdjustedTagger(tagger, EVEN, "balanced", {"b": known})
    results = list(ears.predict_files(iter("abcb")))
    assert [r.path for r in results] == list("abcb")
    assert tagger.analysed == ["a", "c"]
    expected = label_shift.adjust_prior(known.prediction.probabilities, TRAINED, EVEN)
    for result in (results[1], results[3]):
        assert result.prediction.probabilities == pytest.approx(expected)
        assert result.lost == 2.0


def test_a_stored_prediction_is_reweighted_without_analysing():
    tagger = Tagger()
    adjusted = PriorAdjustedTagger(tagger, EVEN, "balanced")
    assert adjusted.stored("stored").prediction.probabilities == pytest.approx(EVEN)
    assert adjusted.stored("x") is None
    assert tagger.analysed == []


def test_stopping_early_stops_the_tagger():
    tagger = Tagger()
    results = PriorAdjustedTagger(tagger, EVEN, "balanced").predict_files("abc")
    next(results)
    results.close()
    assert tagger.closed
    assert tagger.analysed == ["a"]


def test_a_prior_that_nobody_knows_cannot_be_changed():
    tagger = Tagger()
    tagger.prior = None
    with pytest.raises(ValueError, match="ears-1 is not known"):
        PriorAdjustedTagger(tagger, EVEN, "balanced")
