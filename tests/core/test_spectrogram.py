from dataclasses import replace

import librosa
import numpy as np
import pytest
from sounds import noise_and_chirp

from agf_core.audio import decode
from agf_core.features.spectrogram import InputSpec, log_mel, mel_filterbank, windows

SPECS = [
    InputSpec(),
    InputSpec(fmax=8_000.0),
    InputSpec(22_050, 1_024, 300, 64, 30.0, 11_025.0),
    InputSpec(16_000, 512, 160, 96, 0.0, 8_000.0),
    InputSpec(48_000, 1_500, 700, 40, 50.0, 16_000.0),
    InputSpec(8_000, 255, 100, 20, 0.0, 4_000.0),
]


def librosa_log_mel(y, spec):
    mel = librosa.feature.melspectrogram(
        y=y,
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        hop_length=spec.hop_length,
        n_mels=spec.n_mels,
        fmin=spec.fmin,
        fmax=spec.fmax,
    )
    return 10 * np.log10(np.maximum(mel, 1e-10)).T


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.sample_rate}-{s.n_fft}-{s.n_mels}")
def test_equals_librosa_on_real_music(spec, clips):
    for clip in clips:
        samples = decode.read(clip, sample_rate=spec.sample_rate).samples
        ours, theirs = log_mel(samples, spec), librosa_log_mel(samples, spec)
        assert ours.shape == theirs.shape
        assert ours.dtype == np.float32
        # Where hardly anything is left, rounding and what lies above the highest band do show.
        apart = np.abs(ours - theirs)
        assert apart[theirs > -50].max() < 1e-3
        assert apart.max() < 0.1


def test_equals_librosa_from_loud_noise_to_silence():
    spec = InputSpec(fmax=8_000.0)
    rng = np.random.default_rng(0)
    fading = (rng.normal(size=200_000) * np.logspace(0, -8, 200_000)).astype(np.float32)
    np.testing.assert_allclose(log_mel(fading, spec), librosa_log_mel(fading, spec), atol=1e-3)
    assert log_mel(np.zeros(5_000), spec) == pytest.approx(-100)


def test_blocks_do_not_show():
    spec = InputSpec(8_000, 256, 64, 20, 0.0, 4_000.0)
    noise = np.random.default_rng(0).normal(size=64 * 1_000).astype(np.float32)
    np.testing.assert_allclose(log_mel(noise, spec), librosa_log_mel(noise, spec), atol=1e-3)


@pytest.mark.parametrize("rate", [22_050, 24_000, 32_000, 48_000, 88_200, 96_000])
def test_samples_of_another_rate_need_not_be_resampled(rate, write_wav):
    spec = InputSpec(n_mels=64, fmax=8_000.0)
    assert spec.rate_for(rate) == rate
    path = write_wav("a.wav", noise_and_chirp(seconds=12, rate=rate, channels=1)[0], rate)
    theirs = log_mel(decode.read(path, sample_rate=rate).samples, spec, rate)
    ours = log_mel(decode.read(path).samples, spec)
    assert ours.shape == theirs.shape
    apart = (theirs - ours)[2:-2]  # the ends: a resampler sees what is not there
    assert np.abs(apart).mean() < 0.01
    assert np.abs(apart.mean(axis=0)).max() < 0.02


def test_rates_that_resampling_would_change_are_resampled():
    spec = InputSpec(fmax=8_000.0)
    assert spec.rate_for(44_100) == 44_100
    assert {spec.rate_for(rate) for rate in (0, 8_000, 16_000, 192_000, 2_822_400)} == {44_100}
    assert spec.rate_for(44_099) == 44_100
    assert InputSpec().rate_for(48_000) == 44_100  # its highest band ends at 22.05 kHz


def test_samples_are_transformed_at_the_lowest_rate_that_has_room_for_a_filter():
    assert InputSpec(fmax=8_000.0).working_rate == 22_050
    assert InputSpec(fmax=4_000.0).working_rate == 11_025
    assert InputSpec().working_rate == 44_100
    assert InputSpec(44_100, 2_049, 1_024, fmax=8_000.0).working_rate == 44_100
    assert InputSpec(44_100, 2_048, 1_023, fmax=8_000.0).working_rate == 44_100


@pytest.mark.parametrize("spec", SPECS[:3], ids=lambda s: f"{s.sample_rate}")
def test_filterbank_equals_librosa(spec):
    theirs = librosa.filters.mel(
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        n_mels=spec.n_mels,
        fmin=spec.fmin,
        fmax=spec.fmax,
    )
    np.testing.assert_allclose(mel_filterbank(spec), theirs, atol=1e-8)


@pytest.mark.parametrize(
    ("samples", "complaint"),
    [
        (np.zeros(0), "mono"),
        (np.zeros((2, 100)), "mono"),
        (np.array([0, np.nan]), "finite"),
        (np.array([0, np.inf]), "finite"),
    ],
)
def test_refuses_all_but_mono_audio(samples, complaint):
    with pytest.raises(ValueError, match=complaint):
        log_mel(samples, InputSpec())


def test_windows_overlap_and_are_whole():
    spec = InputSpec()
    frames = np.arange(1_292)[:, None] * np.ones(128)
    cut = windows(frames, spec)
    assert cut.shape == (60, 43, 128)  # 30 s: starts 0, 21, ..., 1239
    assert cut[1, 0, 0] == 21
    assert cut[-1, -1, 0] == 59 * 21 + 42


def test_a_short_spectrogram_is_repeated_to_one_window():
    cut = windows(np.arange(10)[:, None] * np.ones(128), InputSpec())
    assert cut.shape == (1, 43, 128)
    assert cut[0, 10, 0] == 0
    assert cut[0, 42, 0] == 2


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"sample_rate": 0}, "sample_rate"),
        ({"n_mels": 1e9}, "n_mels"),
        ({"hop_length": 10.5}, "hop_length"),
        ({"n_fft": "big"}, "n_fft"),
        ({"fmax": 30_000.0}, "mel range"),
        ({"fmin": 9_000.0, "fmax": 8_000.0}, "mel range"),
        ({"excerpt_seconds": float("nan")}, "excerpt_seconds"),
        ({"excerpt_pieces": 0}, "excerpt_pieces"),
        ({"excerpt_pieces": 31}, "excerpt_pieces is 31: shorter than a segment"),
    ],
)
def test_a_spec_of_nonsense_is_refused_by_name(values, named):
    with pytest.raises(ValueError, match=named):
        InputSpec(**values)


def test_spec_survives_a_round_trip_and_nothing_else_does():
    spec = InputSpec(fmax=8_000.0)
    assert InputSpec.from_dict(spec.to_dict()) == spec
    with pytest.raises(ValueError, match="n_mels"):
        InputSpec.from_dict({k: v for k, v in spec.to_dict().items() if k != "n_mels"})
    with pytest.raises(ValueError, match="colour"):
        InputSpec.from_dict(spec.to_dict() | {"colour": 1})


def test_a_spec_of_an_older_model_has_one_piece():
    spec = replace(InputSpec(), excerpt_pieces=5)
    before = {name: value for name, value in spec.to_dict().items() if name != "excerpt_pieces"}
    assert InputSpec.from_dict(before) == InputSpec()
    assert InputSpec.from_dict(spec.to_dict()) == spec
