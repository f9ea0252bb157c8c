"""Tries `beet agfgenre` where the world around it is not as it should be.

python -m tests.stress.world [SITUATION ...]

Each situation is made for real, in a library of its own; without names, all of them are. Run as
root, those of forbidden files run `beet` without root's power over files (by setpriv), and those of
full disks mount a small tmpfs; otherwise the latter are left out with a word.
"""

import argparse
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mediafile import MediaFile

from agf_core.bundle.registry import ModelStore
from tests.stress import training
from tests.stress.workplace import Workplace, clips, sound, versions, workplace

OPTIONS = "agfgenre:\n  min_confidence: 0"
ROOT = os.geteuid() == 0
# Root may write what nobody may; without this power it is as everybody else.
POWERLESS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if ROOT else ()
TRACKS = 11  # one for each format
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

Situation = Callable[[Workplace], None]
SITUATIONS: dict[str, Situation] = {}


def situation(function: Situation) -> Situation:
    """Enter a function under its name."""
    SITUATIONS[function.__name__] = function
    return function


def fill(place: Workplace, tracks: int = TRACKS) -> dict[Path, str]:
    """Fill the library with files without genres; return how they sound."""
    place.fill(clips(), tracks, lambda number: [])
    return {path: sound(path) for path in place.in_files()}


def run(place: Workplace, **options) -> tuple[int, str]:
    """Run `beet agfgenre`; return the exit status and what it says on standard error."""
    process = place.start("agfgenre", "-q", **options)
    _, said = process.communicate()
    assert "Traceback" not in said, said
    return process.returncode, said


def whole(place: Workplace, sounds: dict[Path, str]) -> None:
    """Check that files sound as they did, and that nothing lies about."""
    assert {path: sound(path) for path in sounds} == sounds
    assert not place.leftovers(), place.leftovers()


def tagged(place: Workplace) -> None:
    """Check that all tracks have the same genres in the library and in their files."""
    library = place.in_library()
    assert all(library.values())
    assert library == place.in_files()


@situation
def read_only_files(place: Workplace) -> None:
    """Files that may not be written are reported and left as they are; the library has genres."""
    sounds = fill(place)
    for path in sounds:
        path.chmod(0o444)
    status, said = run(place, under=POWERLESS)
    assert status == 0
    assert said.count("cannot be written (Permission denied; allow") == TRACKS, said
    assert all(place.in_library().values())
    assert not any(place.in_files().values())
    whole(place, sounds)


@situation
def read_only_folders(place: Workplace) -> None:
    """In folders that may not be written, only files whose tags have room are written."""
    sounds = fill(place)
    folders = {path.parent for path in sounds}
    for folder in folders:
        folder.chmod(0o555)
    status, said = run(place, under=POWERLESS)
    assert status == 0
    for folder in folders:
        folder.chmod(0o755)
    written = sum(map(bool, place.in_files().values()))
    assert written
    refused = said.count("cannot be written (Permission denied; allow")
    assert refused == TRACKS - written, said
    assert all(place.in_library().values())
    whole(place, sounds)


@situation
def read_only_library(place: Workplace) -> None:
    """A library that may not be written is one clear line, before anything is done."""
    fill(place)
    place.database.chmod(0o444)
    place.home.chmod(0o555)
    status, said = run(place, under=POWERLESS)
    assert status == 1
    assert "cannot be written" in said, said
    assert not any(place.in_files().values())


