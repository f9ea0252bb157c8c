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
    assert title == "mine: 89 tracks, 30 artists, 3 genres, 100% by artists with others"
    light = study.LIGHT, study.ALONE
    accuracy = {share: scores[light].values[0] for share, scores in found.items()}
    assert accuracy[1.0] > 0.95
    assert accuracy[1.0] >= accuracy[0.1] > 0.6
    assert found[1.0][study.BASE, study.ALONE].values[0] < 0.5
    cells = study.light_cells(found[1.0])
    assert len(cells) == len(study.HEAD) - 2
    assert cells[2].startswith("+0.")


def test_nothing_of_a_tested_fold_is_trained_on():
    _, found = study.measure(library(of_genre=0))
    accuracy = found[1.0][study.LIGHT, study.ALONE].values[0]
    assert 0.2 < accuracy < 0.5  # one in three is right by chance


def test_context_helps_more_with_tags_and_only_where_artists_have_other_tracks(monkeypatch):
    monkeypatch.setattr(study, "SHARES", (1.0,))
    _, found = study.measure(library(of_genre=1))
    scores = found[1.0]
    for model in (study.BASE, study.LIGHT):
        alone, predictions, tagged = (
            scores[model, part].values[0]
            for part in (study.ALONE, study.PREDICTIONS, study.HALF_TAGGED)
        )
        assert tagged > alone + 0.2
        assert tagged > predictions + 0.1
    cells = study.gains_cells(scores)
    assert len(cells) == len(study.GAINS_HEAD) - 2
    assert cells[2].startswith("+0.")
    assert cells[3].startswith("-")
    single = library(of_genre=1)
    tracks = [replace(track, artist=f"artist {i}") for i, track in enumerate(single.tracks)]
    title, found = study.measure(replace(single, tracks=tracks))
    assert title.endswith(" 0% by artists with others")
    cells = study.context_cells(found[1.0])
    assert len(cells) == len(study.CONTEXT_HEAD) - 2
    assert len(set(cells)) == 2


def test_half_of_each_artists_tracks_is_tagged_and_never_the_scored_half(monkeypatch):
    made = library(of_genre=1)
    predicted = study.predicted_of(
        made, GENRES, study.predict_by_base(made, GENRES), study.base_prior(made, GENRES)
    )
    half = study.half_of_each_artist(predicted, seed=0)
    counts = np.bincount(predicted.artists, half)
    assert sorted(counts) == [1] + [2] * 29  # one of two, and two of three
    assert not half[predicted.truth < 0].any()
    seen = []
    monkeypatch.setattr(
        study,
        "combined",
        lambda predicted, known, p, context, **parts: seen.append(known) or p.copy(),
    )
    tagged, fold = next(study.folds_of(made.tracks, 1.0, 0))
    study.in_context(predicted, tagged, fold, 0, fitted=True)
    known = {tuple(one[fold]) for one in seen}
    assert known == {tuple(none) for none in (np.zeros(fold.sum(), bool), half[fold])} | {
        tuple((~half & (predicted.truth >= 0))[fold])
    }
    assert not (tagged & fold).any()
