"""Nothing is written to what is not music: the pretrained model is not sure of any genre."""

from pathlib import Path

import numpy as np
import pytest
from sounds import encode

from agf_core.inference.prediction import FileResult
from agf_core.inference.prior_adjusted import PriorAdjustedTagger
from agf_core.inference.tagger import GenreTagger
from beetsplug.agfgenre.config import DEFAULTS

RATE = 44_100
SECONDS = 20
SPEECH = sorted((Path(__file__).parents[1] / "not_music").glob("*.opus"))


def white(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0, 0.1, SECONDS * RATE)


def pink(rng: np.random.Generator) -> np.ndarray:
    spectrum = np.fft.rfft(rng.normal(size=SECONDS * RATE))
    samples = np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))))
    return 0.1 * samples / samples.std()


def sweep(rng: np.random.Generator) -> np.ndarray:
    """Return a sine that rises from 20 Hz to 20 kHz, by the same interval each second."""
    t = np.arange(SECONDS * RATE) / RATE
    octaves = np.log(1_000) / SECONDS
    return 0.3 * np.sin(2 * np.pi * 20 / octaves * np.expm1(octaves * t))


def tone(rng: np.random.Generator) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * 1_000 * np.arange(SECONDS * RATE) / RATE)


def metronome(rng: np.random.Generator) -> np.ndarray:
    """Return two clicks a second, each fourth one higher."""
    samples = np.zeros(SECONDS * RATE)
    t = np.arange(RATE // 20) / RATE
    for beat in range(2 * SECONDS):
        pitch = 2_000 if beat % 4 == 0 else 1_500
        click = 0.5 * np.sin(2 * np.pi * pitch * t) * np.exp(-120 * t)
        samples[beat * RATE // 2 :][: len(click)] += click
    return samples


def applause(rng: np.random.Generator) -> np.ndarray:
    """Return the claps of a crowd: short bursts of noise, 200 a second."""
    samples = np.zeros(SECONDS * RATE)
    decay = np.exp(-np.arange(RATE // 50) / (RATE / 300))
    for at in rng.integers(0, len(samples) - len(decay), 200 * SECONDS):
        samples[at : at + len(decay)] += rng.normal(0, 0.05, len(decay)) * decay
    return samples


@pytest.fixture(scope="module")
def tagger() -> GenreTagger:
    tagger = GenreTagger.load()
    tagger.fine_tuned = False  # what it lacks to be adjusted
    return tagger


def unsure(tagger: GenreTagger, path: Path) -> bool:
    """Return whether nothing is written, not even in a library of hardly anything but reggae."""
    sound = tagger.predict_file(path)
    prior = np.full(len(tagger.labels), 0.002)
    prior[tagger.labels.index("Reggae")] = 1.0
    known = {path: FileResult(path, sound)}
    one_sided = PriorAdjustedTagger(tagger, prior / prior.sum(), "library", known)
    (result,) = one_sided.predict_files([path])
    best = [sound.top(1), result.prediction.top(1)]
    return all(round(p, 2) < DEFAULTS["min_confidence"] for ((_, p),) in best)


@pytest.mark.parametrize("path", SPEECH, ids=lambda path: path.stem)
def test_speech_gets_no_genre(tagger, path):
    assert unsure(tagger, path)


def test_there_is_speech_in_three_languages():
    assert [path.stem for path in SPEECH] == ["de", "en", "es"]


@pytest.mark.parametrize("make", [white, pink, sweep, tone, metronome, applause])
def test_noise_and_tones_get_no_genre(tagger, tmp_path, make):
    samples = make(np.random.default_rng(0)).astype(np.float32)[None]
    path = encode(tmp_path / "a.flac", samples, RATE, "flac", "flac", layout="mono")
    assert unsure(tagger, path)
