"""From a file to samples: mono, at one rate, whole or an excerpt, by way of libav (PyAV)."""

import dataclasses
import hashlib
import math
from collections.abc import Iterator
from contextlib import suppress
from typing import cast

import av
import numpy as np
from av.container import InputContainer

from agf_core.audio.container import LIBAV_ERRORS, Path, opened
from agf_core.audio.downmix import Downmixer
from agf_core.constants import SAMPLE_RATE, SHORTEST_SECONDS
from agf_core.errors import (
    AudioError,
    AudioTooShortError,
    NoAudioStreamError,
    SilentAudioError,
    UnreadableAudioError,
    shown,
)

__all__ = [  # with what may be wrong with a file, for whoever reads files
    "Audio",
    "AudioError",
    "AudioTooShortError",
    "NoAudioStreamError",
    "SilentAudioError",
    "UnreadableAudioError",
    "content_key",
    "read",
    "read_excerpt",
    "shown",
]

PREROLL = 0.5  # seconds decoded and dropped after a seek: a codec needs them to find its feet
FAST_SEEK_FROM = (
    1800.0  # seconds; what lies roughly after this is sought by proportion, where that is quicker
)
GAP_TOLERANCE = 0.015  # seconds by which time stamps may be off before something counts as lost
EDGE_TOLERANCE = 0.25  # seconds that may be missing at a file's ends: codecs need to get going
RATES = range(1_000, 6_000_000)  # hertz that a stream may have; DSD reaches 2.8 million
KEY_BYTES = 1 << 20  # of a stream, of which its key is made
DEMUX_ERRORS = 20  # in a row, after which a file is taken to have ended

# Containers in which libav's seeking arrives elsewhere than it says: mpc8 by a packet, 1.7 s.
UNSEEKABLE = ("mpc8",)

# Containers that are nothing but frames, of whose number libav knows nothing.
WITHOUT_HEADER = ("aac", "ac3", "dts", "eac3", "mlp", "truehd")


@dataclasses.dataclass(frozen=True)
class Audio:
    """Samples of a file, and what is known about them.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), dtype=float32]
        Mono, in about [-1, 1].
    sample_rate : int
        Hertz.
    start : float
        Where in the file the samples begin, in seconds.
    duration : float or None
        Of the whole file as its container tells, in seconds; None if it does not.
    lost : float
        Seconds of what was wanted that could not be decoded; what lies on both sides of a lost
        stretch is joined.
    """

    samples: np.ndarray
    sample_rate: int
    start: float
    duration: float | None
    lost: float

    @property
    def seconds(self) -> float:
        """How long the samples last."""
        return len(self.samples) / self.sample_rate


def read(
    path: Path, *, start: float = 0.0, seconds: float | None = None, sample_rate: int = SAMPLE_RATE
) -> Audio:
    """Read a stretch of a file, decoding no more than that.

    Parameters
    ----------
    path : str, bytes or os.PathLike
    start : float
        Where to begin, in seconds.
    seconds : float or None
        How much to read; None reads to the end.
    sample_rate : int
        Hertz, to which the samples are converted.

    Returns
    -------
    Audio

    Raises
    ------
    NoAudioStreamError, UnreadableAudioError, AudioTooShortError
    """
    if not 0 <= start < math.inf:
        raise ValueError(f"start must be zero or more seconds, not {start}")
    if seconds is not None:
        _check_seconds(seconds)
    return _enough(_read(path, start, seconds, sample_rate), path, seconds)


def read_excerpt(
    path: Path, seconds: float, *, pieces: int = 1, sample_rate: int = SAMPLE_RATE
) -> Audio:
    """Read pieces of a file that are evenly spread over it, or all of it when it is shorter.

    One piece is the middle. It is read instead of several, too, when the container tells no
    duration, or when one of them cannot be reached. When it tells none, or one so wrong that hardly
    anything is there, the file's packets are counted, and the middle of what is really there is
    read.

    Parameters
    ----------
    path : str, bytes or os.PathLike
    seconds : float
        How much to read, all pieces together.
    pieces : int
        Of the same length each; they are joined.
    sample_rate : int
        Hertz, to which the samples are converted.

    Returns
    -------
    Audio
        ``start`` is that of the first piece. ``lost`` is that of all pieces, or of the middle by
        the container's word, also when another part was read.

    Raises
    ------
    NoAudioStreamError, UnreadableAudioError, AudioTooShortError
    """
    _check_seconds(seconds)
    audio = _read_pieces(path, seconds, pieces, sample_rate) if pieces > 1 else None
    if audio is None or audio.seconds < seconds / 2:
        audio = _read(path, None, seconds, sample_rate)
    lost = audio.lost
    if audio.duration is None or audio.seconds < min(seconds, audio.duration) / 2:
        middle = max(0.0, (_count_seconds(path) - seconds) / 2)
        others = [_read(path, start, seconds, sample_rate) for start in sorted({middle, 0.0})]
        audio = max(reversed(others), key=lambda other: other.seconds)
        audio = dataclasses.replace(audio, lost=max(lost, audio.lost))
    return _enough(audio, path, seconds)


