"""The comparison of learning with and without artist groups, on generated tracks."""

import json
from pathlib import Path

import numpy as np
import pytest

from agf_core import metrics
from agf_core.data.tracks import Track
from agf_core.features.spectrogram import InputSpec
from agf_core.train.config import TrainConfig
from training import statistics
from training.paper import experiment
from training.paper.cases import ALONE, Case
from training.pretrained.cross_validation import truth_of
from training.recipes import Recipe
from training.splits import split
from training.studies import compare
from training.studies.compare import report, run_fold, shuffle_artists

STYLES = ("Ambient", "Blues", "Country", "Disco")
RECIPE = Recipe(
    "tiny",
    input=InputSpec(
        8_000, 256, 128, 32, 0.0, 4_000.0, segment_frames=40, window_hop=20, excerpt_seconds=2.0
    ),
    networks=TrainConfig(epochs=10, batch_size=16, validate_every=10),
    transfer=TrainConfig(epochs=30, batch_size=16, validate_every=30),
)
GROUPS, SHUFFLED = Case("gm"), Case("gm", shuffled=True)


def corpus(seed, n_artists=80, labelled=0.15):
    """Tracks that sound like their artist's style and much else; few but fold 0's have a genre."""
    rng = np.random.default_rng(seed)
    sound = rng.normal(size=(len(STYLES), 32))
    tracks, spectra, frames = [], [], []
    for artist in range(n_artists):
        style, fold = artist % 4, artist // 4 % 4
        for n in range(2):
            own = 1.5 * rng.normal(size=32)
            spectra.append(-40 + 3 * (sound[style] + own + rng.normal(size=(60, 32))))
            genre = STYLES[style] if fold == 0 or rng.random() < labelled else ""
            tracks.append(Track(f"{artist}-{n}", Path("none"), f"artist {artist}", genre, (), fold))
            mfcc = rng.normal(size=(100, 25)).astype(np.float32)
            mfcc[:, style] += 3
            frames.append(mfcc)
    return tracks, [s.astype(np.float16) for s in spectra], {"m": frames}


def test_what_groups_contribute_is_gone_when_artists_are_shuffled(tmp_path):
    accuracy = {case: [] for case in (ALONE, GROUPS, SHUFFLED)}
    for seed in (1, 2, 3):
        tracks, spectra, descriptors = corpus(seed)
        folder = tmp_path / str(seed)
        run_fold(tracks, spectra, descriptors, STYLES, RECIPE, list(accuracy), 0, folder)
        test = split(tracks, 0).test
        for case, found in accuracy.items():
            probabilities = np.load(folder / f"{case.name}.npy")
            found.append(metrics.accuracy(probabilities, truth_of(tracks, test, STYLES)))
    alone, groups, shuffled = (np.mean(found) for found in accuracy.values())
    assert groups - alone > 0.1
    assert shuffled - alone < (groups - alone) / 2


def test_shuffling_touches_training_artists_alone():
    tracks, _, _ = corpus(0)
    train = np.array([i for i, track in enumerate(tracks) if track.fold])
    shuffled = shuffle_artists(tracks, train, seed=0)
    others = np.setdiff1d(np.arange(len(tracks)), train)
    assert [shuffled[i] for i in others] == [tracks[i] for i in others]
    before, after = ([some[i].artist for i in train] for some in (tracks, shuffled))
    assert sorted(before) == sorted(after)
    assert sum(a == b for a, b in zip(before, after, strict=True)) < 10
    assert [t.genre for t in shuffled] == [t.genre for t in tracks]


@pytest.fixture
def short(monkeypatch):
    """Few epochs, and the cases of two sources."""
    monkeypatch.setattr(statistics, "RESAMPLES", 50)
    schedule = TrainConfig(epochs=1, batch_size=32)
    return [ALONE, GROUPS, Case("gm", shared=True)], Recipe(
        "tiny", width=0.25, input=RECIPE.input, networks=schedule, transfer=schedule
    )


def test_a_stopped_comparison_goes_on_and_reports(short, tmp_path, monkeypatch):
    cases, recipe = short
    tracks, spectra, descriptors = corpus(0, labelled=0.5)
    folds = range(4)
    for fold in folds:
        run_fold(
            tracks,
            spectra,
            descriptors,
            STYLES,
            recipe,
            cases[: 1 + fold],  # as if stopped in the first folds
            fold,
            compare._folder(tmp_path, 0, fold),
        )
    trained = []
    train_networks = experiment.train_networks

    def counting(segments, targets, *given, **named):
        trained.append("".join(targets))
        return train_networks(segments, targets, *given, **named)

    monkeypatch.setattr(experiment, "train_networks", counting)
    for fold in folds:
        folder = compare._folder(tmp_path, 0, fold)
        run_fold(tracks, spectra, descriptors, STYLES, recipe, cases, fold, folder)
    assert trained == ["g", "m", "gm", "gm"]  # g from its checkpoint, for its features

    output = tmp_path / "docs"
    output.mkdir()
    (output / "README.md").write_text(f"# Mine\n\nRead this.\n\n{compare.MARKER}\nstale\n")
    report(tracks, STYLES, recipe, cases, [0], tmp_path, output)
    page = (output / "README.md").read_text()
    assert page.startswith("# Mine\n\nRead this.\n\n<!--")
    assert "stale" not in page
    assert "| g+m MTN |" in page
    assert (output / "scores.png").stat().st_size > 5_000
    stored = json.loads((output / "scores.json").read_text())
    judged = [track for track in tracks if track.genre]
    assert (stored["tracks"], stored["artists"]) == (len(judged), len({t.artist for t in judged}))
    assert stored["cases"]["g"]["differences"]["accuracy"]["value"] == 0


def test_differences_are_paired():
    """A case that is a little surer of every track is better beyond doubt, however few they are."""
    rng = np.random.default_rng(0)
    truth, artists = rng.integers(3, size=60), np.arange(60) // 2
    probabilities = rng.dirichlet(np.ones(3), size=60)
    surer = 0.98 * probabilities + 0.02 * np.eye(3)[truth]
    scored = statistics.score(
        {ALONE: probabilities[None], GROUPS: surer[None]}, truth, artists, list(compare.TITLES)
    )
    log_loss = list(compare.TITLES).index("log_loss")
    assert scored[GROUPS][log_loss].value == pytest.approx(metrics.log_loss(surer, truth))
    assert scored[GROUPS][log_loss].high > scored[ALONE][log_loss].low  # the intervals overlap
    assert (scored[GROUPS] - scored[ALONE])[log_loss].high < 0
    assert "**" in compare.table(scored).splitlines()[-1]
