"""Decode a file, or an excerpt of it, to mono samples at one rate, by libav (PyAV)."""

import dataclasses
import hashlib
import math
from collections.abc import Iterator
from contextlib import suppress
from typing import cast

import av
import numpy as np
from av.container import InputContainer

from agf_core.audio.container import LIBAV_ERRORS, open_audio
from agf_core.audio.downmix import Downmixer
from agf_core.constants import SAMPLE_RATE, SHORTEST_SECONDS
from agf_core.errors import (
    AnyPath,
    AudioError,
    AudioTooShortError,
    NoAudioStreamError,
    SilentAudioError,
    UnreadableAudioError,
    shown,
)

__all__ = [  # with the errors that reading a file can raise
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

PREROLL_SECONDS = 0.5  # dropped after a seek, until the output of a codec is right
FAST_SEEK_FROM = 1800.0  # seconds; rough starts after this are found by proportion
GAP_TOLERANCE = 0.015  # seconds by which a time stamp may be late before a gap counts as lost
EDGE_TOLERANCE = 0.25  # seconds that may be missing at both ends of a file: codecs start late
POSSIBLE_RATES = range(1_000, 6_000_000)  # hertz that a stream may have; DSD reaches 2.8 million
KEY_BYTES = 1 << 20  # of a stream, from which its key is computed
DEMUX_ERRORS = 20  # in a row, after which a file is taken to have ended

# Containers in which libav seeks to a wrong position: in mpc8 by a packet, 1.7 s.
UNSEEKABLE_CODECS = ("mpc8",)

# Containers of frames alone, which do not store how many there are.
WITHOUT_HEADER = ("aac", "ac3", "dts", "eac3", "mlp", "truehd")


@dataclasses.dataclass(frozen=True)
class Audio:
    """Samples of a file, with their position in it.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), dtype=float32]
        Mono, in about [-1, 1].
    sample_rate : int
        Hertz.
    start : float
        Position of the first sample in the file, in seconds.
    duration : float or None
        Of the whole file according to its container, in seconds; None if unknown.
    lost : float
        Seconds of the requested stretch that could not be decoded; the samples before and after a
        gap are joined.
    """

    samples: np.ndarray
    sample_rate: int
    start: float
    duration: float | None
    lost: float

    @property
    def seconds(self) -> float:
        """Length of the samples, in seconds."""
        return len(self.samples) / self.sample_rate


def read(
    path: AnyPath,
    *,
    start: float = 0.0,
    seconds: float | None = None,
    sample_rate: int = SAMPLE_RATE,
) -> Audio:
    """Decode a stretch of a file, and no more than that.

    Parameters
    ----------
    path : str, bytes or os.PathLike
    start : float
        Position of the first sample, in seconds.
    seconds : float or None
        Length of the stretch; None reads to the end.
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
    return _checked(_read(path, start, seconds, sample_rate), path, seconds)


def read_excerpt(
    path: AnyPath, seconds: float, *, pieces: int = 1, sample_rate: int = SAMPLE_RATE
) -> Audio:
    """Decode pieces that are evenly spread over a file, or all of it when it is shorter.

    One piece is the middle. The middle is also read instead of several pieces when the container
    stores no duration, or when a piece cannot be reached. When the duration is unknown, or so wrong
    that hardly any audio is found, the packets of the file are counted, and the middle of them is
    read.

    Parameters
    ----------
    path : str, bytes or os.PathLike
    seconds : float
        Length of all pieces together.
    pieces : int
        Number of pieces, of equal length; they are joined.
    sample_rate : int
        Hertz, to which the samples are converted.

    Returns
    -------
    Audio
        ``start`` is that of the first piece. ``lost`` is that of all pieces, or at least that of
        the middle by the stored duration, also when another part was read.

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
    return _checked(audio, path, seconds)


def content_key(path: AnyPath) -> str:
    """Compute a key of the audio in a file, independent of its name, place and tags.

    It is a hash of the first megabyte of the packets of the stream, as they are stored. Nothing is
    decoded, which takes milliseconds, and tags lie outside of packets. Files that differ only after
    their first megabyte (26 s of MP3 at 320 kbit/s, 6 s of a WAVE file) share a key.

    Raises
    ------
    NoAudioStreamError, UnreadableAudioError
    """
    with open_audio(path) as (container, stream):
        codec = stream.codec_context
        digest = hashlib.sha256(f"{codec.name} {codec.sample_rate} {codec.channels}".encode())
        left = KEY_BYTES
        with suppress(*LIBAV_ERRORS):  # damage: the packets before it make the key
            for packet in container.demux(stream):
                digest.update(memoryview(packet)[:left])
                left -= packet.size
                if left <= 0:
                    break
        if left == KEY_BYTES:
            raise UnreadableAudioError(
                f"{shown(path)} has no audio that can be read; replace it with an intact copy."
            )
        return digest.hexdigest()[:32]


def _check_seconds(seconds: float) -> None:
    if not 0 < seconds < math.inf:
        raise ValueError(f"seconds must be more than zero, not {seconds}")


def _checked(audio: Audio, path: AnyPath, seconds: float | None) -> Audio:
    """Return `audio` if it is long enough, else raise an error with the reason."""
    needed = SHORTEST_SECONDS if seconds is None else min(seconds, SHORTEST_SECONDS)
    if audio.seconds >= needed - 0.01:
        return audio
    if audio.seconds + audio.lost >= needed:
        raise UnreadableAudioError(
            f"{shown(path)} is damaged, only {audio.seconds:.1f} s of it can be decoded;"
            " replace it with an intact copy."
        )
    where = f" after the first {audio.start:g} s" if audio.start else ""
    raise AudioTooShortError(
        f"{shown(path)} has only {audio.seconds:.2f} s of audio{where};"
        f" at least {needed:g} s is needed."
    )


def _read(path: AnyPath, start: float | None, seconds: float | None, sample_rate: int) -> Audio:
    """Decode as `read` does, of any length; `start` None means the middle."""
    audio = None
    if start is None or start > PREROLL_SECONDS:
        with open_audio(path) as (container, stream):
            audio = _decode(container, stream, start, seconds, sample_rate, seek=True)
    if audio is None:  # at the beginning, or seeking does not reach it
        with open_audio(path) as (container, stream):
            audio = _decode(container, stream, start, seconds, sample_rate, seek=False)
    return audio  # type: ignore[return-value]  # without a seek it is never None


def _read_pieces(path: AnyPath, seconds: float, pieces: int, sample_rate: int) -> Audio | None:
    """Decode evenly spread pieces; None if the file is too short or one cannot be reached."""
    with open_audio(path) as (container, stream):
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
    *,
    seek: bool,
    roughly: bool = False,
) -> Audio | None:
    """Decode a stretch of an open file; None if `seek` is set and seeking does not reach it.

    In long files the middle, or any start with `roughly` set, may be a little off.
    """
    duration = _duration(container, stream)
    roughly = roughly or start is None
    if start is None:
        start = max(0.0, ((duration or 0.0) - (seconds or 0.0)) / 2)
    end = math.inf if seconds is None else start + seconds
    target = _ticks(stream, max(0.0, start - PREROLL_SECONDS))
    seek = seek and start > PREROLL_SECONDS
    if seek and not _seek(container, stream, target, fast=roughly and start > FAST_SEEK_FROM):
        return None

    mixer = Downmixer(sample_rate)
    begin = start  # seconds, of the first sample
    reached = start  # seconds, up to where all is decoded or counted as lost
    lost = 0.0
    for now, frame in _timed_frames(container, stream, target, None if seek else 0.0):
        rate, size = frame.sample_rate, frame.samples
        if now is None or (seek and mixer.empty and now > start + 0.5 / rate):
            return None
        then = now + size / rate
        first = max(0, round((start - now) * rate))
        last = size if then <= end else max(0, round((end - now) * rate))
        if now > reached + (EDGE_TOLERANCE if mixer.empty else 0.0):
            lost += min(now, end) - reached
        if first < last:
            begin = max(start, now) if mixer.empty else begin
            mixer.add(frame, first, last)
        reached = max(reached, min(then, end))
        if then >= end:
            break
    if seek and mixer.empty:
        return None
    expected = min(end, duration or 0.0)
    if expected > reached + EDGE_TOLERANCE and not _duration_is_estimated(container, stream):
        lost += expected - reached
    samples = mixer.finish(None if seconds is None else round(seconds * sample_rate))
    return Audio(samples, sample_rate, begin, duration, lost)


