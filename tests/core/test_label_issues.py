"""Wrong labels are found, as by cleanlab, and a wrong label does not vouch for itself."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from agf_core.bundle import format as bundle_format
from agf_core.data.genre_names import fold_spelling
from agf_core.data.tracks import Track
from agf_core.finetune.label_issues import (
    class_thresholds,
    find_artist_issues,
    find_label_issues,
    predict_by_sound,
)
from agf_core.inference.artist_context import adjust_without_itself

CLEANLAB = json.loads(Path(__file__).with_name("cleanlab.json").read_text())
GENRES = ("Blues", "Classical", "Electronic")


def noisy(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, some of them wrong, and probabilities of an imperfect model.

    cleanlab.json has what cleanlab 2.9.0 finds in them: ``get_confident_thresholds``, and
    ``find_label_issues`` with ``filter_by="low_normalized_margin"``, in the order of
    ``return_indices_ranked_by="normalized_margin"``. It is no dependency: it needs pandas and
    scikit-learn, and these tests run without.
    """
    rng = np.random.default_rng(seed)
    n, n_classes = 200, 5
    truth = rng.choice(n_classes, size=n, p=[0.4, 0.25, 0.2, 0.1, 0.05])
    logits = rng.normal(size=(n, n_classes)) * 1.2
    logits[np.arange(n), truth] += np.array([3, 2, 1.2, 2, 0.7])[truth]
    labels = truth.copy()
    wrong = rng.random(n) < 0.15
    labels[wrong] = rng.integers(n_classes, size=wrong.sum())
    powers = np.exp(logits)
    return labels, powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("expected", CLEANLAB, ids=lambda one: f"seed{one['seed']}")
def test_issues_are_those_that_cleanlab_finds(expected):
    labels, probabilities = noisy(expected["seed"])
    thresholds = class_thresholds(probabilities, labels, prior_tracks=0)
    assert_allclose(thresholds, expected["thresholds"], atol=1e-9)
    issues = find_label_issues(probabilities, labels, prior_tracks=0)
    assert issues.wrong.tolist() == expected["wrong"]
    assert len(issues.wrong) > 40
    assert_allclose((issues.margins[:5] + 1) / 2, expected["margins"], atol=1e-8)


def test_a_track_predicted_as_another_of_its_genres_is_not_wrong():
    labels, probabilities = noisy(0)
    worst = find_label_issues(probabilities, labels).wrong[0]
    further = np.zeros(probabilities.shape, bool)
    further[worst, probabilities[worst].argmax()] = True
    issues = find_label_issues(probabilities, labels, further)
    assert worst not in issues.wrong
    assert issues.best_other[worst] not in (labels[worst], probabilities[worst].argmax())


def test_a_class_that_no_track_has_can_be_predicted():
    probabilities = np.array([[0.2, 0.1, 0.7], [0.6, 0.1, 0.3], [0.3, 0.6, 0.1]])
    labels = np.array([0, 0, 1])
    mean = (0.2 + 0.6 + 0.6) / 3
    assert_allclose(class_thresholds(probabilities, labels, 0), [0.4, 0.6, mean])
    few = class_thresholds(probabilities, labels, 2)
    assert_allclose(few, [(0.8 + 2 * mean) / 4, (0.6 + 2 * mean) / 3, mean])
    issues = find_label_issues(probabilities, labels)
    assert (issues.wrong.tolist(), issues.best_other[0]) == ([0], 2)


def test_a_single_wrong_track_of_a_class_makes_no_others_wrong():
    rng = np.random.default_rng(0)
    labels = np.array([0] * 60 + [1] * 60 + [2])
    own = rng.uniform(0.3, 1, size=len(labels))
    probabilities = np.full((len(labels), 3), 0.05)
    probabilities[:60, :2] = np.stack([own[:60], 0.95 - own[:60]], axis=1)
    probabilities[60:, :2] = np.stack([0.95 - own[60:], own[60:]], axis=1)
    probabilities[-1] = 0.94, 0.05, 0.01
    assert find_label_issues(probabilities, labels).wrong.tolist() == [120]
    assert len(find_label_issues(probabilities, labels, prior_tracks=0).wrong) > 5


@pytest.fixture(scope="module")
def base() -> bundle_format.Bundle:
    shipped = bundle_format.load()
    return replace(
        shipped, metadata=replace(shipped.metadata, labels=GENRES, styles=(), prior=None)
    )


def collection(n_artists: int, each: int, n_genres: int = 3) -> tuple[list[Track], ...]:
    """Return tracks whose embeddings tell the genre, and a base model that has no idea."""
    rng = np.random.default_rng(0)
    names = [GENRES[i] if i < 3 else f"Genre {i}" for i in range(n_genres)]
    centres = rng.normal(size=(n_genres, 16)) * 3
    tracks, embeddings = [], []
    for artist in range(n_artists):
        for i in range(each):
            name = f"{artist}-{i}"
            genre = artist % n_genres
            tracks.append(Track(name, Path(name), f"artist {artist}", names[genre], album=name))
            embeddings.append(centres[genre] + rng.normal(size=16))
    logs = np.full((len(tracks), 3), np.log(1 / 3), np.float32)
    return tracks, np.array(embeddings, np.float16), logs


