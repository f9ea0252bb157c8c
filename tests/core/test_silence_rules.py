"""What counts as silent, and what only seems to be."""

import numpy as np
import pytest
from sounds import encode, noise_and_chirp

from agf_core.audio import decode
from agf_core.audio.decode import SilentAudioError
from agf_core.features.preprocessing import load_log_mel
from agf_core.inference.tagger import GenreTagger

RATE = 44_100
FORMATS = {
    "flac": ("flac", "flac", None),
    "wav": ("pcm_s16le", "wav", None),
    "u8.wav": ("pcm_u8", "wav", None),
    "mp3": ("libmp3lame", "mp3", 128_000),
    "m4a": ("aac", "mp4", 128_000),
    "opus": ("libopus", "ogg", 128_000),
}


@pytest.fixture(scope="module")
def mono() -> np.ndarray:
    return noise_and_chirp(6, rate=48_000, channels=1)[0]


def stereo(path, left, right, name="flac", rate=48_000):
    codec, container, bit_rate = FORMATS[name]
    return encode(path, np.stack([left, right]), rate, codec, container, bit_rate=bit_rate)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("difference", [0.0, 0.001])
def test_channels_that_cancel_each_other_out_sound_like_one_of_them(
    mono, tmp_path, name, difference
):
    """Left is right upside down: the mean of both is silence, or what little differs."""
    anti = stereo(tmp_path / f"anti.{name}", mono, (difference - 1) * mono, name)
    same = stereo(tmp_path / f"same.{name}", mono, mono, name)
    one, other = (decode.read(path).samples for path in (anti, same))
    assert np.std(one) > 0.25 * np.std(other)


def test_surround_that_cancels_out_is_its_loudest_channel(mono, tmp_path):
    quiet = 0.1 * mono
    channels = np.stack([quiet, -quiet, 0 * mono, 0 * mono, mono, -mono])
    path = encode(tmp_path / "a.flac", channels, 48_000, "flac", "flac", layout="5.1")
    loudest = decode.read(path, sample_rate=48_000).samples
    assert np.abs(np.abs(loudest) - np.abs(mono[: len(loudest)])).max() < 1e-3


@pytest.mark.parametrize("offsets", [(0.2, 0.2), (0.2, -0.2), (0.0, 0.3)])
@pytest.mark.parametrize("name", ["flac", "u8.wav"])
def test_a_constant_offset_does_not_hide_that_channels_cancel_out(mono, tmp_path, name, offsets):
    left, right = (sign * 0.5 * mono + add for sign, add in zip((1, -1), offsets, strict=True))
    samples = decode.read(stereo(tmp_path / f"a.{name}", left, right, name)).samples
    assert np.std(samples) > 0.9 * np.std(0.5 * mono)


def test_pairs_of_surround_that_cancel_out_are_found_beside_other_channels(mono, tmp_path):
    hum = (0.3 * np.sin(np.arange(len(mono)) * 2 * np.pi * 50 / 48_000)).astype(np.float32)
    channels = np.stack([mono, -mono, 0 * mono, hum, 0.5 * mono, -0.5 * mono])
    path = encode(tmp_path / "a.flac", channels, 48_000, "flac", "flac", layout="5.1")
    samples = decode.read(path, sample_rate=48_000).samples
    assert np.abs(samples - (3 * mono + hum)[: len(samples)] / 6).max() < 1e-3


@pytest.mark.parametrize("channel", [0, 1])
def test_a_channel_beside_a_silent_one_is_still_their_mean(mono, tmp_path, channel):
    channels = [mono, 0 * mono] if channel == 0 else [0 * mono, mono]
    path = stereo(tmp_path / "a.flac", *channels)
    samples = decode.read(path, sample_rate=48_000).samples
    assert np.abs(samples - mono[: len(samples)] / 2).max() < 1e-3


def test_channels_that_have_nothing_to_do_with_each_other_are_averaged(tmp_path):
    rng = np.random.default_rng(0)
    channels = (0.1 * rng.normal(size=(2, 48_000))).astype(np.float32)
    path = stereo(tmp_path / "a.flac", *channels)
    samples = decode.read(path, sample_rate=48_000).samples
    assert np.abs(samples - channels.mean(axis=0)[: len(samples)]).max() < 1e-3


@pytest.fixture(scope="module")
def tagger() -> GenreTagger:
    return GenreTagger.load()


@pytest.mark.parametrize("offset", [0.0, 0.05])
@pytest.mark.parametrize(
    "seconds", [(0, 6, 120, 6), (0, 6, 126), (126, 6, 0), (50, 3, 79), (18, 6, 108)]
)
def test_music_is_found_wherever_it_is_among_silence(tmp_path, tagger, seconds, offset):
    """Silence and music in turn; the five pieces that are looked at first are all silent."""
    rate = 8_000
    music = noise_and_chirp(6, rate=rate, channels=1)[0]
    parts = [
        offset + (0.5 * music[: n * rate] if i % 2 else np.zeros(n * rate, np.float32))
        for i, n in enumerate(seconds)
    ]
    path = encode(
        tmp_path / "a.flac", np.concatenate(parts)[None], rate, "flac", "flac", layout="mono"
    )
    spec = tagger.metadata.input
    first = decode.read_excerpt(path, spec.excerpt_seconds, pieces=spec.excerpt_pieces)
    assert np.ptp(first.samples) < 1e-4
    spectrogram, lost = load_log_mel(path, spec)
    found = len(spectrogram) * spec.hop_length / RATE
    assert sum(seconds[1::2]) - 1 <= found <= sum(seconds[1::2]) + 6
    assert lost == 0
    assert tagger.predict_file(path).probabilities.sum() == pytest.approx(1)


def test_music_is_found_beside_the_noise_of_a_tape(tmp_path, tagger):
    rate = 8_000
    noise = np.random.default_rng(0).uniform(-1e-3, 1e-3, 130 * rate).astype(np.float32)
    whole = noise.copy()
    whole[: 6 * rate] += noise_and_chirp(6, rate=rate, channels=1)[0]
    spec = tagger.metadata.input
    lengths = []
    for samples in (whole, noise):
        path = encode(tmp_path / "a.flac", samples[None], rate, "flac", "flac", layout="mono")
        lengths.append(len(load_log_mel(path, spec)[0]) * spec.hop_length / RATE)
    assert 5 <= lengths[0] <= 12  # the music
    assert lengths[1] == pytest.approx(spec.excerpt_seconds, abs=1)  # all of it


@pytest.mark.parametrize("offset", [0.0, 0.05, -0.3])
@pytest.mark.parametrize("seconds", [2, 150])
def test_silence_is_silent(tmp_path, tagger, seconds, offset):
    whole = np.full((1, seconds * 8_000), offset, np.float32)
    path = encode(tmp_path / "a.flac", whole, 8_000, "flac", "flac", layout="mono")
    with pytest.raises(SilentAudioError, match=r"a\.flac is silent; tag it by hand"):
        tagger.predict_file(path)
