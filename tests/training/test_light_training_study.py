"""The study of light training, on libraries whose features tell what is known about them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agf_core.bundle import format as bundle_format
from agf_core.data.tracks import Track
from training.studies import light_training as study
from training.studies.left_out import Library

SHIPPED = bundle_format.load()
LABELS = SHIPPED.metadata.labels
GENRES = ("Jazz", "Pop", "Rock")


def library(of_genre):
    """Return 90 tracks by 30 artists whose embeddings are of their genres, and a base of noise."""
    rng = np.random.default_rng(0)
    tracks = [Track(f"t{i}", Path(), f"artist {i // 3}", GENRES[i // 3 % 3]) for i in range(90)]
    tracks[0] = replace(tracks[0], genre="Polka")  # too rare to be trained
    genres = np.array([i // 3 % 3 for i in range(90)])
    embeddings = rng.normal(size=(90, 8)) + of_genre * np.eye(8)[genres]
    logits = rng.normal(size=(90, len(LABELS)))
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return Library("mine", tracks, embeddings.astype(np.float16), logs, SHIPPED, [])


@pytest.fixture(autouse=True)
def one_seed(monkeypatch):
    monkeypatch.setattr(study, "SEEDS", 1)
    monkeypatch.setattr(study, "SHARES", (0.1, 1.0))


def test_what_the_embedding_tells_is_trained_and_more_artists_are_better():
    title, found = study.measure(library(of_genre=4))
    assert title == "mine: 89 tracks, 30 artists, 3 genres"
    accuracy = {share: scores[study.LIGHT].values[0] for share, scores in found.items()}
    assert accuracy[1.0] > 0.95
    assert accuracy[1.0] >= accuracy[0.1] > 0.6
    assert found[1.0][study.BASE].values[0] < 0.5
    cells = study.cells_of(found[1.0])
    assert len(cells) == len(study.HEAD) - 2
    assert cells[2].startswith("+0.")


def test_nothing_of_a_tested_fold_is_trained_on():
    _, found = study.measure(library(of_genre=0))
    assert 0.2 < found[1.0][study.LIGHT].values[0] < 0.5  # one in three is right by chance
