"""Which tracks a model is trained on, how much each counts, and folds of artists."""

from pathlib import Path

import numpy as np
import pytest

from agf_core.data.sampling import album_weights, at_most, learnable_genres
from agf_core.data.splits import artist_folds
from agf_core.data.tracks import Track


def track(i: int, artist: str, genre: str = "", album: str = "") -> Track:
    return Track(f"t{i}", Path(f"{i}.mp3"), artist, genre, (genre,) if genre else (), album=album)


def test_genres_with_too_few_tracks_or_one_artist_are_set_aside():
    tracks = [track(i, f"a{i}", "Rock") for i in range(10)]
    tracks += [track(10 + i, "one", "Zydeco") for i in range(12)]
    tracks += [track(30 + i, f"a{i}", "Polka") for i in range(3)]
    tracks += [track(40, "a"), track(41, "b", "Skiffle")]
    genres, aside = learnable_genres(tracks, 10)
    assert genres == ("Rock",)
    assert [str(genre) for genre in aside] == [
        "Zydeco: 12 tracks by 1 artist",
        "Polka: 3 tracks by 3 artists",
        "Skiffle: 1 track by 1 artist",
    ]


def test_a_box_set_counts_as_much_as_any_album():
    tracks = [track(i, "a", "Rock", "box") for i in range(40)]
    tracks += [track(100 + i, "b", "Jazz", f"album {i}") for i in range(10)]
    tracks += [track(200, "a", "Jazz", "box"), track(201, "c", "Rock")]
    weights = album_weights(tracks)
    assert weights.mean() == pytest.approx(1)
    single = weights[-1]
    assert weights[:40].sum() == pytest.approx(single)
    assert weights[40:51] == pytest.approx(single)


def test_memory_is_shared_between_albums_and_the_choice_is_steady():
    tracks = [track(i, "a", "Rock", f"album {i // 10}") for i in range(100)]
    chosen = at_most(tracks, 4, 1_000)
    assert len(chosen) == 40
    assert set(at_most([*tracks[10:], track(1_000, "b", "Jazz")], 4, 1_000)) >= {
        t for t in chosen if t.album != "album 0"
    }
    few = at_most(tracks, 4, 15)
    assert len({t.album for t in few}) == 10


def test_a_rare_genre_keeps_its_tracks_where_memory_is_short():
    common = [track(i, f"artist {i}", "Rock", f"album {i}") for i in range(200)]
    rare = [track(1_000 + i, f"other {i % 2}", "Jazz", f"rare {i % 2}") for i in range(10)]
    chosen = at_most([*common, *rare], 4, 80)
    assert len(chosen) == 80
    assert sum(t.genre == "Jazz" for t in chosen) == 8


def test_folds_keep_artists_whole_and_genres_even():
    rng = np.random.default_rng(0)
    tracks = []
    for a in range(60):
        genre = ("Rock", "Jazz", "Rare", "")[0 if a < 30 else 1 if a < 50 else 2 if a < 52 else 3]
        tracks += [track(len(tracks) + j, f"artist {a}", genre) for j in range(rng.integers(1, 5))]
    folds = artist_folds(tracks, 5)
    assert all(
        len({f for f, t in zip(folds, tracks, strict=True) if t.artist == a}) == 1
        for a in {t.artist for t in tracks}
    )
    for genre, n in (("Rock", 6), ("Jazz", 4)):
        sizes = [
            len(
                {
                    t.artist
                    for f, t in zip(folds, tracks, strict=True)
                    if f == fold and t.genre == genre
                }
            )
            for fold in range(5)
        ]
        assert sizes == [n] * 5
    rare = {f for f, t in zip(folds, tracks, strict=True) if t.genre == "Rare"}
    assert len(rare) == 2
    assert {f for f, t in zip(folds, tracks, strict=True) if not t.genre} == {-1}
