from pathlib import Path

import numpy as np
import pytest

from agf_core.data.splits import hold_out_artists
from agf_core.data.tracks import Track, genre_targets
from agf_core.errors import CacheError
from agf_core.features.cache import FeatureCache
from agf_core.utils import atomic


def track(number, artist="a", **values):
    return Track(str(number), Path(f"{number}.mp3"), artist, **values)


def test_targets_are_one_hot_or_nothing():
    tracks = [track(0, genre="Rock"), track(1), track(2, genre="Polka"), track(3, genre="Jazz")]
    targets = genre_targets(tracks, ["Jazz", "Rock"])
    assert targets[[0, 3]].tolist() == [[0, 1], [1, 0]]
    assert np.isnan(targets[1:3]).all()


def test_weights_are_targets_where_there_is_no_main_genre_and_they_are_wanted():
    both = (("Jazz", 0.25), ("Polka", 0.5), ("Rock", 0.25))
    tracks = [
        track(0, genre="Rock", genre_weights=both),
        track(1, genre_weights=both),
        track(2, genre_weights=(("Polka", 1.0),)),
        track(3),
    ]
    targets = genre_targets(tracks, ["Jazz", "Rock"], weighted=True)
    assert targets[:2].tolist() == [[0, 1], [0.5, 0.5]]
    assert np.isnan(targets[2:]).all()
    assert np.isnan(genre_targets(tracks, ["Jazz", "Rock"])[1:]).all()


def test_no_artist_is_on_both_sides():
    tracks = [track(i, f"artist {i % 17}") for i in range(200)]
    indices = np.arange(20, 200)
    rest, held_out = hold_out_artists(tracks, indices, 0.25, seed=3)
    assert sorted([*rest, *held_out]) == indices.tolist()
    sides = [{tracks[i].artist for i in side} for side in (rest, held_out)]
    assert not sides[0] & sides[1]
    assert len(sides[1]) == 4
    again = hold_out_artists(tracks, indices, 0.25, seed=3)
    assert (again[1] == held_out).all()
    assert (hold_out_artists(tracks, indices, 0.25, seed=4)[1].tolist()) != held_out.tolist()


def test_one_artist_cannot_be_split():
    with pytest.raises(ValueError, match="two artists"):
        hold_out_artists([track(0), track(1)], np.arange(2), 0.5, seed=0)


def test_cache_computes_once_and_mends_itself(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return np.arange(3)

    cache = FeatureCache(tmp_path / "cache")
    for _ in range(2):
        assert cache.get("kind", "../odd/näme", compute).tolist() == [0, 1, 2]
    assert len(calls) == 1
    (stored,) = (tmp_path / "cache").rglob("*.npy")
    assert stored.parent == tmp_path / "cache" / "kind"
    stored.write_bytes(stored.read_bytes()[:-5])
    assert cache.get("kind", "../odd/näme", compute).tolist() == [0, 1, 2]
    assert len(calls) == 2
    with pytest.raises(OSError, match="gone"):
        cache.get("kind", "other", lambda: (_ for _ in ()).throw(OSError("gone")))
    assert [p.name for p in (tmp_path / "cache").rglob("*other*")] == []
    cache.get("kind", "a/b", lambda: np.zeros(1))
    assert cache.get("kind", "a%2fb", lambda: np.ones(1)) == [1]


def test_another_tracks_feature_is_not_taken_for_it(tmp_path):
    cache = FeatureCache(tmp_path)
    cache.get("kind", "a", lambda: np.zeros(3))
    (tmp_path / "kind" / "b.npy").write_bytes((tmp_path / "kind" / "a.npy").read_bytes())
    assert cache.get("kind", "b", lambda: np.ones(3)).tolist() == [1, 1, 1]


def test_what_does_not_fit_is_made_again(tmp_path):
    cache = FeatureCache(tmp_path)
    cache.get("kind", "a", lambda: np.array([1, np.nan]))
    finite = cache.get("kind", "a", lambda: np.ones(2), lambda x: bool(np.isfinite(x).all()))
    assert finite.tolist() == cache.get("kind", "a", list).tolist() == [1, 1]


@pytest.mark.parametrize("shape", [(0, 10), (3,), (2, 2), ()])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_shape_come_back(tmp_path, shape, order):
    array = np.asarray(np.random.default_rng(0).normal(size=shape), order=order)
    cache = FeatureCache(tmp_path)
    cache.get("kind", "a", lambda: array)
    again = cache.get("kind", "a", lambda: pytest.fail("it is there"))
    np.testing.assert_array_equal(again, array)
    assert again.flags.writeable


def test_a_cache_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CacheError, match=r"a\.npy cannot be written \(Not a directory\)"):
        FeatureCache(tmp_path / "file").get("kind", "a", lambda: np.zeros(3))


def test_an_array_that_says_it_is_huge_is_made_again(tmp_path):
    cache = FeatureCache(tmp_path)
    cache.get("kind", "a", lambda: np.zeros(30))
    path = tmp_path / "kind" / "a.npy"
    content = atomic.unsealed(path.read_bytes(), "kind/a.npy")
    huge = content.replace(b"(30,), }            ", b"(3000000000000,), } ")
    assert huge != content
    path.write_bytes(atomic.sealed(huge, "kind/a.npy"))
    assert cache.get("kind", "a", lambda: np.ones(2)).tolist() == [1, 1]
