"""Ends a process that does nothing but write tags, on several file systems.

python -m tests.stress.writing [--kills 20] [--on here ext4 tmpfs bindfs exfat vfat] [--seed 0]

A process writes the tags of a file of every format over and over: shorter and longer genres, which
mostly fit into the room there is, and lyrics that do not. It is ended by SIGKILL at a random
moment. In every second process, writing in place is slowed down (32 bytes a millisecond), so that
more kills fall into it. Then a `beet` command's first act is done (`rollback.repair`), and

- the file that was being written must have all of its old tags or all of its new ones,
- each other file must have the tags that it was given last,
- each file must decode to the samples it had, and no record may be left.

ext4, tmpfs, bindfs and exfat (both FUSE) and vfat are mounted for it, which needs root, tools and
a kernel that has them. The report lists those that could not be mounted.
"""

import argparse
import io
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

from beets.library import Item, Library
from mediafile import MediaFile

from beetsplug.agfgenre.tag import rollback
from beetsplug.agfgenre.tag.file_writer import COPY_PREFIX, write
from tests.stress.workplace import CLIPS, clips, sound, versions

LYRICS = "la " * 40_000
CHOICES: list[tuple[list[str], str]] = [
    (["Rock"], ""),
    (["Electronic", "Rock"], ""),
    (["A genre with a name that is longer than all of the others"], ""),
    (["Pop"], LYRICS),
]
PIECE, PAUSE = 32, 0.001  # bytes written at a time in a process that is slowed down, seconds
LONGEST = 0.3  # seconds until the kill
ONLY_COPIES = 0.1  # share of writes with lyrics


class Writing:
    """Files whose tags are written, and what each of them has."""

    def __init__(self, library: Path, music: Path) -> None:
        self._database, self._music = library / "library.db", music
        with redirect_stdout(io.StringIO()):  # beets reports how it makes its tables
            lib = self._library()
        for number, clip in enumerate(clips(CLIPS)):
            path = shutil.copyfile(clip, music / f"{number:02}{clip.suffix}")
            lib.add(Item.from_path(os.fsencode(path)))
        self.paths = {item.id: Path(os.fsdecode(item.path)) for item in lib.items()}
        self._sounds = {number: sound(path) for number, path in self.paths.items()}
        self._chosen: dict[int, int] = {}
        for number in self.paths:
            self._write(lib, number, 0)
            self._chosen[number] = 0
        lib._close()
        self.counts: Counter[str] = Counter()

    def _library(self) -> Library:
        return Library(os.fspath(self._database), directory=os.fspath(self._music))

    def _write(self, lib: Library, number: int, choice: int) -> None:
        item = lib.get_item(number)
        item.genres, item.lyrics = CHOICES[choice]
        write(item, "killed")

    def _write_forever(self, report: int, seed: int, slowly: bool) -> None:
        rng = random.Random(seed)
        if slowly:
            pwrite = os.pwrite

            def slow(file: int, content: bytes, offset: int) -> int:
                time.sleep(PAUSE)
                return pwrite(file, content[:PIECE], offset)

            os.pwrite = slow
        lib = self._library()
        while True:
            number = rng.choice(list(self.paths))
            long = rng.random() < ONLY_COPIES
            choice = len(CHOICES) - 1 if long else rng.randrange(len(CHOICES) - 1)
            os.write(report, bytes([number, choice]))
            self._write(lib, number, choice)

    def kill(self, seed: int, after: float, slowly: bool) -> None:
        """End a process that writes, and check what it leaves."""
        read, report = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                self._write_forever(report, seed, slowly)
            finally:
                os._exit(1)
        os.close(report)
        with os.fdopen(read, "rb") as pipe:
            begun = pipe.read(2)
            time.sleep(after)
            os.kill(child, signal.SIGKILL)
            begun += pipe.read()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        numbers, choices = begun[::2], begun[1::2]
        self._chosen |= zip(numbers[:-1], choices[:-1], strict=True)
        self._check(numbers[-1], choices[-1])
        self.counts["kills"] += 1
        self.counts["writes"] += len(numbers)

    def _check(self, last: int, choice: int) -> None:
        """Check all files; the last one may be old or new."""
        content = self.paths[last].read_bytes()
        recorded = list(self._database.parent.glob(f"*-agfgenre/{rollback.ROLLBACK_RECORD}*"))
        lib = self._library()
        rollback.repair(lib)
        lib._close()
        self.counts["killed while the journal was locked"] += bool(recorded)
        self.counts["rolled back"] += content != self.paths[last].read_bytes()
        for copy in self._music.glob(f"{COPY_PREFIX}*"):
            copy.unlink()  # as the next run does, by the records of the killed one
            self.counts["killed while copying"] += 1
        assert not list(self._database.parent.glob(f"*-agfgenre/{rollback.ROLLBACK_RECORD}*"))
        if (is_new := self._has(last, choice)) or self._has(last, self._chosen[last]):
            self._chosen[last] = choice if is_new else self._chosen[last]
            self.counts["last file new" if is_new else "last file old"] += 1
        for number, path in self.paths.items():
            assert self._has(number, self._chosen[number]), f"{path} has other tags"
            assert sound(path) == self._sounds[number], f"{path} has other samples"

    def _has(self, number: int, choice: int) -> bool:
        file = MediaFile(self.paths[number])
        return (file.genres, file.lyrics or "") == CHOICES[choice]


@contextmanager
def folder_on(name: str, home: Path) -> Iterator[Path]:
    """Mount a file system and yield its folder; `CalledProcessError` where it cannot be had."""
    folder, image = home / name, home / f"{name}.img"
    folder.mkdir()
    make, mount = ["truncate", "-s", "64M", image], ["mount", "-o", "loop", image, folder]
    commands: dict[str, list[list[object]]] = {
        "here": [],
        "tmpfs": [["mount", "-t", "tmpfs", "tmpfs", folder]],
        "ext4": [
            make,
            ["mke2fs", "-q", "-t", "ext4", image],
            ["mount", "-o", "loop", image, folder],
        ],
        "bindfs": [["mkdir", image], ["bindfs", image, folder]],
        "exfat": [make, ["mkfs.exfat", image], [*mount, "-t", "exfat-fuse"]],
        "vfat": [make, ["mkfs.vfat", image], mount],
    }
    for command in commands[name]:
        run(command)
    try:
        yield folder
    finally:
        if name != "here":
            run(["umount", folder])


def run(command: list[object]) -> None:
    """Run a command without its output."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([str(one) for one in command], check=True, **quiet)


def main_on(name: str, kills: int, seed: int = 0) -> Counter[str]:
    """End processes on one file system; `AssertionError` says what was wrong."""
    rng = random.Random(seed)
    with TemporaryDirectory(prefix="agf-") as home, folder_on(name, Path(home)) as music:
        library = Path(home, "library")
        library.mkdir()
        writing = Writing(library, music)
        for number in range(kills):
            writing.kill(rng.randrange(1 << 30), rng.uniform(0, LONGEST), slowly=number % 2 == 1)
        return writing.counts


def main() -> None:
    """Run the command."""
    names = ["here", "ext4", "tmpfs", "bindfs", "exfat", "vfat"]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--on", nargs="+", choices=names, default=names)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(versions())
    for name in arguments.on:
        try:
            counts = main_on(name, arguments.kills, arguments.seed)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{name}: not tried ({error})")
            continue
        print(name, flush=True)
        for what, count in counts.items():
            print(f"{count:7} {what}", flush=True)


if __name__ == "__main__":
    main()
