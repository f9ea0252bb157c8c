"""The control of the paper's experiments, whose artists are shuffled, on generated tracks."""

from pathlib import Path

import numpy as np

from agf_core import metrics
from agf_core.data.tracks import Track, genre_targets
from agf_core.features.spectrogram import InputSpec
from agf_core.groups.lda import group_targets
from agf_core.train.config import TrainConfig
from agf_core.train.dataset import SegmentDataset, fit_normaliser
from training.paper.cases import ALONE, Case
from training.paper.experiment import Experiment
from training.paper.groups import shuffle
from training.recipes import Recipe
from training.splits import Split, truth_of

STYLES = ("Ambient", "Blues", "Country", "Disco")
RECIPE = Recipe(
    "tiny",
    input=InputSpec(
        8_000, 256, 128, 32, 0.0, 4_000.0, segment_frames=40, window_hop=20, excerpt_seconds=2.0
    ),
    networks=TrainConfig(epochs=10, batch_size=16, validate_every=10),
    transfer=TrainConfig(epochs=30, batch_size=16, validate_every=30),
)
CASES = (ALONE, Case("gm"), Case("gm", shuffled=True))


def corpus(seed, n_artists=48, n_tracks=4, labelled=0.15):
    """Tracks that sound like their artist's style and much else; few but fold 0's have a genre."""
    rng = np.random.default_rng(seed)
    sound = rng.normal(size=(len(STYLES), 32))
    tracks, spectra, frames = [], [], []
    for artist in range(n_artists):
        style, fold = artist % 4, artist // 4 % 4
        for n in range(n_tracks):  # so many that a shuffled artist says little of a track
            own = 1.5 * rng.normal(size=32)
            spectra.append(-40 + 3 * (sound[style] + own + rng.normal(size=(60, 32))))
            genre = STYLES[style] if fold == 0 or rng.random() < labelled else ""
            tracks.append(Track(f"{artist}-{n}", Path("none"), f"artist {artist}", genre, (), fold))
            mfcc = rng.normal(size=(100, 25)).astype(np.float32)
            mfcc[:, style] += 3
            frames.append(mfcc)
    return tracks, [s.astype(np.float16) for s in spectra], frames


def test_what_groups_contribute_is_gone_when_artists_are_shuffled(tmp_path):
    accuracy = {case: [] for case in CASES}
    for seed in (1, 2, 3):
        tracks, spectra, frames = corpus(seed)
        folds = np.array([track.fold for track in tracks])
        part = Split(np.flatnonzero(folds), np.array([], int), np.flatnonzero(folds == 0))
        artists = [track.artist for track in tracks]

        def targets(task, shuffled, tracks=tracks, artists=artists, frames=frames, part=part):
            if task == "g":
                return genre_targets(tracks, STYLES)
            given = shuffle(artists, part.train, seed=0) if shuffled else artists
            return group_targets(task, frames, given, part.train)[1]

        mean, std = fit_normaliser(spectra[i] for i in part.train)
        segments = SegmentDataset(spectra, RECIPE.input, mean, std)
        experiment = Experiment(
            tracks, segments, STYLES, RECIPE, part, targets, tmp_path / str(seed), progress=False
        )
        truth = truth_of(tracks, part.test, STYLES)
        for case in CASES:
            predicted = experiment.predict(case, experiment.transfer(case))[part.test]
            accuracy[case].append(metrics.accuracy(predicted, truth))
    alone, groups, shuffled = (np.mean(found) for found in accuracy.values())
    assert groups - alone > 0.1
    assert shuffled - alone < (groups - alone) / 2


def test_shuffling_changes_training_artists_alone():
    artists = [f"artist {i // 2}" for i in range(160)]
    train = np.arange(40, 160)
    shuffled = shuffle(artists, train, seed=0)
    assert shuffled[:40] == artists[:40]
    assert sorted(shuffled) == sorted(artists)
    assert sum(a == b for a, b in zip(artists[40:], shuffled[40:], strict=True)) < 10
