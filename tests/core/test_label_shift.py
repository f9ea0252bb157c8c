"""How music is made up: estimated without a label, and what it makes of what is heard."""

import numpy as np
import pytest

from agf_core import label_shift, metrics
from agf_core.errors import SilentAudioError
from agf_core.inference.prediction import FileResult, Prediction
from agf_core.inference.prior_adjusted import PriorAdjustedTagger

LEARNT = np.array([0.5, 0.3, 0.15, 0.05])


def heard_in(made_up, n, seed=0):
    """Exact probabilities, for the learnt prior, of tracks that are made up in another way."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(4, size=n, p=made_up)
    sounds = 1.5 * np.eye(4)[truth] + rng.normal(size=(n, 4))
    # The density of a sound given a genre, as far as it differs between genres.
    weights = LEARNT * np.exp(1.5 * sounds)
    return weights / weights.sum(axis=1, keepdims=True), truth


@pytest.mark.parametrize(
    "made_up", [[0.25] * 4, [0.05, 0.15, 0.3, 0.5], [0.0, 0.0, 0.2, 0.8], LEARNT]
)
def test_a_prior_is_found_again_and_what_is_heard_means_more_by_it(made_up):
    found = label_shift.estimate(heard_in(made_up, 2_000)[0], LEARNT)
    assert found == pytest.approx(made_up, abs=0.04)
    assert found.sum() == pytest.approx(1)
    others, truth = heard_in(made_up, 2_000, seed=1)
    by_estimate, by_truth = (
        metrics.log_loss(label_shift.adjust_prior(others, LEARNT, wanted), truth)
        for wanted in (found, np.maximum(made_up, 1e-9))
    )
    assert by_estimate == pytest.approx(by_truth, abs=0.04)  # what the caution costs
    if made_up is not LEARNT:
        assert by_estimate < metrics.log_loss(others, truth) - 0.05


def test_a_few_tracks_make_no_genre_impossible():
    certain = np.tile([1.0, 0, 0, 0], (20, 1))
    found = label_shift.estimate(certain, LEARNT)
    assert found == pytest.approx([0.75, 0.15, 0.075, 0.025])
    many = label_shift.estimate(np.tile(certain, (1_000, 1)), LEARNT)
    assert many[0] > 0.999
    assert many.min() >= label_shift.SMALLEST_SHARE


def test_what_says_nothing_leaves_the_learnt_prior():
    assert label_shift.estimate(np.tile(LEARNT, (500, 1)), LEARNT) == pytest.approx(LEARNT)


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
        label_shift.estimate(probabilities, LEARNT)


def test_reweighting_there_and_back_changes_nothing():
    rng = np.random.default_rng(0)
    p, even = rng.dirichlet(np.ones(4), size=(3, 5)), np.full(4, 0.25)
    there = label_shift.adjust_prior(p, LEARNT, even)
    assert there.sum(axis=-1) == pytest.approx(np.ones((3, 5)))
    assert there[..., 3] / there[..., 0] == pytest.approx(10 * p[..., 3] / p[..., 0])
    assert label_shift.adjust_prior(there, even, LEARNT) == pytest.approx(p)


def test_what_was_learnt_from_counts_by_weight_and_no_genre_as_nothing():
    targets = np.array([[1, 0, 0], [0.5, 0.5, 0], [np.nan] * 3, [2, 0, 0]], np.float32)
    shares = label_shift.training_prior(targets)
    assert shares == pytest.approx(np.array([3.5, 0.5, 0.5]) / 4.5)
    label_shift.check_prior(shares, 3)


# Whoever listens, and whoever says what it means


class Tagger:
    """Hears the same in every file but those that are silent."""

    labels = tuple("abcd")
    model_id = "ears-1"
    prior = LEARNT

    def __init__(self):
        self.listened, self.closed = [], False

    def predict_files(self, paths):
        try:
            for path in paths:
                self.listened.append(path)
                if path == "silent":
                    yield FileResult(path, error=SilentAudioError("silent"))
                else:
                    yield FileResult(path, Prediction(self.labels, LEARNT), lost=0.5)
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


def test_what_was_just_heard_is_not_listened_to_again():
    tagger = Tagger()
    known = FileResult("b", Prediction(tagger.labels, np.array([0.1, 0.2, 0.3, 0.4])), lost=2.0)
    ears = PriorAdjustedTagger(tagger, EVEN, "balanced", {"b": known})
    results = list(ears.predict_files(iter("abcb")))
    assert [r.path for r in results] == list("abcb")
    assert tagger.listened == ["a", "c"]
    expected = label_shift.adjust_prior(known.prediction.probabilities, LEARNT, EVEN)
    for result in (results[1], results[3]):
        assert result.prediction.probabilities == pytest.approx(expected)
        assert result.lost == 2.0


def test_stopping_early_stops_whoever_listens():
    tagger = Tagger()
    results = PriorAdjustedTagger(tagger, EVEN, "balanced").predict_files("abc")
    next(results)
    results.close()
    assert tagger.closed
    assert tagger.listened == ["a"]


def test_a_prior_that_nobody_knows_cannot_be_changed():
    tagger = Tagger()
    tagger.prior = None
    with pytest.raises(ValueError, match="ears-1 is not known"):
        PriorAdjustedTagger(tagger, EVEN, "balanced")
