"""Augmented copies: their sound, and what is known of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agf_core.data.tracks import Track
from training.augment import FASTEST, AugmentedCopy, augmented_copies, originals, read_samples

RATE = 8_000
TRACKS = [
    Track(f"t{i}", Path(f"{i}.wav"), f"artist {i}", "Rock", fold=i % 5, source="here")
    for i in range(40)
]
MUSIC = [Track(f"m{i}", Path(f"m{i}.wav"), "", source="game") for i in range(5)]


@pytest.fixture
def tone(write_wav):
    """Return a function that writes two seconds of a tone."""

    def write(name, pitch, loudness):
        seconds = np.arange(2 * RATE) / RATE
        return write_wav(name, loudness * np.sin(2 * np.pi * pitch * seconds), RATE)

    return write


def power(samples, pitch):
    """Return how loud a tone of a pitch in hertz is."""
    seconds = np.arange(len(samples)) / RATE
    return 2 * abs((samples * np.exp(-2j * np.pi * pitch * seconds)).mean())


def test_copies_stay_on_their_side_of_every_split_and_are_never_tested_on():
    made = augmented_copies(TRACKS, MUSIC, 3)
    assert len({v.track_id for v in made}) == 120
    for i, copy in enumerate(made):
        of = TRACKS[i // 3]
        assert (copy.artist, copy.fold, copy.source) == (of.artist, of.fold, of.source)
        assert (copy.genre, copy.labels) == ("", ())
        assert copy.genre_weights == (() if copy.other else (("Rock", 1.0),))
        assert copy.other is None or copy.other in MUSIC
    assert 40 < sum(copy.other is not None for copy in made) < 80
    speeds = np.array([copy.speed for copy in made])
    assert speeds.max() <= FASTEST
    assert speeds.min() >= 1 / FASTEST
    assert 0.8 < (speeds > 1).mean() * 2 < 1.2
    assert originals([*TRACKS, *made]) == TRACKS


def test_copies_are_the_same_every_time_with_ids_of_what_they_are():
    assert augmented_copies(TRACKS, MUSIC, 2) == augmented_copies(TRACKS, MUSIC, 2)
    assert augmented_copies(TRACKS, MUSIC, 2)[:2] == augmented_copies(TRACKS[:1], MUSIC, 2)
    changed = augmented_copies(TRACKS, MUSIC[::-1], 2)
    for one, other in zip(augmented_copies(TRACKS, MUSIC, 2), changed, strict=True):
        assert (one.track_id == other.track_id) == (one.other == other.other)


def test_a_faster_copy_is_shorter_and_higher(tone):
    track = Track("t", tone("tone.wav", 400, 0.5), "someone")
    samples = read_samples(AugmentedCopy("v", track.path, "someone", speed=1.25), 90, RATE)
    assert len(samples) == pytest.approx(2 * RATE / 1.25, abs=50)
    middle = samples[2_000:10_000]
    assert power(middle, 500) == pytest.approx(0.5, abs=0.02)
    assert power(middle, 400) < 0.02
    assert len(read_samples(track, 1.0, RATE)) == RATE


def test_what_is_mixed_in_lies_as_far_below_as_was_chosen(tone):
    other = Track("o", tone("other.wav", 1_000, 0.01), "")
    path = tone("tone.wav", 400, 0.5)
    mixed = AugmentedCopy("v", path, "someone", other=other, level=-6.0)
    middle = read_samples(mixed, 90, RATE)[4_000:12_000]
    assert 20 * np.log10(power(middle, 1_000) / power(middle, 400)) == pytest.approx(-6, abs=0.2)
    plain = read_samples(replace(mixed, other=None), 90, RATE)[4_000:12_000]
    assert middle.std() == pytest.approx(plain.std(), rel=0.02)


def test_a_copy_begins_at_its_place(write_wav):
    path = write_wav("rising.wav", np.linspace(0, 0.9, 60 * RATE), RATE)
    first, last = (
        read_samples(AugmentedCopy("v", path, "", place=p), 90, RATE) for p in (0.0, 1.0)
    )
    assert first[5_000] < 0.02
    assert last[-5_000] > 0.87
    assert len(first) == len(last) == 30 * RATE
