"""What several test modules share."""

import os
from pathlib import Path

import numpy as np
import pytest
import sounds
from sounds import RATE, encode, noise_and_chirp

from agf_core.bundle import format as bundle_format
from agf_core.features.spectrogram import InputSpec

# The tests' networks are so small that threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def clips() -> list[Path]:
    """The short clips of real music, one or more of every format."""
    return sorted(p for p in DATA.iterdir() if p.suffix != ".md")


@pytest.fixture(scope="session")
def sound():
    return noise_and_chirp()


@pytest.fixture(scope="session")
def mono(sound):
    return sound.mean(axis=0)


@pytest.fixture(scope="session")
def flac(sound, tmp_path_factory):
    path = tmp_path_factory.mktemp("flac") / "sound.flac"
    return encode(path, sound, RATE, "flac", "flac")


@pytest.fixture(scope="session")
def mp3(sound, tmp_path_factory):
    path = tmp_path_factory.mktemp("mp3") / "sound.mp3"
    return encode(path, sound, RATE, "libmp3lame", "mp3", bit_rate=128_000)


@pytest.fixture(scope="session")
def tiny_spec() -> InputSpec:
    """An input unlike the paper's in every number."""
    return InputSpec(
        sample_rate=22_050,
        n_fft=1_024,
        hop_length=512,
        n_mels=64,
        fmin=50.0,
        fmax=8_000.0,
        segment_frames=32,
        window_hop=16,
        excerpt_seconds=3.0,
    )


@pytest.fixture(scope="session")
def tiny_network():
    """An untrained network of two tasks, transferred to three genres.

    Half precision, in which models are kept, holds its weights exactly.
    """
    import torch

    from agf_core.train.networks import GenreNet, MultiTaskNet, TransferMLP

    torch.manual_seed(1)
    network = MultiTaskNet({"g": 3, "s": 5}, width=0.25)
    whole = GenreNet([network], TransferMLP(network.n_features, 3)).eval()
    return whole.half().float()


@pytest.fixture(scope="session")
def tiny_parts(tiny_spec, tiny_network):
    """Metadata and files of a complete, if untrained, model."""
    from agf_core.train.export import network_to_onnx, weights_to_safetensors

    metadata = bundle_format.Metadata(
        name="tiny",
        labels=("Ambient", "Блюз", "R&B/Soul"),
        tasks={"g": 3, "s": 5},
        architecture={"networks": [["g", "s"]], "width": 0.25},
        input=tiny_spec,
        mean=np.full(64, -30, np.float32),
        std=np.full(64, 20, np.float32),
        temperature=1.5,
    )
    files = {
        bundle_format.NETWORK: network_to_onnx(tiny_network, tiny_spec),
        bundle_format.WEIGHTS: weights_to_safetensors(tiny_network, {}),
        bundle_format.CARD: b"# Tiny model, untrained\n",
    }
    return metadata, files


@pytest.fixture
def tiny_folder(tmp_path, tiny_parts) -> Path:
    """The tiny model, saved."""
    return bundle_format.save(tmp_path / "models" / "tiny", *tiny_parts).folder


@pytest.fixture
def library(monkeypatch):
    """A beets library that a `FakeTagger` listens to; modules that need another have their own."""
    from beets_helpers import FakeTagger, open_library

    yield from open_library(monkeypatch, FakeTagger())


@pytest.fixture
def tagger(library):
    """The library's."""
    return library.tagger


@pytest.fixture
def write_wav(tmp_path):
    """A function that writes samples in [-1, 1] as a 16-bit mono file and returns its path."""

    return lambda name, samples, rate=RATE: sounds.write_wav(tmp_path / name, samples, rate)


@pytest.fixture
def corpus(tmp_path, write_wav):
    """Sixty clips by twenty artists: low noise is Doom, high noise is Chiptune."""
    from agf_core.data.tracks import Track
    from training.datasets.collection import Collection, split_by_folds, write_csv

    rng = np.random.default_rng(0)
    tracks = []
    for i in range(60):
        genre = ("Doom", "Chiptune", "")[i % 3]
        noise = sounds.coloured_noise("LH-"[i % 3], 16_000, rng)
        path = write_wav(f"{i}.wav", noise, 8_000)
        artist = i // 3
        tracks.append(Track(str(i), path, str(artist), genre, ("a", "b"), artist % 5, "here"))
    table = tmp_path / "table.csv"
    write_csv(Collection("table", tuple(tracks), split_by_folds(tracks)), table)
    return table