def content_key(path: Path) -> str:
    """Key of the sound in a file: the same wherever the file lies and whatever its tags say.

    It is made of the first packets of the stream, a megabyte of them, as they are stored: nothing
    is decoded, and tags lie outside of packets, so that it takes milliseconds and outlives every
    change of tags. Files that differ only after their first megabyte (26 s of MP3 at 320 kbit/s,
    6 s of a WAVE file) share a key.

    Raises
    ------
    NoAudioStreamError, UnreadableAudioError
    """
    with opened(path) as (container, stream):
        codec = stream.codec_context
        digest = hashlib.sha256(f"{codec.name} {codec.sample_rate} {codec.channels}".encode())
        left = KEY_BYTES
        with suppress(*LIBAV_ERRORS):  # damage: what lies before it is key enough
            for packet in container.demux(stream):
                digest.update(memoryview(packet)[:left])
                left -= packet.size
                if left <= 0:
                    break
        if left == KEY_BYTES:
            raise UnreadableAudioError(f"{shown(path)} has no sound in it that can be read.")
        return digest.hexdigest()[:32]


def _check_seconds(seconds: float) -> None:
    if not 0 < seconds < math.inf:
        raise ValueError(f"seconds must be more than zero, not {seconds}")


def _enough(audio: Audio, path: Path, seconds: float | None) -> Audio:
    """Return what was read if there is enough of it, else raise the error that says why not."""
    needed = SHORTEST_SECONDS if seconds is None else min(seconds, SHORTEST_SECONDS)
    if audio.seconds >= needed - 0.01:
        return audio
    if audio.seconds + audio.lost >= needed:
        raise UnreadableAudioError(
            f"{shown(path)} is damaged, only {audio.seconds:.1f} s of it can be decoded;"
            " replace it by an intact copy."
        )
    where = f" after the first {audio.start:g} s" if audio.start else ""
    raise AudioTooShortError(
        f"{shown(path)} has only {audio.seconds:.2f} s of sound{where};"
        f" at least {needed:g} s is needed."
    )


def _read(path: Path, start: float | None, seconds: float | None, sample_rate: int) -> Audio:
    """Do the work of `read`, however little there is; start None means the middle."""
    audio = None
    if start is None or start > PREROLL:
        with opened(path) as (container, stream):
            audio = _decode(container, stream, start, seconds, sample_rate, seek=True)
    if audio is None:  # it begins at the beginning, or seeking did not get there
        with opened(path) as (container, stream):
            audio = _decode(container, stream, start, seconds, sample_rate, seek=False)
    return audio  # type: ignore[return-value]  # without a seek it is never None


def _read_pieces(path: Path, seconds: float, pieces: int, sample_rate: int) -> Audio | None:
    """Read evenly spread pieces; None if the file is too short for that or does not allow it."""
    with opened(path) as (container, stream):
        duration = _duration(container, stream)
        if duration is None or duration <= seconds:
            return None
        length = seconds / pieces
        parts = []
        for k in range(pieces):
            start = (k + 0.5) * duration / pieces - length / 2
            part = _decode(container, stream, start, length, sample_rate, seek=True, roughly=True)
            if part is None:
                return None
            parts.append(part)
    samples = np.concatenate([part.samples for part in parts])
    return Audio(samples, sample_rate, parts[0].start, duration, sum(part.lost for part in parts))


