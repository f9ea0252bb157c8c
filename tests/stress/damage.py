"""Makes damaged audio files, and analyses each as `beet agfgenre` does.

python -m tests.stress.damage [--files 2500] [--songs] [--seed 0] [--seconds 20] [--keep FOLDER]

The files are the clips, and one of them in every format that PyAV can write besides; with --songs
they last a minute, so that pieces are analysed, and all formats are written. They are cut off, with
bytes flipped, blanked, repeated and moved, with the head of one format on the body of another, with
absurd numbers where rates, sizes and durations stand, with huge tags and broken covers, and empty.
Each must be a result or an error that names it, within a limit of time, and the worker
process must stay within its limit of memory. A file that ends that process is counted, kept with
--keep, and fails nothing but itself: a crash of the run would be an exception here.
"""

import argparse
import os
import random
import shutil
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np

from agf_core.audio import decode
from agf_core.inference import worker
from agf_core.inference.worker import IsolatedTagger
from tests.stress.workplace import CLIPS, versions

# Containers and codecs, besides those of the clips.
WRITTEN = {
    "aac": ("adts", "aac"),
    "ac3": ("ac3", "ac3"),
    "alac.caf": ("caf", "alac"),
    "au": ("au", "pcm_s16be"),
    "eac3": ("eac3", "eac3"),
    "flac.mka": ("matroska", "flac"),
    "flac.ogg": ("ogg", "flac"),
    "mp2": ("mp2", "mp2"),
    "mp4": ("mp4", "aac"),
    "opus.webm": ("webm", "libopus"),
    "pcm.avi": ("avi", "pcm_s16le"),
    "pcm.w64": ("w64", "pcm_s24le"),
    "speex.ogg": ("ogg", "libspeex"),
    "ts": ("mpegts", "mp2"),
    "wav32": ("wav", "pcm_f32le"),
}
# Those of the clips, in which songs are written, too.
CLIPS_FORMATS = {
    "aiff": ("aiff", "pcm_s16be"),
    "flac": ("flac", "flac"),
    "m4a": ("ipod", "aac"),
    "mp3": ("mp3", "libmp3lame"),
    "ogg": ("ogg", "libvorbis"),
    "opus": ("ogg", "libopus"),
    "tta": ("tta", "tta"),
    "wav": ("wav", "pcm_s16le"),
    "wma": ("asf", "wmav2"),
    "wv": ("wv", "wavpack"),
}
SONG = 60  # seconds
ABSURD = (0, 1, 7, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x01000000)
HEAD = 512  # bytes of the header of most formats


