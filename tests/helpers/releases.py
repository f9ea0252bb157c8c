"""Small collections with generated windows, from which a release is trained in seconds."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from agf_core.data.tracks import Track
from agf_core.features.cache import FeatureCache
from agf_core.features.spectrogram import InputSpec
from training.pretrained.ontology import class_names
from training.recipes import OURS
from training.teachers.features import EFFICIENTAT, MUSICNN
from training.teachers.windows import EXCERPT, Windows, kind

SPEC = InputSpec(
    8_000, 256, 128, 32, 0.0, 4_000.0, segment_frames=32, window_hop=32, excerpt_seconds=2.0
)
LOUD = {"Rock": 0.0, "Jazz": -30.0, "Classical": -60.0}  # decibels by which genres differ here


def with_epochs(n):
    """Return the recipe of the release for smaller windows, with so many epochs."""
    networks = replace(OURS.networks, epochs=n, batch_size=16, bfloat16=False)
    return replace(OURS, input=SPEC, networks=networks)


def classes_of(genre):
    """Class logits of a teacher who knows: only the genre's own classes are probable."""
    names, chosen = class_names(), {"msd:rock", "as:Rock music"}
    chosen = {
        "Rock": chosen,
        "Jazz": {"msd:jazz", "as:Jazz"},
        "Classical": {"as:Classical music", "as:Opera"},
    }[genre] | {"as:Music"}
    return np.array([3.0 if name in chosen else -6.0 for name in names], np.float32)


def windows_of(genre, rng, n=4):
    rows = classes_of(genre) + rng.normal(0, 0.3, (n, len(class_names())))
    log_mel = LOUD[genre] + rng.normal(0, 3, (n, SPEC.segment_frames, SPEC.n_mels))
    hidden = [rng.normal(size=(n, size)) for size in (MUSICNN.n_hidden, EFFICIENTAT.n_hidden)]
    return Windows(
        log_mel.astype(np.float16),
        np.concatenate([hidden[0], rows[:, :50]], axis=1).astype(np.float32),
        np.concatenate([hidden[1], rows[:, 50:]], axis=1).astype(np.float32),
    )


def make_tracks(sources=("north", "south"), per_artist=1):
    """Return six tracks of each genre in each collection."""
    return [
        Track(
            f"{source}-{genre}-{i}",
            Path("none.wav"),
            artist=f"{source} {genre} {i // per_artist}",
            genre=genre,
            source=source,
        )
        for source in sources
        for genre in LOUD
        for i in range(6)
    ]


def fill_cache(folder, tracks):
    """Put windows of tracks into a folder of work, as if the teachers had analysed them."""
    rng, cache = np.random.default_rng(0), FeatureCache(folder / "features")
    for track in tracks:
        made = windows_of(track.genre, rng)
        cache.get(kind(None, EXCERPT), track.track_id, lambda made=made: made.log_mel)
        cache.get(kind(MUSICNN, EXCERPT), track.track_id, lambda made=made: made.musicnn)
        cache.get(kind(EFFICIENTAT, EXCERPT), track.track_id, lambda made=made: made.efficientat)
    return cache
