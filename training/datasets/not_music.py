"""Sounds that are not music, from which the pretrained model learns to give them no genre.

    python -m training.datasets.not_music music/not-music --speech recordings

writes noise, tones, clicks and applause, speech of espeak-ng where that is installed, and the
recordings of speech below a folder, joined to clips of 35 s. The sounds are the same in every run.
"""

import argparse
import shutil
import subprocess
import wave
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

import numpy as np
from tqdm import tqdm

from agf_core.audio import decode
from agf_core.errors import AudioError
from training.cli import one_line_errors

RATE = 44_100  # hertz
SECONDS = 35  # of each sound; more than `training.datasets.folders` takes for an effect
PEAK = 0.7
PAUSE = 0.25  # seconds between two recordings
CLIPS_OF_SPEECH = 8  # of each folder of recordings
VOICES = (("m3", 160, 40), ("f2", 150, 65), ("m7", 180, 45))  # variant, words a minute, pitch
TEXTS = {
    "it": "Il vecchio camminava lentamente verso il porto, dove le barche aspettavano la marea.",
    "pl": "Stary człowiek szedł powoli do portu, gdzie łodzie czekały na przypływ.",
    "pt": "O velho caminhava devagar para o porto, onde os barcos esperavam a maré.",
    "ru": "Старик медленно шёл к гавани, где лодки ждали прилива.",
}
REPEATED = 12  # times that a text is spoken


def noise(rng: np.random.Generator, exponent: float) -> np.ndarray:
    """Return noise whose power falls with frequency to an exponent: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(rng.normal(size=SECONDS * RATE))
    falling = np.maximum(np.arange(len(spectrum)), 1) ** (exponent / 2)
    return np.fft.irfft(spectrum / falling)


def tone(hertz: float) -> np.ndarray:
    """Return a sine."""
    return np.sin(2 * np.pi * hertz * np.arange(SECONDS * RATE) / RATE)


def sweep(period: float) -> np.ndarray:
    """Return a sine that rises from 40 Hz to 16 kHz, again and again, by octaves."""
    seconds = np.arange(SECONDS * RATE) / RATE
    hertz = 40 * 400 ** (seconds % period / period)
    return np.sin(2 * np.pi * np.cumsum(hertz) / RATE)


def hum(rng: np.random.Generator) -> np.ndarray:
    """Return the hum of mains at 60 Hz with all its odd harmonics, and a little noise."""
    return 0.3 * np.sign(tone(60)) + 0.02 * rng.normal(size=SECONDS * RATE)


def metronome(per_minute: int) -> np.ndarray:
    """Return clicks of a pitch of 1 kHz."""
    seconds = np.arange(2000) / RATE
    click = np.sin(2 * np.pi * 1000 * seconds) * np.exp(-150 * seconds)
    result = np.zeros(SECONDS * RATE)
    for start in np.arange(0, len(result) - len(click), 60 / per_minute * RATE).astype(int):
        result[start : start + len(click)] += click
    return result


def applause(rng: np.random.Generator, claps: int) -> np.ndarray:
    """Return short bursts of noise at random times."""
    result, length = np.zeros(SECONDS * RATE), 3000
    for start in rng.integers(0, len(result) - length, claps):
        decay = np.exp(-np.arange(length) / rng.integers(200, 900))
        result[start : start + length] += rng.random() * rng.normal(size=length) * decay
    return result


def synthetic() -> Iterator[tuple[str, np.ndarray]]:
    """Return names and samples of the sounds that are computed."""
    rng = np.random.default_rng(0)
    for exponent, name in enumerate(("white", "pink", "brown")):
        yield name, noise(rng, exponent)
    yield "hum", hum(rng)
    yield "tone", tone(1000)
    for period in (5, 17):
        yield f"sweep-{period}", sweep(period)
    for per_minute in (60, 100, 140):
        yield f"metronome-{per_minute}", metronome(per_minute)
    for claps in (4000, 9000):
        yield f"applause-{claps}", applause(rng, claps)


def recordings(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Return clips of recordings that are joined, `CLIPS_OF_SPEECH` of each folder in `folder`."""
    pause = np.zeros(int(PAUSE * RATE), np.float32)
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(path for path in place.rglob("*") if path.is_file())
        order = np.random.default_rng(0).permutation(len(files))
        decoded = _decoded(files[i] for i in order)
        joined = chain.from_iterable((samples, pause) for samples in decoded)
        for number in range(CLIPS_OF_SPEECH):
            clip: list[np.ndarray] = []
            while sum(map(len, clip)) < SECONDS * RATE and (part := next(joined, None)) is not None:
                clip.append(part)
            if clip:
                yield f"{place.name}-{number}", np.concatenate(clip)


def _decoded(files: Iterable[Path]) -> Iterator[np.ndarray]:
    """Return the samples of the files that can be decoded."""
    for file in files:
        with suppress(AudioError):
            yield decode.read(file, sample_rate=RATE).samples


def write(path: Path, samples: np.ndarray) -> None:
    """Write mono samples as a WAV file of 16 bits, its highest peak at `PEAK`."""
    scaled = samples * (PEAK / max(np.abs(samples).max(), 1e-9))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((scaled * 32767).astype("<i2").tobytes())


def speak(folder: Path) -> None:
    """Write what the speech synthesiser espeak-ng makes of `TEXTS`."""
    for language, text in TEXTS.items():
        for variant, speed, pitch in VOICES:
            path = folder / f"speech-{language}-{variant}.wav"
            options = f"-v {language}+{variant} -s {speed} -p {pitch} -w".split()
            spoken = " ".join([text] * REPEATED)
            subprocess.run(["espeak-ng", *options, str(path), spoken], check=True)


@one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("output", type=Path, help="folder to write to")
    parser.add_argument("--speech", type=Path, help="folder of recordings of speech")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, samples in tqdm(synthetic(), unit="sound"):
        write(arguments.output / f"{name}.wav", samples)
    if shutil.which("espeak-ng"):
        speak(arguments.output)
    else:
        print("espeak-ng is not installed: no synthetic speech is written")
    for name, samples in recordings(arguments.speech) if arguments.speech else ():
        write(arguments.output / f"{name}.wav", samples)


if __name__ == "__main__":
    main()
