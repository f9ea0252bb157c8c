"""The study of swapped genres: swaps are of the kind that is wanted, and are found."""

from pathlib import Path

import numpy as np
import pytest

from agf_core.bundle import format as bundle_format
from agf_core.data.tracks import Track
from training.studies import wrong_genres
from training.studies.left_out import Library
from training.studies.wrong_genres import KINDS, rank, score, swapped

SHIPPED = bundle_format.load()
LABELS = SHIPPED.metadata.labels
GENRES = ("Jazz", "Pop", "Rock")


@pytest.fixture
def library() -> Library:
    """Features that tell the genre well."""
    rng = np.random.default_rng(0)
    tracks = [Track(f"t{i}", Path(), f"artist {i // 3}", GENRES[i // 3 % 3]) for i in range(90)]
    genres = np.array([LABELS.index(track.genre) for track in tracks])
    logits = rng.normal(size=(len(tracks), len(LABELS))) + 4 * np.eye(len(LABELS))[genres]
    return Library(
        "mine",
        tracks,
        rng.normal(size=(len(tracks), 8)).astype(np.float16),
        logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)),
        SHIPPED,
        [],
    )


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_genres_as_wanted_are_swapped(library, kind):
    right = [track.genre for track in library.tracks]
    wrong = swapped(library, kind, 0.2, seed=0)
    different = [i for i in range(90) if wrong[i] != right[i]]
    assert len(different) == 18
    assert set(wrong) == set(GENRES)
    assert swapped(library, kind, 0.2, seed=0) == wrong != swapped(library, kind, 0.2, seed=1)
    artists = [library.tracks[i].artist for i in different]
    assert (len(set(artists)) == 6) == (kind == "artist")
    scores, found = rank(library, wrong)
    assert set(scores) == set(wrong_genres.RANKINGS) - {"chance"}
    if kind == "random":
        precision, _, recall = score(scores["audit"], np.isin(np.arange(90), different))
        assert precision >= 0.9
        assert recall >= 0.8
        assert np.isin(np.flatnonzero(found), different).mean() > 0.6


def test_scores_are_those_of_the_lowest_ranks():
    wrong = np.zeros(100, bool)
    wrong[:8] = wrong[90:92] = True
    assert score(np.arange(100.0), wrong).tolist() == [0.8, 0.16, 0.8]
