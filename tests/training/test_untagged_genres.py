"""The study of genres without tags: what a model does not know it cannot leave alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from agf_core.bundle import format as bundle_format
from agf_core.data.tracks import Track
from training.studies import untagged_genres as study
from training.studies.left_out import Library

GENRES = ("Jazz", "Pop", "Rock")


def library(of_genre):
    """Return 120 tracks by 30 artists whose embeddings are of their genres, and a base of noise."""
    rng = np.random.default_rng(0)
    base = bundle_format.load()
    genres = np.arange(120) // 4 % 3
    tracks = [Track(f"t{i}", Path(), f"artist {i // 4}", GENRES[g]) for i, g in enumerate(genres)]
    tracks.append(replace(tracks[0], track_id="odd", genre="Polka"))  # too rare to be trained
    embeddings = rng.normal(size=(121, 8)) + of_genre * np.eye(8)[[*genres, 0]]
    logits = rng.normal(size=(121, len(base.metadata.labels)))
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return Library("mine", tracks, embeddings.astype(np.float16), logs, base, [])


def test_a_genre_without_tags_gets_others_and_tagged_ones_their_own():
    artists, written, right, wrongly = study.measure(library(of_genre=6))
    assert len(artists) == 120
    assert written.mean() > 0.9
    assert right.mean() > 0.95
    assert wrongly.any()
    row = study.cells(artists, written, right, wrongly)
    assert row[:2] == ["120", "30"]
    assert row[2].startswith(f"{written.mean():.2f} [")
    assert len(row) == len(study.HEAD) - 1


def test_where_nothing_can_be_told_nothing_is_written():
    _, written, _, wrongly = study.measure(library(of_genre=0))
    assert written.mean() < 0.2
    assert wrongly.mean() < 0.3
