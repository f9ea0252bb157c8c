"""Decode a file, or an excerpt of it, to mono samples at one rate, by libav (PyAV)."""

import dataclasses
import hashlib
import math
from collections.abc import Iterator

import av
import numpy as np
from av.container import InputContainer

from agf_core.audio.container import LIBAV_ERRORS, AudioFile, check_memory, opened
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
    "AudioFile",
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
SHORT_PREROLL_SECONDS = 0.3  # of MP3, whose bit reservoir lasts 10 frames at most, and of FLAC
SHORT_PREROLL_CODECS = ("flac", "mp3", "mp3float")
FAST_SEEK_FROM = 1800.0  # seconds; rough starts after this are found by proportion
# Seconds by which a time stamp may be late before a gap counts as lost. Those of intact Ogg Vorbis
# files are up to 0.035 s late on some pages; WMA has true gaps of less than 0.1 s.
GAP_TOLERANCE = 0.05
EDGE_TOLERANCE = 0.25  # seconds that may be missing at both ends of a file: codecs start late
POSSIBLE_RATES = range(1_000, 6_000_000)  # hertz that a stream may have; DSD reaches 2.8 million
KEY_PACKETS = 400  # of a stream, from which its key is computed
KEY_BYTES = 1 << 20  # that these have at most
DEMUX_ERRORS = 20  # in a row, after which a file is taken to have ended

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
    source: AnyPath | AudioFile,
    *,
    start: float = 0.0,
    seconds: float | None = None,
    sample_rate: int = SAMPLE_RATE,
) -> Audio:
    """Decode a stretch of a file, and no more than that.

    Parameters
    ----------
    source : str, bytes, os.PathLike or AudioFile
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
    with opened(source) as file:
        return _checked(_read(file, start, seconds, sample_rate), file.path, seconds)


def read_excerpt(
    source: AnyPath | AudioFile, seconds: float, *, pieces: int = 1, sample_rate: int = SAMPLE_RATE
) -> Audio:
    """Decode pieces that are evenly spread over a file, or all of it when it is shorter.

    One piece is the middle. The middle is also read instead of several pieces when the container
    stores no duration, or when a piece cannot be reached. When the duration is unknown, or so wrong
    that hardly any audio is found, the packets of the file are counted, and the middle of them is
    read.

    Parameters
    ----------
    source : str, bytes, os.PathLike or AudioFile
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
    with opened(source) as file:
        audio = _read_pieces(file, seconds, pieces, sample_rate) if pieces > 1 else None
        if audio is None or audio.seconds < seconds / 2:
            audio = _read(file, None, seconds, sample_rate)
        lost = audio.lost
        if audio.duration is None or audio.seconds < min(seconds, audio.duration) / 2:
            middle = max(0.0, (_count_seconds(file) - seconds) / 2)
            others = [_read(file, start, seconds, sample_rate) for start in sorted({middle, 0.0})]
            audio = max(reversed(others), key=lambda other: other.seconds)
            audio = dataclasses.replace(audio, lost=max(lost, audio.lost))
        return _checked(audio, file.path, seconds)


