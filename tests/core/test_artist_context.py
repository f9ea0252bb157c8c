import numpy as np
import pytest
from numpy.testing import assert_allclose

from agf_core.inference.artist_context import (
    USUAL_CONCENTRATION,
    ArtistContext,
    adjust_without_own_album,
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


def test_a_report_counts_other_albums_alone():
    known = [("a", "1", 0), ("a", "1", 0), ("a", "2", 0), ("b", "3", 1), ("b", "3", 1)]
    unsure = np.full((5, 2), 0.5)
    adjusted, has_others = adjust_without_own_album(unsure, known)
    assert has_others.tolist() == [True, True, True, False, False]
    assert (adjusted[:3, 0] > 0.7).all()
    assert_allclose(adjusted[3:], 0.5)
