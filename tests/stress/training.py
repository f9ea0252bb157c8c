"""Ends `beet agftrain` at random moments, and looks at what it leaves behind.

python -m tests.stress.training [--kills 50] [--interrupts 20] [--whole 0] [--seed 0]

A small model is trained on a library of generated music with two genres, low noise by some artists
and high noise by others. Every other time a personal model of other genres is active already. `beet
agftrain` (the last `--whole` times: `beet agftrain --deep`) is ended by SIGKILL, or by SIGINT to
all of its processes as Ctrl-C does, after a time drawn from how long it takes or, every fourth
time, when it has begun to write the new model. Then

- the library must be sound, and its genres and all files what they were,
- the stored features must be sound,
- the active model must be the old one or the new one, and whole,
- and, every third time, a second `beet agftrain` must go on, end, and make the new one active.
"""

import hashlib
import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from agf_core.bundle import format as bundle_format
from agf_core.bundle.registry import SHIPPED_NAME, ModelStore
from agf_core.features.spectrogram import InputSpec
from agf_core.train.export import network_to_onnx, weights_to_safetensors
from agf_core.train.networks import GenreNet, MultiTaskNet, TransferMLP
from tests.stress.analysed import stored
from tests.stress.workplace import Kept, Workplace, show_counts, workplace, write_noise

TRACKS = 24
SECONDS = 1.5  # of each
TRACKS_OF_ARTIST = 2
GENRES = ("Low", "High")
OTHER_GENRES = ("Near", "Far")  # neither is part of another: queries match parts
OLD, NEW = "before", "after"
WRITING = 0.05  # seconds at most from the beginning of a new model to the signal
OPTIONS = "agfgenre: {min_tracks: 4, threads: 1, model: %s}"


def small_model(folder: Path) -> Path:
    """Save an untrained model, to begin with; return its folder."""
    spec = InputSpec(
        8_000, 256, 128, 32, 0.0, 4_000.0, segment_frames=40, window_hop=20, excerpt_seconds=1.5
    )
    torch.manual_seed(0)
    network = MultiTaskNet({"g": 2}, width=0.25)
    mlp = TransferMLP(network.n_features, 2)
    for parameter in list(mlp.parameters())[-2:]:
        parameter.data.zero_()  # so that the trained model is better
    whole = GenreNet([network], mlp).eval()
    metadata = bundle_format.Metadata(
        name="small",
        labels=("Chiptune", "Doom"),
        tasks=whole.n_classes,
        architecture={"networks": whole.tasks, "width": 0.25},
        input=spec,
        mean=np.full(spec.n_mels, -30, np.float32),
        std=np.full(spec.n_mels, 2, np.float32),
        temperature=1.0,
    )
    files = {
        bundle_format.NETWORK: network_to_onnx(whole, spec),
        bundle_format.WEIGHTS: weights_to_safetensors(whole, {}),
        bundle_format.CARD: b"# Small\n",
    }
    return bundle_format.save(folder / "small", metadata, files).folder


def fill(place: Workplace, tracks: int = TRACKS) -> None:
    """Fill a library with noise, low and high in turn, of genres that are called so."""
    rng = np.random.default_rng(0)
    sources = []
    for number in range(tracks):
        path = place.home / f"noise-{number}.flac"
        write_noise(path, SECONDS, low=number % 2 == 0, rng=rng)
        sources.append(path)
    place.fill(
        sources,
        tracks,
        lambda number: [GENRES[number % 2]],
        lambda number: f"{GENRES[number % 2]} {number // 2 // TRACKS_OF_ARTIST}",
    )
    for path in sources:
        path.unlink()


def contents_of(folder: Path) -> dict[Path, str]:
    """Return a fingerprint of every file below a folder."""
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def contents(place: Workplace) -> dict[Path, str]:
    """Return a fingerprint of every file of music."""
    return contents_of(place.music)


def active(place: Workplace) -> str:
    """Return the name of the active model; see that it is whole."""
    store = ModelStore(place.home / "agfgenre")
    bundle_format.load(store.folder_of(store.active))
    return store.active


def models_lying_about(place: Workplace) -> list[Path]:
    """Return what is among the models and is none."""
    store = ModelStore(place.home / "agfgenre")
    found = [*store.folder.glob("*"), *(store.folder / "models").glob("*")]
    known = {store.folder / "models", store.folder / "active", *map(store.path, store.names())}
    return sorted(set(found) - known)