def test_a_wrong_tag_does_not_vouch_for_itself_nor_an_artist_for_its_tracks(base):
    tracks, embeddings, logs = collection(30, 5)
    wrong = [i for i, track in enumerate(tracks) if track.artist == "artist 0"]
    tagged = [replace(t, genre="Classical") if i in wrong else t for i, t in enumerate(tracks)]
    checked = predict_by_sound(base, tagged, embeddings, logs, min_tracks=10)
    assert checked.n_trained == 4 * 30 + 30  # every album has one track
    labels = np.array([checked.genres.index(track.genre) for track in tagged])
    found = find_label_issues(checked.probabilities, labels).wrong
    assert set(wrong) <= set(found[: len(wrong)].tolist())


def test_tracks_that_are_not_trusted_are_checked_by_heads_without_their_artist(base):
    tracks, embeddings, logs = collection(30, 5)
    trusted = np.array([not track.track_id.endswith("-0") for track in tracks])
    wrong = [i for i in np.flatnonzero(~trusted) if tracks[i].genre == "Blues"]
    tagged = [replace(t, genre="Classical") if i in wrong else t for i, t in enumerate(tracks)]
    checked = predict_by_sound(base, tagged, embeddings, logs, min_tracks=10, trusted=trusted)
    assert checked.n_trained == trusted.sum()
    blues = checked.genres.index("Blues")
    assert (checked.probabilities[wrong].argmax(axis=1) == blues).all()
    assert_allclose(checked.probabilities.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(("n_artists", "each"), [(1, 40), (4, 2), (2, 3)])
def test_collections_too_small_to_train_on_are_checked_by_the_base_model(base, n_artists, each):
    tracks, embeddings, logs = collection(n_artists, each)
    logs = np.log(np.tile([0.7, 0.2, 0.1], (len(tracks), 1))).astype(np.float32)
    checked = predict_by_sound(base, tracks, embeddings, logs, min_tracks=10)
    assert checked.n_trained == 0
    assert_allclose(checked.probabilities.sum(axis=1), 1)
    assert (checked.probabilities.argmax(axis=1) == checked.genres.index("Blues")).all()


def test_many_rare_genres_can_be_checked(base):
    tracks, embeddings, logs = collection(120, 5, n_genres=60)
    checked = predict_by_sound(base, tracks, embeddings, logs, min_tracks=5)
    assert len(checked.genres) == 60
    assert checked.n_trained == 600


def test_an_album_does_not_vouch_for_itself_but_its_other_tracks_tell_of_an_odd_one():
    even = np.full((9, 2), 0.5)
    others = [("a", "other", 0)] * 4
    whole = [("a", "album", 1)] * 5  # all of one genre, unlike the artist's other album
    adjusted, counts = adjust_without_itself(even, [*others, *whole])
    assert (counts[4:] == [4, 0]).all()
    assert (adjusted[4:, 0] > 0.75).all()
    odd = [("a", "album", 1), *[("a", "album", 0)] * 4]
    _, counts = adjust_without_itself(even, [*others, *odd])
    assert counts[4].tolist() == [8, 0]
    _, counts = adjust_without_itself(even, [*others, *odd], [False] * 4 + [True] * 5)
    assert counts[0].tolist() == [4, 1]
    assert counts[4].tolist() == [4, 0]


def test_an_artist_is_checked_by_the_mean_over_its_tracks():
    labels = np.repeat([0, 0, 1, 1, 0, 0], 4)
    artists = np.repeat(["a", "b", "c", "d", "wrong", "e"], 4).tolist()
    own = np.array([0.9, 0.8, 0.6, 0.7])
    shares = np.concatenate([own, own, 1 - own, 1 - own, [0.6, 0.1, 0.2, 0.1], own])
    artists = [*artists[:-1], "single", "mixed", "mixed"]
    labels, shares = np.append(labels, [0, 1]), np.append(shares, [0.1, 0.1])
    found = find_artist_issues(np.stack([shares, 1 - shares], axis=1), labels, artists)
    assert found.artists == ["a", "b", "c", "d", "wrong", "e"]
    assert [found.artists[i] for i in found.issues.wrong] == ["wrong"]
    assert_allclose(found.probabilities[4], [0.25, 0.75])
    assert find_artist_issues(np.zeros((0, 2)), np.zeros(0, int), []).artists == []


@pytest.mark.parametrize(
    "spellings",
    [
        ("Hip Hop", "hip-hop", "HipHop", "HIP HOP "),
        ("Drum & Bass", "Drum and Bass", "drum'n'bass", "Drum n Bass"),
        ("R&B", "RnB", "R'n'B", "R and B"),
        ("Música Popular", "Musica popular"),
        ("Блюз", "блюз"),
    ],
)
def test_spellings_of_one_genre_have_one_key(spellings):
    assert len(set(map(fold_spelling, spellings))) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("Hip Hop", "Trip Hop"), ("Grand", "Grnd"), ("!!!", "???"), ("गजल", "गीजल"), ("Pop", "Pop 2")],
)
def test_different_genres_have_different_keys(one, other):
    assert fold_spelling(one) != fold_spelling(other)
