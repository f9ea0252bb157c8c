import numpy as np
import pytest
from numpy.testing import assert_allclose

from agf_core.inference.artist_context import (
    USUAL_CONCENTRATION,
    USUAL_POOLING,
    ArtistContext,
    adjust_without_own_album,
    fit_pooling,
)


def tracks(n_artists=100, albums=3, per_album=4, faithful=1.0, seed=0):
    """Artists of one of four genres each, who keep to it in a share of their albums."""
    rng = np.random.default_rng(seed)
    for artist in range(n_artists):
        for album in range(albums):
            genre = artist % 4 if rng.random() < faithful else int(rng.integers(4))
            for _ in range(per_album):
                yield f"artist {artist}", album, genre


def test_the_more_artists_keep_to_a_genre_the_more_their_tracks_count():
    closely, loosely, not_at_all = (
        ArtistContext.of(tracks(faithful=share), 4) for share in (1.0, 0.6, 0.0)
    )
    assert closely.concentration < loosely.concentration < not_at_all.concentration
    one_track = np.array([0.0, 1.0, 0.0, 0.0])
    assert closely.weights(one_track)[1] > 10 * closely.weights(one_track)[0]
    assert_allclose(not_at_all.weights(one_track), 1, atol=0.1)


def test_sound_and_artist_are_combined():
    context = ArtistContext.of(tracks(), 4)
    by_sound = np.array([0.5, 0.3, 0.1, 0.1])
    assert context.adjust(by_sound, np.array([0.0, 5.0, 0.0, 0.0])).argmax() == 1
    assert_allclose(context.adjust(by_sound, np.zeros(4)), by_sound)
    sure = np.array([0.9999, 1e-6, 5e-5, 4.9e-5])
    assert context.adjust(sure, np.array([0.0, 1.0, 0.0, 0.0])).argmax() == 0


def test_an_album_says_nothing_of_how_closely_its_own_artist_keeps_to_a_genre():
    one_album_each = ArtistContext.of(tracks(albums=1), 4)
    assert one_album_each.concentration == USUAL_CONCENTRATION
    assert ArtistContext.of([], 4).concentration == pytest.approx(USUAL_CONCENTRATION)


def sounding(known, correct=1.0, noise=1.0, seed=0):
    """Return predictions of tracks, and how much they tell of the genre."""
    rng = np.random.default_rng(seed)
    logs = rng.normal(scale=noise, size=(len(known), 4))
    logs[np.arange(len(known)), [genre for _, _, genre in known]] += correct
    powers = np.exp(logs)
    return powers / powers.sum(axis=1, keepdims=True)


def test_predictions_of_an_artist_are_pooled_where_that_makes_them_better():
    known = list(tracks())
    assert fit_pooling(sounding(known), known) >= 0.8
    scattered = [(f"artist {i % 20}", i, int(g)) for i, (_, _, g) in enumerate(known)]
    rng = np.random.default_rng(0)
    rng.shuffle(scattered)
    assert fit_pooling(sounding(scattered, correct=3), scattered) == 0
    assert fit_pooling(np.zeros((0, 4)), []) == pytest.approx(USUAL_POOLING)


def test_an_album_does_not_prove_its_own_pooling():
    one_album_each = list(tracks(albums=1))
    assert fit_pooling(sounding(one_album_each), one_album_each) == pytest.approx(USUAL_POOLING)


def test_pooled_predictions_lie_between_a_track_and_its_artist():
    own, other = np.array([0.6, 0.2, 0.1, 0.1]), np.array([0.1, 0.7, 0.1, 0.1])
    for pooling, expected in ((0.0, own), (1.0, np.sqrt(own * other))):
        context = ArtistContext.of([], 4, pooling=pooling)
        assert_allclose(context.pool(own, [other]), expected / expected.sum())
    assert_allclose(ArtistContext.of([], 4).pool(own, []), own)


def test_a_report_counts_other_albums_alone():
    known = [("a", "1", 0), ("a", "1", 0), ("a", "2", 0), ("b", "3", 1), ("b", "3", 1)]
    predicted = np.array([[0.5, 0.5], [0.5, 0.5], [0.9, 0.1], [0.3, 0.7], [0.6, 0.4]])
    found = adjust_without_own_album(predicted, known)
    assert found.has_others.tolist() == [True, True, True, False, False]
    assert (found.pooled[:2, 0] > 0.6).all()
    assert found.pooled[2, 0] < 0.9
    assert (found.adjusted[:3, 0] > found.pooled[:3, 0]).all()
    for p in (found.pooled, found.adjusted):
        assert_allclose(p[3:], predicted[3:])
        assert_allclose(p.sum(axis=1), 1)


def test_the_prior_that_probabilities_hold_for_is_taken_out_once():
    """Two artists' tracks that sound alike differ by their artists' genres alone."""
    prior = np.array([0.7, 0.1, 0.1, 0.1])
    context = ArtistContext.of(tracks(), 4, prior)
    weights = context.weights(np.array([0.0, 100.0, 0.0, 0.0]))
    assert weights[1] == pytest.approx(10, rel=0.05)  # 1 of 1 where it was 0.1