def encode(samples: np.ndarray, rate: int, path: Path, container: str, codec: str) -> None:
    """Write mono samples."""
    with av.open(os.fspath(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        stream.codec_context.open()
        resampler = av.AudioResampler(
            stream.codec_context.format, "mono", rate, stream.codec_context.frame_size or 4096
        )
        frame = av.AudioFrame.from_ndarray(samples[None], "fltp", "mono")
        frame.sample_rate = rate
        for converted in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(converted))
        output.mux(stream.encode(None))


def originals(folder: Path, songs: bool = False) -> dict[str, bytes]:
    """Return whole files by their kind: the clips, and one of them in every other format.

    Or songs in all formats that can be written.
    """
    rate = 48_000
    samples = decode.read(CLIPS / "zeropage.flac", sample_rate=rate).samples[: 3 * rate]
    whole: dict[str, bytes] = {}
    if songs:
        samples = np.tile(samples, SONG // 3)
    else:
        whole |= {path.name.split(".", 1)[1]: path.read_bytes() for path in CLIPS.glob("*.*")}
        del whole["md"]
    for kind, (container, codec) in (WRITTEN | (CLIPS_FORMATS if songs else {})).items():
        try:
            encode(samples, rate, folder / kind, container, codec)
        except (av.error.FFmpegError, ValueError):
            continue  # this PyAV comes without that codec
        whole[kind] = (folder / kind).read_bytes()
    return whole


# Kinds of damage: each takes the whole file, another one and a source of chance


def cut(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    """Cut the end off."""
    return data[: rng.randrange(len(data))]


def behead(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    """Cut the beginning off."""
    return data[rng.randrange(min(len(data), 5000)) :]


def flip(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    """Change bytes anywhere."""
    for _ in range(rng.choice((1, 10, 100, 3000))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return data


def flip_head(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    """Change bytes of the head."""
    for _ in range(rng.choice((1, 3, 10, 40))):
        data[rng.randrange(min(HEAD, len(data)))] = rng.randrange(256)
    return data


def exaggerate(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    """Put absurd numbers where rates, sizes and durations may stand."""
    for _ in range(rng.choice((1, 2, 5))):
        at = rng.randrange(min(HEAD, len(data) - 8))
        form = rng.choice(("<H", ">H", "<I", ">I"))
        value = rng.choice(ABSURD) & (0xFFFF if form[1] == "H" else 0xFFFFFFFF)
        struct.pack_into(form, data, at, value)
    return data


def blank(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    """Blank a stretch, as a bad disk does."""
    start = rng.randrange(len(data))
    size = min(len(data) - start, rng.choice((512, 4096, 50_000)))
    data[start : start + size] = bytes([rng.choice((0, 255))]) * size
    return data


def shuffle(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    """Move blocks about."""
    size = rng.choice((64, 512, 4096))
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    for _ in range(rng.choice((1, 5, len(blocks)))):
        one, two = rng.randrange(len(blocks)), rng.randrange(len(blocks))
        blocks[one], blocks[two] = blocks[two], blocks[one]
    return bytearray(b"".join(blocks))


def transplant(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    """Put the head of another format onto the body."""
    size = rng.choice((4, 12, 44, 200, 2000))
    return bytearray(other[:size]) + data[size:]


def append(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    """Put another file behind or before it."""
    return data + other if rng.random() < 0.5 else bytearray(other) + data


def tag(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    """Put a tag before it: huge, lying about its size, or with a broken cover."""
    kind = rng.choice(("huge", "lying", "cover"))
    if kind == "huge":
        # Of one text: nothing but zeros, each a text of its own, keep mutagen busy for many minutes
        # when beets reads the file, before any plugin is asked.
        text = b"\0eng\0" + b"x" * (2**22 - 5)
        body = b"COMM" + struct.pack(">I", len(text)) + b"\0\0" + text
        size = len(body)
    elif kind == "lying":
        body, size = rng.randbytes(100), rng.choice((0, 5, 2**20, 2**28 - 1))
    else:
        picture = rng.choice((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a"))
        picture += rng.randbytes(rng.choice((0, 10, 20_000)))
        frame = b"\0image/png\0\x03\0" + picture
        claimed = rng.choice((len(frame), 0, 2**31, len(frame) * 100)) & 0xFFFFFFFF
        body = b"APIC" + struct.pack(">I", claimed) + b"\0\0" + frame
        size = len(body)
    head = b"ID3" + bytes([rng.choice((2, 3, 4, 9))]) + b"\0\0"
    return bytearray(head + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + body) + data


def empty(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    """Leave nothing, or nothing but blanks or noise."""
    return bytearray(rng.choice((b"", b"\0", bytes(9000), rng.randbytes(9000), b"RIFF", b"OggS")))


DAMAGES: tuple[Callable[[bytearray, bytes, random.Random], bytearray], ...] = (
    *(cut, behead, flip, flip_head, exaggerate, blank, shuffle, transplant, append, tag),
    empty,
)


@dataclass
class Verdict:
    """What became of all damaged files."""

    outcomes: Counter[str] = field(default_factory=Counter)
    kinds: int = 0
    longest: float = 0.0  # seconds, for one file
    most_memory: float = 0.0  # MiB, of the worker process
    ended: list[str] = field(default_factory=list)  # files that ended that process


def run(
    files: int, seed: int, seconds: float, keep: Path | None = None, songs: bool = False
) -> Verdict:
    """Damage and analyse files; `AssertionError` if one is neither predicted nor reported."""
    worker.SECONDS_WITHOUT_ANSWER = seconds
    rng = random.Random(seed)
    verdict = Verdict()
    tagger = IsolatedTagger.load(threads=1)
    with TemporaryDirectory() as scratch:
        whole = originals(Path(scratch), songs)
        verdict.kinds = len(whole)
        kinds = sorted(whole)
        for number in range(files):
            kind = kinds[number % len(kinds)]
            damage = DAMAGES[number // len(kinds) % len(DAMAGES)]
            data = damage(bytearray(whole[kind]), whole[rng.choice(kinds)], rng)
            path = Path(scratch, f"{number}-{damage.__name__}.{kind}")
            path.write_bytes(data)
            start = time.monotonic()
            (result,) = tagger.predict_files([path])
            verdict.longest = max(verdict.longest, time.monotonic() - start)
            if result.error is None:
                assert result.prediction is not None
                assert abs(result.prediction.probabilities.sum() - 1) < 1e-6
                verdict.outcomes["analysed" if not result.lost else "analysed in part"] += 1
            else:
                assert path.name in str(result.error), result.error
                verdict.outcomes[type(result.error).__name__] += 1
            if tagger._process is None:
                verdict.ended.append(path.name)
                if keep:
                    shutil.copy(path, keep)
            else:
                verdict.most_memory = max(verdict.most_memory, _memory(tagger._process._process))
            path.unlink()
    tagger.close()
    return verdict


def _memory(process: subprocess.Popen) -> float:
    """Return the most memory that a process has had, in MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=2500)
    parser.add_argument("--songs", action="store_true", help="damage songs of a minute")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--keep", type=Path, help="where files that end the process are kept")
    verdict = run(**vars(parser.parse_args()))
    print(f"{versions()}, PyAV {av.__version__}")
    print(f"{verdict.outcomes.total()} damaged files of {verdict.kinds} kinds")
    for outcome, count in verdict.outcomes.most_common():
        print(f"{count:7} {outcome}")
    print(f"the slowest took {verdict.longest:.1f} s; the worker process had at most")
    print(f"{verdict.most_memory:.0f} MiB, and was ended by {len(verdict.ended)} files")
    print(*verdict.ended, sep="\n")


if __name__ == "__main__":
    main()
