"""Cost of tagging, part by part and as a whole, against plainly decoding the same excerpts.

python benchmarks/tagging.py FOLDER [--tracks 50] [--minutes 4] [--rounds 3]

All is done in turns, several rounds of it, and medians are shown: the parts, each on every file in
one thread, and the whole of ``beet agfgenre`` on a library of copies, where it finds no genres:
with nothing to do, which is its start; with ``-p``, which analyses all and writes nothing; and with
the tags of every file written. With --minutes the files are songs of that length, joined from the
clips of the folder.
"""

import argparse
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import av
from machine import (
    audio_files,
    cores,
    cost,
    describe,
    fill,
    in_worker_environment,
    make_songs,
    run,
    spread,
)

from agf_core.audio import decode as decode_module
from agf_core.features.spectrogram import log_mel
from agf_core.inference.tagger import GenreTagger


def decode(path: Path, seconds: float, pieces: int) -> None:
    """Decode pieces of a file, evenly spread, with PyAV and nothing else: the limit."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        duration = float((container.duration or 0) / av.time_base)
        pieces = pieces if duration > seconds else 1
        for k in range(pieces):
            start = max(0.0, (k + 0.5) / pieces * duration - seconds / pieces / 2)
            if start:
                container.seek(int(start * av.time_base))
            decoded = 0.0
            for frame in container.decode(stream):
                decoded += frame.samples / frame.sample_rate
                if decoded >= seconds / pieces:
                    break


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tracks", type=int, default=50)
    parser.add_argument("--minutes", type=float, help="join clips to songs of this length")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    in_worker_environment()
    with tempfile.TemporaryDirectory() as folder:
        files = audio_files(arguments.folder)
        if arguments.minutes:
            songs = Path(folder, "songs")
            files = make_songs(files, songs, arguments.tracks, 60 * arguments.minutes)
        files = spread(files, arguments.tracks)
        print(describe())
        measure(files, Path(folder), arguments.rounds)


def measure(files: list[Path], folder: Path, rounds: int) -> None:
    """Run everything in turns, and print the table."""
    tagger = GenreTagger.load()
    spec = tagger.metadata.input
    excerpt = {"seconds": spec.excerpt_seconds, "pieces": spec.excerpt_pieces}
    decode_excerpt = partial(decode, **excerpt)
    made: dict[str, Any] = {}  # of the file that it is the turn of

    def read(path: Path) -> None:
        with decode_module.AudioFile(path) as file:
            rate = spec.rate_for(file.stream.sample_rate)
            made["audio"] = decode_module.read_excerpt(file, **excerpt, sample_rate=rate)

    def transform(path: Path) -> None:
        audio = made["audio"]
        made["spectrogram"] = log_mel(audio.samples, spec, audio.sample_rate)

    def decode_in_processes() -> None:
        with ProcessPoolExecutor(cores()) as pool:
            list(pool.map(decode_excerpt, files))

    def pretend() -> None:
        run(home, "agfgenre", "-q", "-p")
        shutil.rmtree(home / "cache")  # or the next run would know the features

    parts: dict[str, Callable[[Path], object]] = {
        "decoding alone": decode_excerpt,
        "key of the sound": decode_module.content_key,
        "reading: mono": read,
        "log-mel": transform,
        "network": lambda path: tagger.predict_log_mel(made["spectrogram"]),
    }
    wholes: dict[str, Callable[[], object]] = {
        f"decoding alone, {cores()} processes": decode_in_processes,
        "beet agfgenre, nothing to do": lambda: run(home, "agfgenre", "-q", "id:0", status=1),
        "beet agfgenre -p, nothing written": pretend,
        "beet agfgenre, tags written": lambda: run(home, "agfgenre", "-q"),
    }
    costs: dict[str, list] = {step: [] for step in (*parts, *wholes)}
    decode_in_processes()  # so that all files have been read once
    for number in range(rounds):
        of_files: dict[str, list] = {part: [] for part in parts}
        for path in files:
            for part, action in parts.items():
                of_files[part].append(cost(partial(action, path)))
        for part, values in of_files.items():
            costs[part].append(tuple(map(sum, zip(*values, strict=True))))
        home = folder / f"beets-{number}"
        fill(home, files, shutil.copy, "agfgenre: {min_confidence: 0}")
        os.sync()  # a library lies on its disk: copying it is not the plugin's work
        for whole, command in wholes.items():
            costs[whole].append(cost(command))
        shutil.rmtree(home)

    what = f"{spec.excerpt_seconds:g} s in pieces: {spec.excerpt_pieces}"
    print(f"{len(files)} files, excerpts of {what}, median of {rounds} rounds")
    print(f"{'ms a track':44}{'by the clock':>16}{'x':>7}{'of processors':>16}{'x':>7}")
    limit = None
    for step, values in costs.items():
        ms = [statistics.median(one) / len(files) * 1e3 for one in zip(*values, strict=True)]
        limit = limit or ms
        wall, processor = zip(ms, limit, strict=True)
        print(
            f"{step:44}{wall[0]:16.1f}{wall[0] / wall[1]:7.2f}"
            f"{processor[0]:16.1f}{processor[0] / processor[1]:7.2f}"
        )


if __name__ == "__main__":
    main()