@dataclass
class Trial:
    """A library that is trained on again and again."""

    place: Workplace
    genres: dict[Path, list[str]] = field(default_factory=dict)
    files: dict[Path, str] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)  # by the active model
    seconds: dict[str, float] = field(default_factory=dict)  # by the option, once it has started
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def prepare(cls, place: Workplace, options: list[str]) -> "Trial":
        """Fill the library, train on it, and see how long training takes."""
        fill(place)
        trial = cls(place)
        trial.kept[SHIPPED_NAME] = Kept(place, SHIPPED_NAME)
        for genre, other in zip(GENRES, OTHER_GENRES, strict=True):
            place.beet("modify", "-y", "-M", "-W", f"genres:{genre}", f"genres={other}")
        place.beet("agftrain", "-q", "--name", OLD)
        for genre, other in zip(GENRES, OTHER_GENRES, strict=True):
            place.beet("modify", "-y", "-M", "-W", f"genres:{other}", f"genres={genre}")
        assert active(place) == OLD
        trial.genres, trial.files = place.in_library(), contents(place)
        trial.kept[OLD] = Kept(place, OLD)
        for option in options:
            trial.kept[SHIPPED_NAME].restore()
            trial.train(option)
            trial.unchanged()
            assert active(place) == NEW
        return trial

    def train(self, option: str) -> None:
        """Train, and see how long it takes at least: the machine may be more or less busy."""
        process = self.place.start("agftrain", *option.split(), "-q", "--name", NEW)
        self.place.wait_until_started(process)
        began = time.perf_counter()
        _, said = process.communicate()
        assert process.returncode == 0, said
        seconds = time.perf_counter() - began
        self.seconds[option] = min(seconds, self.seconds.get(option, seconds))

    def unchanged(self) -> None:
        """Check that the library and the files are what they were."""
        assert self.place.in_library() == self.genres, "the library has other genres"
        assert contents(self.place) == self.files, "files have changed"

    def end(
        self, how: signal.Signals, option: str, old: str, after: float, writing: bool, again: bool
    ) -> None:
        """End one run, check what is left of it, and let the next one finish."""
        self.kept[old].restore()
        arguments = ("agftrain", *option.split(), "-q", "--name", NEW)
        process = self.place.start(*arguments, start_new_session=True)
        self.place.wait_until_started(process)
        if writing:
            models = self.place.home / "agfgenre"
            before = set(models.rglob("*"))
            while process.poll() is None and set(models.rglob("*")) == before:
                time.sleep(0.001)
        time.sleep(after)
        had_ended = process.poll() is not None
        if how == signal.SIGKILL:
            process.kill()  # its own processes find out by themselves
        else:
            with suppress(ProcessLookupError):  # it was faster
                os.killpg(process.pid, how)
        _, said = process.communicate()
        assert "Traceback" not in said, said
        self.unchanged()
        now = active(self.place)
        assert now in (old, NEW), f"{now} is active"
        self.counts["ended runs"] += not had_ended
        self.counts["runs that were faster"] += had_ended
        self.counts["after which the new model was active"] += now == NEW
        self.counts["with something lying about"] += bool(models_lying_about(self.place))
        features = stored(self.place)
        self.counts["with the features of some but not all tracks"] += 0 < features < TRACKS
        self.counts["with the features of all tracks"] += features == TRACKS
        kept = list(self.place.cache.rglob("*.safetensors"))
        self.counts["with checkpoints to go on from"] += bool(kept)
        if again:
            self.train(option)
            assert active(self.place).startswith(NEW)  # NEW-2, if NEW had been saved by then
            self.unchanged()
            self.counts["finished by a second run"] += 1


def run(kills: int, interrupts: int, whole: int, seed: int = 0) -> Counter[str]:
    """Do all of it; `AssertionError` says what was wrong."""
    rng = random.Random(seed)
    with (
        TemporaryDirectory() as models,
        workplace(options=OPTIONS % small_model(Path(models))) as place,
    ):
        trial = Trial.prepare(place, ["", "--deep"] if whole else [""])
        for number in range(kills + interrupts):
            how = signal.SIGKILL if number < kills else signal.SIGINT
            option = "" if number < kills + interrupts - whole else "--deep"
            writing = number % 4 == 1
            after = rng.uniform(0, WRITING if writing else trial.seconds[option])
            old = (SHIPPED_NAME, OLD)[number % 2]
            trial.end(how, option, old, after, writing=writing, again=number % 3 == 0)
            name = " ".join(["agftrain", *option.split()])
            moment = "of writing" if writing else ""
            print(f"{how.name} to {name}, after {after:.2f} s {moment}: all well", flush=True)
        return trial.counts


if __name__ == "__main__":
    show_counts(__doc__, run, kills=50, interrupts=20, whole=0, seed=0)
