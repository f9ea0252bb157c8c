import numpy as np
import pytest
from beets.library import Item

from agf_core.audio.decode import SilentAudioError
from agf_core.bundle.format import Style
from agf_core.inference.tagger import Prediction
from beetsplug.agfgenre.config import Settings
from beetsplug.agfgenre.summary import Outcome, Summary
from beetsplug.agfgenre.tag.decision import Decision, StoredPrediction, decide, rank
from beetsplug.agfgenre.vocabulary import Vocabulary

LABELS = tuple("abcdefg")
WORDS = Vocabulary(title_case=False)


def prediction(*shares: float) -> Prediction:
    return Prediction(LABELS[: len(shares)], np.array(shares))


def test_rank_is_the_mean_best_first():
    ranking = rank([prediction(0.1, 0.9), prediction(0.5, 0.5)])
    assert [label for label, _ in ranking] == ["b", "a"]
    assert [share for _, share in ranking] == pytest.approx([0.7, 0.3])


@pytest.mark.parametrize(
    ("shares", "genres"),
    [
        ((0.6, 0.3, 0.1), "ab"),
        ((0.6, 0.29, 0.11), "a"),
        ((0.2, 0.2, 0.2, 0.2, 0.1, 0.1), "abcde"),
        ((0.1, 0.1, 0.2, 0.2, 0.2, 0.2), "cdefa"),
    ],
)
def test_candidates_are_at_least_half_as_probable_and_at_most_five(shares, genres):
    assert "".join(StoredPrediction.of([prediction(*shares)]).genres) == genres


def test_a_stored_prediction_is_read_for_the_same_model_only():
    item = Item()
    stored = StoredPrediction(("a", "b"), 0.75)
    stored.write(item, "model-1")
    assert StoredPrediction.read(item, "model-1") == stored
    assert StoredPrediction.read(item, "model-2") is None
    assert StoredPrediction.read(Item(), "model-1") is None
    del item["agf_confidence"]
    assert StoredPrediction.read(item, "model-1") is None


@pytest.mark.parametrize(
    ("confidence", "wanted", "count", "decision"),
    [
        (0.5, "", 1, Decision(("a",))),
        (0.4951, "", 1, Decision(("a",))),  # shown as 0.50
        (0.4949, "", 1, Decision(outcome=Outcome.UNSURE)),
        (0.9, "", 9, Decision(("a", "b", "c"))),
        (0.9, "ac", 2, Decision(("a", "c"))),
        (0.9, "bc", 2, Decision(outcome=Outcome.UNWANTED)),
    ],
)
def test_decision(confidence, wanted, count, decision):
    words = Vocabulary(whitelist=frozenset(wanted), title_case=False)
    stored = StoredPrediction(("a", "b", "c"), confidence)
    assert decide(stored, words, Settings(count=count, min_confidence=0.5)) == decision


@pytest.mark.parametrize(
    ("options", "genres"),
    [
        ({}, ("Rock",)),
        ({"styles": True}, ("Grunge",)),
        ({"styles": True, "count": 2}, ("Grunge", "Rock")),
        ({"styles": True, "count": 2, "min_style_confidence": 0.31}, ("Rock",)),
    ],
)
def test_a_style_stands_before_its_genre(options, genres):
    stored = StoredPrediction(("Rock",), 0.9, "grunge", 0.3)
    assert decide(stored, Vocabulary(), Settings(**options)).genres == genres


def test_the_style_is_the_best_of_the_first_genre_over_all_tracks():
    styles = (Style("grunge", "b"), Style("swing", "a"), Style("bebop", "a"))

    def predicted(*shares):
        return Prediction(("a", "b"), np.array([0.8, 0.2]), styles, np.array(shares))

    stored = StoredPrediction.of([predicted(0.9, 0.2, 0.1), predicted(0.9, 0.0, 0.3)])
    assert (stored.style, stored.style_confidence) == ("bebop", 0.2)


def test_candidates_that_mean_the_same_are_one_genre():
    words = Vocabulary(branches=(("top", "a"), ("top", "b"), ("c",)))
    assert decide(StoredPrediction(("a", "b", "c"), 0.9), words, Settings(count=2)).genres == (
        "Top",
        "C",
    )


def test_empty_summary():
    assert Summary().text() == "tagged 0 tracks"
    assert not Summary().all_failed


def test_summary_counts_by_kind_and_reason():
    summary = Summary()
    summary.add(Outcome.TAGGED, Item)
    summary.add(Outcome.UNSURE, Item)
    summary.add(Outcome.UNSURE, Item)
    summary.fail(OSError())
    summary.fail(SilentAudioError())
    summary.fail(SilentAudioError())
    summary.unwritten = 2
    summary.missing = 1
    assert summary.text("would tag") == (
        "would tag 1 track; "
        "of these, 2 files could not be written (`beet write` tries again); "
        "of these, 1 file could not be found (see `beet update`); "
        "skipped because unsure: 2 tracks; "
        "failed: 3 tracks (1 for other reasons, 2 silent)"
    )
