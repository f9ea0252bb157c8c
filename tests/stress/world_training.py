"""Situations of `beet agftrain --deep`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from agf_core.bundle.registry import ModelStore
from tests.stress import training
from tests.stress.situations import POWERLESS, Situations, size_of, small_disk
from tests.stress.workplace import Workplace

situation = Situations()

WATCH = """
import sys

def watch(event, arguments):
    asks = event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
    if asks or (event in ("socket.connect", "socket.bind") and isinstance(arguments[1], tuple)):
        with open({trace!r}, "a") as file:
            print(event, arguments, sys.argv, file=file)
        raise OSError("there is no network")

sys.addaudithook(watch)
"""


@contextmanager
def small_model(place: Workplace) -> Iterator[None]:
    """Have a small model trained further, on few tracks."""
    with TemporaryDirectory() as models, (place.home / "config.yaml").open("a") as config:
        config.write(f"  min_tracks: 4\n  model: {training.small_model(Path(models))}\n")
        config.flush()
        yield


@contextmanager
def training_place(place: Workplace) -> Iterator[Path]:
    """Fill the library with what can be trained on in seconds; give the folder of the new model."""
    training.fill(place)
    with small_model(place):
        before = place.in_library(), training.contents(place)
        yield place.home / "agfgenre"
        assert (place.in_library(), training.contents(place)) == before
        assert not training.models_lying_about(place)


def train(
    place: Workplace, *arguments: str, way: tuple[str, ...] = ("--deep",), **options
) -> tuple[int, str]:
    """Run `beet agftrain`; return the exit status and what it says on standard error."""
    process = place.start("agftrain", *way, "-q", *arguments, **options)
    _, said = process.communicate()
    assert "Traceback" not in said, said
    return process.returncode, said


@situation
def full_disk_of_the_cache(place: Workplace) -> None:
    """No room for features: one clear line; with room, training ends."""
    with training_place(place) as models:
        place.cache.mkdir(parents=True)
        with small_disk(place.cache, 64 * 1024):
            status, said = train(place)
        assert status == 1
        assert said.count("cannot be written (No space left on device)") == 1, said
        assert not models.exists()
        assert train(place)[0] == 0


@situation
def full_disk_of_the_models(place: Workplace) -> None:
    """No room for the new model: one clear line, and the old one stays."""
    with training_place(place) as models:
        assert train(place, "--name", "old")[0] == 0
        old = training.contents_of(models)
        with small_disk(models, size_of(models) + 30_000):
            status, said = train(place, "--name", "new")
            assert training.contents_of(models) == old
            assert training.active(place) == "old"
        assert status == 1
        assert "the model cannot be saved" in said, said
        assert "No space left on device" in said, said


@situation
def read_only_cache(place: Workplace) -> None:
    """A cache that may not be written is one clear line."""
    with training_place(place) as models:
        place.cache.mkdir(parents=True)
        place.cache.chmod(0o555)
        status, said = train(place, under=POWERLESS)
        assert status == 1
        assert said.count("cannot be written (Permission denied)") == 1, said
        assert not models.exists()


@situation
def two_train_at_once(place: Workplace) -> None:
    """A second `beet agftrain` ends with one clear line; one that was killed is in nobody's way."""
    with training_place(place) as models:
        first = place.start("agftrain", "--deep", "-q", "--name", "first")
        while not (checkpoints := list(place.cache.rglob("*.safetensors"))):
            assert first.poll() is None, first.communicate()
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)  # or it might have ended before the second begins
        status, said = train(place, "--name", "second")
        assert status == 1
        assert said.count("another `beet agftrain` is training on this library") == 1, said
        assert all(path.exists() for path in checkpoints)
        assert not models.exists()
        first.kill()
        first.communicate()
        assert train(place, "--name", "third")[0] == 0
        assert ModelStore(models).names() == ["third"]
        assert training.active(place) == "third"


@situation
def without_network(place: Workplace) -> None:
    """No process asks for another host: any that does leaves a trace."""
    trace = place.home / "asked for a network"
    (place.home / "watch").mkdir()
    (place.home / "watch" / "sitecustomize.py").write_text(WATCH.format(trace=os.fspath(trace)))
    paths = [str(place.home / "watch"), *filter(None, [os.environ.get("PYTHONPATH")])]
    with training_place(place):
        watched = ("env", f"PYTHONPATH={os.pathsep.join(paths)}")
        assert train(place, under=watched)[0] == 0
        process = place.start("agfgenre", "-q", "-p", "-f", under=watched)
        process.communicate()
        assert process.returncode == 0
        assert not trace.exists(), trace.read_text()
        ask = "import socket; socket.create_connection(('127.0.0.1', 9))"
        subprocess.run([*watched, sys.executable, "-c", ask], stderr=subprocess.DEVNULL)
        assert trace.exists(), "nobody watches"
