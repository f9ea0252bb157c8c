"""How much is written, and how long it takes, to change the genres of large files.

python benchmarks/writing.py [--files 20] [--megabytes 25] [--rounds 3] [--folder FOLDER]

FLAC files of noise with 8 KiB of padding, and the same without padding, are written by beets, in
place with the rollback journal, and by a copy that takes the file's place, in turns. Bytes are
those of the process in `/proc/self/io`: by calls, and of the pages that became dirty (which
the system counts by the folio, of up to 64 KiB or more). FOLDER must not be a tmpfs.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
from machine import describe

WAYS = ("beet write", "in place", "by a copy")
RATE = 44_100


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--megabytes", type=float, default=25)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(write(arguments.folder, arguments.way)))
        return
    print(describe())
    print(f"{arguments.files} files of {arguments.megabytes:g} MB, median of {arguments.rounds}")
    print(f"{'MB written by calls, pages':36}{'':>20}{'seconds':>10}{'same inode':>12}")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as home:
        for padding in (8192, 0):
            original = make_flac(Path(home, "original.flac"), arguments.megabytes, padding)
            results: dict[str, list] = {way: [] for way in WAYS}
            for _ in range(arguments.rounds):
                for way in WAYS:
                    results[way].append(in_new_process(Path(home), original, arguments.files, way))
            for way, numbers in results.items():
                calls, pages, seconds, same = map(statistics.median, zip(*numbers, strict=True))
                what = f"{way}, {padding // 1024} KiB of padding"
                print(
                    f"{what:36}{calls / 1e6:10.2f}{pages / 1e6:10.2f}{seconds:10.2f}{same:12.0f}",
                    flush=True,
                )


def make_flac(path: Path, megabytes: float, padding: int) -> Path:
    """Write noise, which FLAC cannot make smaller."""
    from mutagen.flac import FLAC

    rng = np.random.default_rng(0)
    with av.open(os.fspath(path), "w", format="flac") as output:
        stream = output.add_stream("flac", rate=RATE, layout="stereo")
        for _ in range(round(megabytes * 1e6 / 4 / RATE)):
            samples = rng.integers(-32_768, 32_767, (1, 2 * RATE), dtype=np.int16)
            frame = av.AudioFrame.from_ndarray(samples, "s16", "stereo")
            frame.sample_rate = RATE
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    file = FLAC(path)
    file["title"], file["genre"] = "Noise", "Noise"
    file.save(padding=lambda info: padding)
    return path


def in_new_process(home: Path, original: Path, files: int, way: str) -> list[float]:
    """Write copies of a file; return bytes, seconds, and how many kept their inode."""
    with tempfile.TemporaryDirectory(dir=home) as folder:
        for number in range(files):
            shutil.copyfile(original, Path(folder, f"{number:02}.flac"))
        os.sync()
        command = [sys.executable, __file__, "--folder", ".", "--way", way]
        # There, since beets leaves backups of a database beside it, even of one in memory.
        done = subprocess.run(command, check=True, capture_output=True, cwd=folder)
        return json.loads(done.stdout)


def write(folder: Path, way: str) -> list[float]:
    """Give all files of a folder another genre."""
    import contextlib

    from beets.library import Item, Library

    from beetsplug.agfgenre.tag import file_writer

    with contextlib.redirect_stdout(sys.stderr):
        lib = Library(":memory:" if way == "by a copy" else os.fspath(folder / "library.db"))
    items = []
    for path in sorted(folder.glob("*.flac")):
        item = Item.from_path(os.fsencode(path))
        lib.add(item)
        item.genres = ["Rock"]
        items.append(item)
    inodes = [os.stat(item.path).st_ino for item in items]
    before, start = written(), time.perf_counter()
    for item in items:
        if way == "beet write":
            item.write()
        else:
            file_writer.write(item, "run")
    seconds = time.perf_counter() - start
    after = written()
    same = sum(os.stat(item.path).st_ino == old for item, old in zip(items, inodes, strict=True))
    return [*(b - a for a, b in zip(before, after, strict=True)), seconds, same]


def written() -> list[int]:
    """Return the bytes that this process has written by calls, and those of the pages of files."""
    lines = Path("/proc/self/io").read_text().splitlines()
    counts = dict(line.split(": ") for line in lines)
    return [int(counts["wchar"]), int(counts["write_bytes"])]


if __name__ == "__main__":
    main()