def _decode(
    container: InputContainer,
    stream: av.AudioStream,
    start: float | None,
    seconds: float | None,
    sample_rate: int,
    seek: bool,
    roughly: bool = False,
) -> Audio | None:
    """Decode a stretch of an open file; None if a seek was asked for and did not get there.

    The middle, or what begins `roughly` somewhere, may be a little off in long files.
    """
    duration = _duration(container, stream)
    roughly = roughly or start is None
    if start is None:
        start = max(0.0, ((duration or 0.0) - (seconds or 0.0)) / 2)
    end = math.inf if seconds is None else start + seconds
    tick = float(stream.time_base or 1)  # seconds
    origin = stream.start_time or 0  # ticks
    target = origin + int(min(max(0.0, start - PREROLL) / tick, 2.0**60))  # ticks
    if seek and start > PREROLL and container.format.name in UNSEEKABLE:
        return None
    seek = seek and start > PREROLL
    if seek:
        if roughly and start > FAST_SEEK_FROM:
            container.flags = container.flags | av.container.Flags.fast_seek.value  # type: ignore
        try:
            container.seek(target, stream=stream)
        except LIBAV_ERRORS:
            return None

    mixer = Downmixer(sample_rate)
    now = None if seek else 0.0  # seconds, at which the frame begins
    begin = start  # seconds, of the first sample
    reached = start  # seconds, up to where all is decoded or counted as lost
    lost = 0.0
    for frame in _frames(container, stream, target):
        told = None if frame.pts is None else (frame.pts - origin) * tick
        if told is not None and (now is None or told > now + GAP_TOLERANCE):
            now = told
        rate, size = frame.sample_rate, frame.samples
        if now is None or (seek and mixer.empty and now > start + 0.5 / rate):
            return None
        first = max(0, round((start - now) * rate))
        last = size if now + size / rate <= end else max(0, round((end - now) * rate))
        if now > reached + (EDGE_TOLERANCE if mixer.empty else 0.0):
            lost += min(now, end) - reached
        if first < last:
            begin = max(start, now) if mixer.empty else begin
            mixer.add(frame, first, last)
        now += size / rate
        reached = max(reached, min(now, end))
        if now >= end:
            break
    if seek and mixer.empty:
        return None
    promised = min(end, duration or 0.0)
    if promised > reached + EDGE_TOLERANCE and not _guessed(container, stream):
        lost += promised - reached
    samples = mixer.finish(None if seconds is None else round(seconds * sample_rate))
    return Audio(samples, sample_rate, begin, duration, lost)


def _frames(
    container: InputContainer, stream: av.AudioStream, target: int
) -> Iterator[av.AudioFrame]:
    """Yield all frames from target (in ticks) on, passing over packets that cannot be decoded."""
    errors = 0
    while errors < DEMUX_ERRORS:
        try:
            for packet in container.demux(stream):
                errors = 0
                if packet.pts is not None and packet.pts + (packet.duration or 0) < target:
                    continue
                try:
                    frames = cast(list[av.AudioFrame], packet.decode())  # of a stream of sound
                except LIBAV_ERRORS:
                    continue
                yield from (frame for frame in frames if frame.sample_rate in RATES)
            return
        except LIBAV_ERRORS:
            errors += 1


def _duration(container: InputContainer, stream: av.AudioStream) -> float | None:
    """Return how long the container says the sound is, in seconds."""
    if stream.duration and stream.duration > 0 and stream.time_base:
        return float(stream.duration * stream.time_base)
    if container.duration and container.duration > 0:
        return container.duration / av.time_base
    return None


def _guessed(container: InputContainer, stream: av.AudioStream) -> bool:
    """Tell whether a duration is only libav's guess by the bit rate, as for mp3 without a header.

    Such streams count time in ticks finer than samples, and a guess is hardly ever a whole number
    of samples.
    """
    if container.format.name in WITHOUT_HEADER:
        return True
    if not stream.duration or not stream.time_base or stream.time_base * stream.rate >= 1:
        return False
    return (stream.duration * stream.time_base * stream.rate).denominator != 1


def _count_seconds(path: Path) -> float:
    """Return how long a file's packets last, in seconds; quicker than decoding them."""
    with opened(path) as (container, stream):
        ticks = 0
        try:
            for packet in container.demux(stream):
                ticks += packet.duration or 0
        except LIBAV_ERRORS:
            pass  # the file ends there
        return float(ticks * (stream.time_base or 0))