def _ticks(stream: av.AudioStream, seconds: float) -> int:
    """Return the time stamp of a position in a stream."""
    return (stream.start_time or 0) + int(min(seconds / float(stream.time_base or 1), 2.0**60))


def _seek(container: InputContainer, stream: av.AudioStream, target: int, *, fast: bool) -> bool:
    """Move to a time stamp, or a little before it; False where that is not possible."""
    if container.format.name in UNSEEKABLE_CODECS:
        return False
    if fast:
        container.flags = container.flags | av.container.Flags.fast_seek.value  # type: ignore
    try:
        container.seek(target, stream=stream)
    except LIBAV_ERRORS:
        return False
    return True


def _timed_frames(
    container: InputContainer, stream: av.AudioStream, target: int, now: float | None
) -> Iterator[tuple[float | None, av.AudioFrame]]:
    """Yield all frames from `target` on, each with the time at which it begins, in seconds.

    Frames follow each other without a gap unless a time stamp is later than that. The first begins
    at `now`; None, where that is not known, lasts until the first time stamp.
    """
    for frame in _frames(container, stream, target):
        if frame.pts is not None:
            stamp = (frame.pts - (stream.start_time or 0)) * float(stream.time_base or 1)
            now = stamp if now is None or stamp > now + GAP_TOLERANCE else now
        yield now, frame
        if now is not None:
            now += frame.samples / frame.sample_rate


def _frames(
    container: InputContainer, stream: av.AudioStream, target: int
) -> Iterator[av.AudioFrame]:
    """Yield all frames from `target` (in ticks) on, skipping packets that cannot be decoded."""
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
                yield from (frame for frame in frames if frame.sample_rate in POSSIBLE_RATES)
            return
        except LIBAV_ERRORS:
            errors += 1


def _duration(container: InputContainer, stream: av.AudioStream) -> float | None:
    """Return the duration that the container stores, in seconds."""
    if stream.duration and stream.duration > 0 and stream.time_base:
        return float(stream.duration * stream.time_base)
    if container.duration and container.duration > 0:
        return container.duration / av.time_base
    return None


def _duration_is_estimated(container: InputContainer, stream: av.AudioStream) -> bool:
    """Whether a duration is only an estimate from the bit rate, as for mp3 without a header.

    Such streams count time in ticks finer than samples, and an estimate is hardly ever a whole
    number of samples.
    """
    if container.format.name in WITHOUT_HEADER:
        return True
    if not stream.duration or not stream.time_base or stream.time_base * stream.rate >= 1:
        return False
    return (stream.duration * stream.time_base * stream.rate).denominator != 1


def _count_seconds(path: AnyPath) -> float:
    """Return the duration of the packets of a file, in seconds, without decoding them."""
    with open_audio(path) as (container, stream):
        ticks = 0
        try:
            for packet in container.demux(stream):
                ticks += packet.duration or 0
        except LIBAV_ERRORS:
            pass  # the file ends there
        return float(ticks * (stream.time_base or 0))
