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


@pytest.mark.parametrize(
    "balance", [[0.25] * 4, [0.05, 0.15, 0.3, 0.5], [0.0, 0.0, 0.2, 0.8], TRAINED]
)
def test_a_prior_is_estimated_and_lowers_the_log_loss(balance):
    found = label_shift.estimate(predictions_of(balance, 2_000)[0], TRAINED)
    assert found == pytest.approx(balance, abs=0.04)
    assert found.sum() == pytest.approx(1)
    others, truth = predictions_of(balance, 2_000, seed=1)
    by_estimate, by_truth = (
        metrics.log_loss(label_shift.adjust_prior(others, TRAINED, wanted), truth)
        for wanted in (found, np.maximum(balance, 1e-9))
    )
    assert by_estimate == pytest.approx(by_truth, abs=0.04)  # what the caution costs
    if balance is not TRAINED:
        assert by_estimate < metrics.log_loss(others, truth) - 0.05


def test_a_few_tracks_make_no_genre_impossible():
    certain = np.tile([1.0, 0, 0, 0], (20, 1))
    found = label_shift.estimate(certain, TRAINED)
    assert found == pytest.approx([0.75, 0.15, 0.075, 0.025])
    many = label_shift.estimate(np.tile(certain, (1_000, 1)), TRAINED)
    assert many[0] > 0.999
    assert many.min() >= label_shift.SMALLEST_SHARE


def test_uninformative_predictions_leave_the_prior_of_training():
    assert label_shift.estimate(np.tile(TRAINED, (500, 1)), TRAINED) == pytest.approx(TRAINED)


@pytest.mark.parametrize(
    ("probabilities", "words"),
    [
        (np.zeros((0, 4)), "no track"),
        (np.full((5, 3), 1 / 3), "have shape"),
        (np.full(4, 0.25), "have shape"),
        (np.full((5, 4), 0.3), "sum to 1"),
        (np.tile([1.5, -0.5, 0, 0], (5, 1)), "sum to 1"),
        (np.full((5, 4), np.nan), "sum to 1"),
    ],
)
def test_nothing_is_estimated_from_nonsense(probabilities, words):
    with pytest.raises(ValueError, match=words):
        label_shift.estimate(probabilities, TRAINED)


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
    model_id = "ears-1"
    prior = TRAINED

    def __init__(self):
        self.analysed, self.closed = [], False

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
