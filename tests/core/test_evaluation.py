"""Comparisons of models, and score sheets."""

import numpy as np

from agf_core import evaluation
from agf_core.metrics import Score


def test_comparison_is_paired_and_by_artist():
    truth = np.arange(40) % 2
    artists = np.arange(40) // 4
    right = np.eye(2)[truth]
    half = right.copy()
    half[::4] = 1 - half[::4]
    better = evaluation.compare(right, half, truth, artists)
    assert better.difference == Score(0.25, 0.25, 0.25)
    assert better.better
    assert (better.tracks, better.artists) == (40, 10)
    same = evaluation.compare(half, half, truth, artists)
    assert not same.better
    one_artist = right.copy()
    one_artist[4:8] = 1 - one_artist[4:8]
    assert not evaluation.compare(right, one_artist, truth, artists).better


def test_score_sheet():
    genres = ("Jazz", "$ka_{", "Рок")
    truth = np.array([0, 0, 1, 1, 1])
    predicted = np.eye(3)[[0, 1, 1, 1, 0]]
    sheet = evaluation.score_sheet(genres, truth, np.arange(5), {"mine": predicted}, "mine")
    assert sheet["genres"]["Jazz"] == {"precision": 0.5, "recall": 0.5, "tracks": 2, "artists": 2}
    assert sheet["genres"]["Рок"]["precision"] is None
    assert sheet["confusion"] == [[1, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert sheet["overall"]["mine"]["accuracy"][0] == 0.6


def test_accuracy_by_confidence():
    predicted = np.array([[0.9, 0.1], [0.6, 0.4], [0.45, 0.55], [0.2, 0.8]])
    rows = evaluation.by_confidence(predicted, np.array([0, 1, 1, 1]))
    assert list(rows) == [f"{n / 100:.2f}" for n in range(0, 100, 5)]
    assert rows["0.50"] == {"share_of_tracks": 1.0, "right": 0.75}
    assert rows["0.60"] == {"share_of_tracks": 0.75, "right": 0.667}
    assert rows["0.80"] == {"share_of_tracks": 0.5, "right": 1.0}
    assert rows["0.95"] == {"share_of_tracks": 0.0, "right": None}
