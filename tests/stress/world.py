"""Tries the commands where the world around it is not as it should be.

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
import time
from pathlib import Path

from mediafile import MediaFile

from tests.stress import world_library, world_training
from tests.stress.situations import (
    OPTIONS,
    POWERLESS,
    ROOT,
    Situations,
    give_odd_names,
    size_of,
    small_disk,
)
from tests.stress.workplace import Workplace, clips, sound, versions, workplace

situation = Situations()

TRACKS = 11  # one for each format


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
    give_odd_names(place)
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


SITUATIONS = world_library.situation | world_training.situation | situation


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("situations", nargs="*", choices=[[], *SITUATIONS], metavar="SITUATION")
    print(versions())
    for name in parser.parse_args().situations or SITUATIONS:
        if "full_disk" in name and not ROOT:
            print(f"{name}: not tried, for only root may mount a small disk")
            continue
        with workplace(options=OPTIONS) as place:
            SITUATIONS[name](place)
        print(f"{name}: as it should be", flush=True)


if __name__ == "__main__":
    main()
