"""The study of swapped genres: swaps are what they say, and the page has what was measured."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from agf_core.bundle import format as bundle_format
from agf_core.data.tracks import Track
from training.datasets.collection import Collection, read_csv, split_by_folds, write_csv
from training.studies import wrong_genres
from training.studies.wrong_genres import KINDS, Library, rank, score, swapped

LABELS = bundle_format.load().metadata.labels
GENRES = ("Jazz", "Pop", "Rock")


@pytest.fixture
def table(tmp_path) -> Path:
    tracks = [
        Track(
            f"t{i}", Path(f"{i}.mp3"), f"artist {i // 3}", GENRES[i // 3 % 3], (), i // 3 % 5, "x"
        )
        for i in range(90)
    ]
    path = tmp_path / "table.csv"
    write_csv(Collection("table", tuple(tracks), split_by_folds(tracks)), path)
    return path


@pytest.fixture
def features(table) -> Path:
    """Features that tell the genre well."""
    rng = np.random.default_rng(0)
    tracks = read_csv(table).tracks
    genres = np.array([LABELS.index(track.genre) for track in tracks])
    logits = rng.normal(size=(len(tracks), len(LABELS))) + 4 * np.eye(len(LABELS))[genres]
    path = table.with_name("mine.npz")
    np.savez(
        path,
        ids=[track.track_id for track in tracks],
        labels=LABELS,
        embeddings=rng.normal(size=(len(tracks), 8)).astype(np.float16),
        log_probabilities=logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)),
    )
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_genres_as_wanted_are_swapped(table, features, kind):
    library = Library.read(features, {track.track_id: track for track in read_csv(table).tracks})
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


def test_the_page_keeps_what_stands_above_its_marker(table, features, monkeypatch):
    page = table.with_name("page.md")
    page.write_text(f"# Mine\n\nText.\n\n{wrong_genres.MARKER}\n\nold\n")
    small = shutil.copy(features, table.with_name("small.npz"))
    arguments = ["find", "--table", table, "--features", features, "--small", small]
    arguments += ["--resamples", "2", "--page", page]
    monkeypatch.setattr(wrong_genres, "RATES", (0.2,))
    monkeypatch.setattr(wrong_genres, "SEEDS", 1)
    monkeypatch.setattr(sys, "argv", ["wrong_genres", *map(str, arguments)])
    wrong_genres.main()
    text = page.read_text()
    assert text.startswith("# Mine\n\nText.\n")
    assert "old" not in text
    assert "- mine: 90 tagged tracks of 90 by 30 artists, 3 genres" in text
    assert "| mine | neighbour | audit - shipped | " in text
    assert "## Small libraries" in text


def test_features_are_those_of_the_model(tmp_path, clips, monkeypatch, capsys):
    tracks = [Track(c.name, c, c.stem, "Rock", (), i % 5, "x") for i, c in enumerate(clips[:6])]
    table, output = tmp_path / "table.csv", tmp_path / "x.npz"
    write_csv(Collection("table", tuple(tracks), split_by_folds(tracks)), table)
    arguments = ["features", "--table", table, "--sources", "x", "--output", output]
    monkeypatch.setattr(sys, "argv", ["wrong_genres", *map(str, arguments)])
    wrong_genres.main()
    assert "6 of 6 clips analysed" in capsys.readouterr().out
    with np.load(output) as file:
        assert file["embeddings"].shape == (6, 256)
        assert np.exp(file["log_probabilities"]).sum(axis=1) == pytest.approx(np.ones(6), abs=1e-4)