@contextmanager
def small_disk(at: Path, size: int) -> Iterator[None]:
    """Mount a disk of so many bytes there, with what is there on it."""
    aside = at.with_name(at.name + "-aside")
    at.rename(aside)
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "agf", at], check=True)
    try:
        shutil.copytree(aside, at, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", at], check=True)


def size_of(folder: Path) -> int:
    """Return the bytes that files in a folder take on a disk."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*"))


@situation
def full_disk_of_music(place: Workplace) -> None:
    """Files that need room for a copy are reported, and are what they were."""
    sounds = fill(place)
    with small_disk(place.music, size_of(place.music) + 20_000):
        status, said = run(place)
        assert status == 0
        written = sum(map(bool, place.in_files().values()))
        refused = said.count("cannot be written (No space left on device)")
        assert refused == TRACKS - written, said
        whole(place, sounds)
    assert all(place.in_library().values())


@situation
def full_disk_of_the_library(place: Workplace) -> None:
    """No room to note what is replaced: one clear line, and nothing is replaced."""
    sounds = fill(place)
    music = place.home.with_name("music")
    shutil.copytree(place.music, music)
    with small_disk(place.home, size_of(place.home) + 64_000):
        free = os.statvfs(place.home)
        (place.home / "filler").write_bytes(bytes(free.f_bavail * free.f_bsize))
        status, said = run(place)
        assert status == 1
        assert "cannot be" in said, said
        assert place.in_library() == place.in_files()
        whole(place, sounds)


@situation
def moved_and_deleted_files(place: Workplace) -> None:
    """Files that vanish during a run are reported, the others are tagged."""
    fill(place, 60)
    process = place.start("agfgenre", "-q")
    time.sleep(1.5)
    for number, path in enumerate(sorted(place.in_files())):
        if number % 3 == 0:
            path.unlink()
        elif number % 3 == 1:
            path.rename(path.with_name(f"moved-{path.name}"))
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert "Traceback" not in said, said
    genres = place.in_library()
    for path, there in place.in_files().items():
        if not path.name.startswith("moved-"):
            assert there == genres[path] != [], path
    assert not place.leftovers()


@situation
def music_that_is_not_mounted(place: Workplace) -> None:
    """Nothing of it is marked as failed: when it is back, it is tagged."""
    sounds = fill(place)
    aside = place.music.with_name("elsewhere")
    place.music.rename(aside)
    status, said = run(place)
    assert status == 1
    assert "none of the files could be analysed" in said, said
    aside.rename(place.music)
    assert run(place)[0] == 0
    tagged(place)
    whole(place, sounds)


@situation
def two_at_once(place: Workplace) -> None:
    """Two runs over the same library both end well, and can be undone."""
    sounds = fill(place, 60)
    old = place.in_library()
    processes = [place.start("agfgenre", "-q") for _ in range(2)]
    for process in processes:
        _, said = process.communicate()
        assert process.returncode == 0, said
    tagged(place)
    whole(place, sounds)
    for _ in processes:
        place.beet("agfgenre", "--undo", "-q")
    assert place.in_library() == place.in_files() == old


@situation
def locked_library(place: Workplace) -> None:
    """A library that another program keeps locked is one clear line, and nothing is changed."""
    fill(place)
    other = sqlite3.connect(place.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    status, said = run(place)
    other.close()
    assert status == 1
    assert "cannot be written (database is locked)" in said, said
    assert "locked" in said, said
    assert not any(place.in_files().values())
    assert run(place)[0] == 0
    tagged(place)


@situation
def odd_paths(place: Workplace) -> None:
    """Newlines, bytes that are no UTF-8, and very long names."""
    fill(place)
    for number, path in enumerate(sorted(place.in_files())):
        odd = (b"new\nline", b"caf\xe9", b"-f", b"%s", b"\xff\xfe", b"x" * 240)[number % 6]
        folder = os.fsencode(place.music) + b"/" + odd[:9]
        os.makedirs(folder, exist_ok=True)
        new = folder + b"/" + odd + os.fsencode(path.suffix)
        os.rename(path, new)
        with sqlite3.connect(place.database) as database:
            stored = os.path.relpath(new, os.fsencode(place.music))
            before = os.path.relpath(path, place.music).encode()
            full = os.fsencode(path), new
            changed = database.execute(
                "UPDATE items SET path = CASE path WHEN ? THEN ? ELSE ? END WHERE path IN (?, ?)",
                (full[0], full[1], stored, full[0], before),
            ).rowcount
        database.close()
        assert changed == 1
    sounds = {path: sound(path) for path in place.in_files()}
    status, said = run(place, cwd="/")
    assert status == 0, said
    tagged(place)
    whole(place, sounds)


@situation
def links(place: Workplace) -> None:
    """Symbolic links stay links, and hard links stay together."""
    sounds = fill(place)
    elsewhere = place.home / "elsewhere"
    elsewhere.mkdir()
    for number, path in enumerate(sorted(sounds)):
        if number % 2:
            os.link(path, elsewhere / path.name)
        else:
            path.rename(elsewhere / path.name)
            path.symlink_to(elsewhere / path.name)
    assert run(place)[0] == 0
    tagged(place)
    for number, path in enumerate(sorted(sounds)):
        assert path.is_symlink() == (number % 2 == 0)
        assert path.samefile(elsewhere / path.name)
    whole(place, sounds)


@situation
def id3v23(place: Workplace) -> None:
    """Several genres, which that version joins, are written and restored."""
    place.fill(clips(), TRACKS, lambda number: ["One", "Two"])
    with (place.home / "config.yaml").open("a") as config:
        config.write("  count: 3\n  keep_existing: yes\nid3v23: yes\n")
    assert run(place)[0] == 0
    (path,) = place.music.rglob("*.mp3")
    (genres,) = MediaFile(path).genres
    assert genres.startswith("One/Two/")
    place.beet("agfgenre", "--undo", "-q")
    assert MediaFile(path).genres == ["One/Two"]
    assert all(genres == ["One", "Two"] for genres in place.in_library().values())


@situation
def closed_terminal(place: Workplace) -> None:
    """A hang-up ends the run and its worker process; the next run goes on."""
    sounds = fill(place, 60)
    process = place.start("agfgenre", "-q")
    time.sleep(1.5)
    process.send_signal(signal.SIGHUP)
    process.communicate()  # which waits for the worker process as well: it has our pipes
    assert run(place)[0] == 0
    tagged(place)
    whole(place, sounds)


# Learning


@contextmanager
def training_place(place: Workplace) -> Iterator[Path]:
    """Fill the library with what can be trained on in seconds; give the folder of the new model."""
    training.fill(place)
    with TemporaryDirectory() as models, (place.home / "config.yaml").open("a") as config:
        config.write(f"  min_tracks: 4\n  model: {training.small_model(Path(models))}\n")
        config.flush()
        before = place.in_library(), training.contents(place)
        yield place.home / "agfgenre"
        assert (place.in_library(), training.contents(place)) == before
        assert not training.models_lying_about(place)


def train(place: Workplace, *arguments: str, **options) -> tuple[int, str]:
    """Run `beet agftrain`; return the exit status and what it says on standard error."""
    process = place.start("agftrain", "--deep", "-q", *arguments, **options)
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


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("situations", nargs="*", choices=[[], *SITUATIONS], metavar="SITUATION")
    print(versions())
    for name in parser.parse_args().situations or SITUATIONS:
        if name.startswith("full_disk") and not ROOT:
            print(f"{name}: not tried, for only root may mount a small disk")
            continue
        with workplace(options=OPTIONS) as place:
            SITUATIONS[name](place)
        print(f"{name}: as it should be", flush=True)


if __name__ == "__main__":
    main()
