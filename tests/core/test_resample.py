import numpy as np
import pytest

from agf_core.features.resample import is_possible, resample

RATES = [20_480, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000]


def tone(hertz, rate, start=0, n=None):
    times = (np.arange(n or 2 * rate) - start) / rate
    return np.sin(2 * np.pi * hertz * times).astype(np.float32)


@pytest.mark.parametrize("rate", RATES)
def test_low_tones_keep_their_level_and_time_and_others_do_not_fold_onto_them(rate):
    for hertz in (0, 60, 1_000, 7_900):
        found = resample(tone(hertz, rate), rate, 22_050, 8_000)
        assert found.dtype == np.float32
        assert len(found) == 2 * 22_050
        wanted = tone(hertz, 22_050)
        np.testing.assert_allclose(found[100:-100], wanted[100:-100], atol=2e-5)
    for hertz in range(min(rate, 22_050) - 7_900, rate // 2, 1_700):
        found = resample(tone(hertz, rate), rate, 22_050, 8_000)
        spectrum = np.abs(np.fft.rfft(found[100:-100] * np.hanning(len(found) - 200)))
        below = np.fft.rfftfreq(len(found) - 200, 1 / 22_050) < 8_000
        assert spectrum[below].max() < 2e-5 * len(found) / 4  # a full tone has a quarter


def test_padding_is_silence_on_both_sides():
    sound = np.random.default_rng(0).normal(size=5_000).astype(np.float32)
    around = np.pad(sound, 2 * 1_024)
    found = resample(sound, 44_100, 22_050, 8_000, padding=1_024)
    np.testing.assert_allclose(found, resample(around, 44_100, 22_050, 8_000), atol=1e-6)
    same = resample(sound, 22_050, 22_050, 8_000, padding=7)
    np.testing.assert_array_equal(same, np.pad(sound, 7))


@pytest.mark.parametrize("n", [1, 2, 640, 641, 40_000])
def test_any_length(n):
    assert len(resample(np.ones(n, np.float32), 48_000, 22_050, 8_000)) == -(-n * 147 // 320)


def test_what_is_not_possible():
    assert is_possible(48_000, 22_050, 8_000)
    assert not is_possible(44_099, 22_050, 8_000)  # repeats after 44,099 samples
    assert not is_possible(48_000, 22_050, 11_025)  # no room for a filter
    assert not is_possible(12_000, 22_050, 8_000)