def content_key(source: AnyPath | AudioFile) -> str:
    """Compute a key of the audio in a file, independent of its name, place and tags.

    It is a hash of the length of the stream and of its first packets, as they are stored. Nothing
    is decoded, which takes a millisecond, and tags lie outside of packets. Files of the same length
    that differ only after their first 400 packets (10 s of MP3), or after the first megabyte of
    these (6 s of a WAVE file), share a key.

    Raises
    ------
    NoAudioStreamError, UnreadableAudioError
    """
    with opened(source) as file:
        packets = file.head(KEY_PACKETS, KEY_BYTES)
        stream, codec = file.stream, file.stream.codec_context
        facts = (codec.name, codec.sample_rate, codec.channels, stream.duration, stream.time_base)
        digest = hashlib.sha256(" ".join(map(str, facts)).encode())
        for packet in packets:
            digest.update(memoryview(packet))
        if not any(packet.size for packet in packets):
            raise UnreadableAudioError(
                f"{shown(file.path)} has no audio that can be read; replace it with an intact copy."
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


def _read(file: AudioFile, start: float | None, seconds: float | None, sample_rate: int) -> Audio:
    """Decode as `read` does, of any length; `start` None means the middle."""
    audio = None
    if start is None or start > PREROLL_SECONDS:
        file.rewind()
        audio = _decode(file, start, seconds, sample_rate, seek=True)
    if audio is None:  # at the beginning, or seeking does not reach it
        file.rewind()
        audio = _decode(file, start, seconds, sample_rate, seek=False)
    return audio  # type: ignore[return-value]  # without a seek it is never None


def _read_pieces(file: AudioFile, seconds: float, pieces: int, sample_rate: int) -> Audio | None:
    """Decode evenly spread pieces; None if the file is too short or one cannot be reached."""
    duration = _duration(file.container, file.stream)
    if duration is None or duration <= seconds:
        return None
    length = seconds / pieces
    parts = []
    for k in range(pieces):
        start = (k + 0.5) * duration / pieces - length / 2
        part = _decode(file, start, length, sample_rate, seek=True, roughly=True)
        if part is None:
            return None
        parts.append(part)
    samples = np.concatenate([part.samples for part in parts])
    return Audio(samples, sample_rate, parts[0].start, duration, sum(part.lost for part in parts))


def _decode(
    file: AudioFile,
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
    duration = _duration(file.container, file.stream)
    roughly = roughly or start is None
    if start is None:
        start = max(0.0, ((duration or 0.0) - (seconds or 0.0)) / 2)
    end = math.inf if seconds is None else start + seconds
    short = file.stream.codec_context.name in SHORT_PREROLL_CODECS
    preroll = SHORT_PREROLL_SECONDS if short else PREROLL_SECONDS
    target = _ticks(file.stream, max(0.0, start - preroll))
    seek = seek and start > PREROLL_SECONDS
    if seek and not file.seek(target, fast=roughly and start > FAST_SEEK_FROM):
        return None

    mixer = Downmixer(sample_rate)
    begin = start  # seconds, of the first sample
    reached = start  # seconds, up to where all is decoded or counted as lost
    lost = 0.0
    for now, then, frame in _timed_frames(file, target, math.nan if seek else 0.0):
        if start < now <= reached < then <= end:  # most frames: all of it is wanted
            mixer.add(frame)
            reached = then
            continue
        rate, size = frame.sample_rate, frame.samples
        if math.isnan(now) or (seek and mixer.empty and now > start + 0.5 / rate):
            return None
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
    if expected > reached + EDGE_TOLERANCE and not _duration_is_estimated(file):
        lost += expected - reached
    samples = mixer.finish(None if seconds is None else round(seconds * sample_rate))
    return Audio(samples, sample_rate, begin, duration, lost)


def _ticks(stream: av.AudioStream, seconds: float) -> int:
    """Return the time stamp of a position in a stream."""
    return (stream.start_time or 0) + int(min(seconds / float(stream.time_base or 1), 2.0**60))


def _timed_frames(
    file: AudioFile, first: int, now: float
) -> Iterator[tuple[float, float, av.AudioFrame]]:
    """Yield the times, in seconds, at which each frame from a tick on begins and ends, and it.

    Packets that cannot be decoded are skipped. Frames follow each other without a gap unless a time
    stamp is later than that. The first begins at `now`; not a number, where that is not known,
    lasts until the first time stamp.
    """
    begin, tick = file.stream.start_time or 0, float(file.stream.time_base or 1)
    decode = file.stream.codec_context.decode
    errors = 0
    while errors < DEMUX_ERRORS:
        try:
            for packet in file.packets():
                errors = 0
                pts = packet.pts
                if pts is not None and pts + (packet.duration or 0) < first:
                    continue
                try:
                    frames = decode(packet)
                except LIBAV_ERRORS as error:
                    check_memory(error)
                    continue
                for frame in frames:
                    rate, pts = frame.sample_rate, frame.pts
                    if rate not in POSSIBLE_RATES:
                        continue
                    if pts is not None:
                        stamp = (pts - begin) * tick
                        if not stamp <= now + GAP_TOLERANCE:
                            now = stamp
                    then = now + frame.samples / rate
                    yield now, then, frame
                    now = then
            return
        except LIBAV_ERRORS as error:
            check_memory(error)
            errors += 1


def _duration(container: InputContainer, stream: av.AudioStream) -> float | None:
    """Return the duration that the container stores, in seconds."""
    if stream.duration and stream.duration > 0 and stream.time_base:
        return float(stream.duration * stream.time_base)
    if container.duration and container.duration > 0:
        return container.duration / av.time_base
    return None


def _duration_is_estimated(file: AudioFile) -> bool:
    """Whether a duration is only an estimate from the bit rate, as for mp3 without a header.

    Such streams count time in ticks finer than samples, and an estimate is hardly ever a whole
    number of samples.
    """
    stream = file.stream
    if file.container.format.name in WITHOUT_HEADER:
        return True
    if not stream.duration or not stream.time_base or stream.time_base * stream.rate >= 1:
        return False
    return (stream.duration * stream.time_base * stream.rate).denominator != 1


def _count_seconds(file: AudioFile) -> float:
    """Return the duration of the packets of a file, in seconds, without decoding them."""
    file.rewind()
    ticks = 0
    try:
        for packet in file.packets():
            ticks += packet.duration or 0
    except LIBAV_ERRORS as error:
        check_memory(error)  # else the file ends there
    return float(ticks * (file.stream.time_base or 0))
