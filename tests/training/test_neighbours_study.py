"""Scores of nearest neighbours, on features whose neighbours are known."""

from pathlib import Path

import numpy as np

from agf_core.data.tracks import Track
from training.studies import neighbours
from training.studies.neighbours import WAYS, measure

TRACKS = [Track(f"t{i}", Path(), f"artist {i // 2}", f"genre {i % 6 // 2}") for i in range(30)]


def test_features_that_tell_genres_find_them_and_noise_does_not():
    rng, genre_axes, artist_axes = np.random.default_rng(1), np.eye(8), {}
    for track in TRACKS:
        artist_axes.setdefault(track.artist, 3 * rng.normal(size=8))
    genre = [3 * genre_axes[int(track.genre[-1])] for track in TRACKS]
    artist = [artist_axes[track.artist] for track in TRACKS]
    features = {
        name: 3 * np.array(rows) + rng.normal(size=(30, 8))
        for name, rows in {"genre": genre, "artist": artist}.items()
    }
    scores = {name: one.values for name, one in measure(TRACKS, features).items()}
    assert set(scores) == {"chance"} | {name + way for name in features for way in WAYS}
    assert [round(value, 3) for value in scores["chance"]] == [0.310, 0.286, 0.034]
    assert scores["genre"][0] > 0.85  # of ten neighbours nine can be right
    assert scores["artist"][2] > 0.95
    assert abs(scores["artist"][1] - 0.286) < 0.1


def test_the_tables_have_a_row_for_each_kind_of_features():
    features = {"noise": np.random.default_rng(0).normal(size=(30, 4))}
    one = measure(TRACKS, features)
    page = "\n".join(neighbours.page_of({"A": one, "B": one}, {"A": "a.", "B": "b."}))
    assert "## Mean of 2 libraries" in page
    assert page.count("| noise, whitened by the library | ") == 3
