"""A layout keeps similar tracks together, and tracks in their places."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from agf_core.inference import layout
from agf_core.inference.layout import lay_out, nearest, sound_keys

N_ARTISTS, N_CLUSTERS = 60, 6


@pytest.fixture(scope="module")
def music():
    """Embeddings of six kinds of music, five tracks by each artist; and artists and kinds."""
    rng = np.random.default_rng(0)
    artists = np.repeat(np.arange(N_ARTISTS), 5)
    kinds = artists % N_CLUSTERS
    centres = 3 * rng.normal(size=(N_CLUSTERS, 16))
    embeddings = centres[kinds] + rng.normal(size=(len(kinds), 16))
    return embeddings.astype(np.float16), [str(a) for a in artists], kinds


@pytest.fixture(scope="module")
def whole(music):
    return lay_out(music[0], music[1])


def agreement(positions, kinds):
    """Return how many of the five nearest on the map are of the same kind."""
    others, _ = nearest(positions, positions, 6)
    return float((kinds[others[:, 1:]] == kinds[:, None]).mean())


def test_tracks_of_a_kind_are_neighbours(music, whole):
    embeddings, _, kinds = music
    assert whole.fitted.all()
    assert agreement(whole.of(sound_keys(embeddings)), kinds) > 0.95


def test_a_layout_depends_neither_on_the_order_of_tracks_nor_on_chance(music, whole):
    embeddings, artists, _ = music
    again = lay_out(embeddings[::-1], artists[::-1])
    assert_array_equal(again.positions, whole.positions)


def test_new_tracks_are_placed_among_similar_ones_and_the_others_stay(music):
    embeddings, artists, kinds = music
    old = np.arange(len(kinds)) % 5 > 0
    before = lay_out(embeddings[old], [a for a, there in zip(artists, old, strict=True) if there])
    after = lay_out(embeddings, artists, before)
    keys = sound_keys(embeddings)
    assert_array_equal(after.of(keys[old]), before.of(keys[old]))
    assert after.fitted.sum() == old.sum()
    assert agreement(after.of(keys), kinds) > 0.9
    assert_array_equal(lay_out(embeddings, artists, after).positions, after.positions)


def test_tracks_that_are_gone_keep_their_places(music, whole):
    embeddings, artists, _ = music
    assert lay_out(embeddings[:200], artists[:200], whole) is whole


def test_a_library_that_has_doubled_is_laid_out_anew(music):
    embeddings, artists, _ = music
    before = lay_out(embeddings[:100], artists[:100])
    assert lay_out(embeddings, artists, before).fitted.all()


def test_of_a_large_library_a_sample_is_laid_out_and_the_others_placed(music, monkeypatch):
    embeddings, artists, kinds = music
    monkeypatch.setattr(layout, "MOST_FITTED", 100)
    found = lay_out(embeddings, artists)
    assert found.fitted.sum() == 100
    assert agreement(found.of(sound_keys(embeddings)), kinds) > 0.9


@pytest.mark.parametrize("n", [1, 2, 3, 25])
def test_few_tracks_have_places_too(music, n):
    embeddings, artists, _ = music
    found = lay_out(embeddings[:n], artists[:n])
    assert found.positions.shape == (n, 2)
    assert np.isfinite(found.positions).all()
    assert len(np.unique(found.positions, axis=0)) == n


def test_equal_sounds_are_one(music):
    embeddings, _, _ = music
    found = lay_out(np.repeat(embeddings[:1], 50, axis=0), ["a"] * 50)
    assert_array_equal(found.positions, np.zeros((1, 2)))


def test_nearly_equal_sounds_have_places(music):
    embeddings = np.repeat(music[0][:1], 50, axis=0)
    embeddings[:, 0] = np.arange(50) // 2  # pairs that differ in a number that tells nothing
    embeddings[1::2, 1] += np.float16(1e-3)
    assert np.isfinite(lay_out(embeddings, [str(i) for i in range(50)]).positions).all()


def test_without_opentsne_principal_components_are_the_layout(music, monkeypatch):
    embeddings, artists, kinds = music
    monkeypatch.setattr(layout, "method", lambda: "pca")
    found = lay_out(embeddings, artists)
    assert agreement(found.of(sound_keys(embeddings)), kinds) > 0.5


def test_neighbours_are_the_nearest(music):
    points = music[0].astype(np.float32)
    found, distances = nearest(points[:9], points, 4)
    exact = np.linalg.norm(points[:9, None] - points, axis=2)
    np.testing.assert_allclose(distances, np.sort(exact, axis=1)[:, :4], atol=2e-2)
    assert_array_equal(found[:, 0], np.arange(9))
