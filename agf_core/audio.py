"""From a file to samples: mono, at one rate, whole or an excerpt, by way of libav (PyAV).

What a file holds is told from its content, not its name. libav gets a Python file object, never a
path, and is forbidden every protocol: odd names mean nothing to it, and no file can make it open
another file or a network connection.
"""

import dataclasses
import errno
import hashlib
import io
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import av
import av.error
import numpy as np
from av.container import InputContainer

from agf_core.constants import SAMPLE_RATE, SHORTEST_SECONDS
from agf_core.errors import (
    AudioError,  # noqa: F401  # whoever reads files finds all of their errors here
    AudioTooShortError,
    NoAudioStreamError,
    SilentAudioError,  # noqa: F401
    UnreadableAudioError,
    shown,
)

Path = str | bytes | os.PathLike

PREROLL = 0.5  # seconds decoded and dropped after a seek: a codec needs them to find its feet
FAST_SEEK_FROM = (
    1800.0  # seconds; a middle after this is sought by proportion, where that is quicker
)
GAP_TOLERANCE = 0.015  # seconds by which time stamps may be off before something counts as lost
EDGE_TOLERANCE = 0.25  # seconds that may be missing at a file's ends: codecs need to get going
BATCH = 1 << 16  # samples mixed down at a time
READ_SIZE = 1 << 16  # bytes read at a time
RATES = range(1_000, 6_000_000)  # hertz that a stream may have; DSD reaches 2.8 million
LOUDEST = 4.0  # times full scale; damaged mp3 frames may decode to thousands
KEY_BYTES = 1 << 20  # of a stream, of which its key is made
DEMUX_ERRORS = 20  # in a row, after which a file is taken to have ended

# The containers that are opened: all that may hold sound, and pictures and films, of which it can
# then be said that they hold none. Left out is all that refers to other files or hosts (playlists,
# concatenations, session descriptions), and what turns any text or bytes into media.
CONTAINERS = (
    "aa,aac,aax,ac3,aea,aiff,amr,amrnb,amrwb,ape,asf,asf_o,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,"
    "iff,ircam,matroska,mlp,mmf,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,nut,ogg,oma,qcp,"
    "rm,rso,shn,sox,spdif,tak,truehd,tta,voc,vqf,w64,wav,webm,wsd,wtv,wv,xwma,"
    "bmp_pipe,gif,gif_pipe,image2,jpeg_pipe,mjpeg,mpegvideo,png_pipe,svg_pipe,tiff_pipe,webp_pipe"
)

# Codecs with a checksum in each frame; without it being checked, damaged ones decode to noise.
CHECKSUMMED = ("flac", "tta", "wavpack")

# Containers in which libav's seeking arrives elsewhere than it says: mpc8 by a packet, 1.7 s.
UNSEEKABLE = ("mpc8",)

# What PyAV raises on damaged files: libav's own errors, and Python's for values out of bounds.
LIBAV_ERRORS: tuple[type[Exception], ...] = (av.error.FFmpegError, OSError, ValueError)
LIBAV_ERRORS += (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError)

# Sample formats: how numpy sees them, and what their full scale is. Planar ones end in p.
FORMATS: dict[str, tuple[np.dtype, float]] = {
    "u8": (np.dtype("u1"), 2.0**7),
    "s16": (np.dtype("i2"), 2.0**15),
    "s32": (np.dtype("i4"), 2.0**31),
    "s64": (np.dtype("i8"), 2.0**63),
    "flt": (np.dtype("f4"), 1.0),
    "dbl": (np.dtype("f8"), 1.0),
}


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


def read_excerpt(path: Path, seconds: float, *, sample_rate: int = SAMPLE_RATE) -> Audio:
    """Read the middle of a file, or all of it when it is shorter.

    When the container tells no duration, or one so wrong that hardly anything is in the middle,
    the file's packets are counted, and the middle of what is really there is read.

    Parameters
    ----------
    path : str, bytes or os.PathLike
    seconds : float
        How much to read.
    sample_rate : int
        Hertz, to which the samples are converted.

    Returns
    -------
    Audio
        ``lost`` is that of the middle by the container's word, also when another part was read.

    Raises
    ------
    NoAudioStreamError, UnreadableAudioError, AudioTooShortError
    """
    _check_seconds(seconds)
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
    with _opened(path) as (container, stream):
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
        with _opened(path) as (container, stream):
            audio = _decode(container, stream, start, seconds, sample_rate, seek=True)
    if audio is None:  # it begins at the beginning, or seeking did not get there
        with _opened(path) as (container, stream):
            audio = _decode(container, stream, start, seconds, sample_rate, seek=False)
    return audio  # type: ignore[return-value]  # without a seek it is never None


def _decode(
    container: InputContainer,
    stream: av.AudioStream,
    start: float | None,
    seconds: float | None,
    sample_rate: int,
    seek: bool,
) -> Audio | None:
    """Decode a stretch of an open file; None if a seek was asked for and did not get there."""
    duration = _duration(container, stream)
    middle = start is None
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
        if middle and start > FAST_SEEK_FROM:
            container.flags = container.flags | av.container.Flags.fast_seek.value  # type: ignore
        try:
            container.seek(target, stream=stream)
        except LIBAV_ERRORS:
            return None

    mixer = _Mixer(sample_rate)
    now = None if seek else 0.0  # seconds, at which the frame begins
    begin = start  # seconds, of the first sample
    reached = start  # seconds, up to where all is decoded or counted as lost
    lost = 0.0
    for frame in _frames(container, stream, target):
        told = None if frame.pts is None else (frame.pts - origin) * tick
        if told is not None and (now is None or told > now + GAP_TOLERANCE):
            now = told
        if now is None or (seek and mixer.empty and now > start):
            return None
        rate, size = frame.sample_rate, frame.samples
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
    if promised > reached + EDGE_TOLERANCE and not _guessed(stream):
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
                    frames = packet.decode()
                except LIBAV_ERRORS:
                    continue
                for frame in frames:
                    if frame.sample_rate in RATES:  # type: ignore
                        yield frame  # type: ignore
            return
        except LIBAV_ERRORS:
            errors += 1


class _Mixer:
    """Makes frames of any kind into mono samples at one rate, a batch at a time.

    Mono is the plain average of the channels, as in librosa: libswresample's own matrices weigh
    channels by their place and leave the bass channel out, and a recording's level would depend
    on its layout.
    """

    def __init__(self, sample_rate: int):
        self.sample_rate = sample_rate  # hertz
        self.kind = ("", 0, 0)  # sample format, channels, hertz of what comes in
        self.batch = av.AudioFifo()  # of frames of that kind
        self.done: list[np.ndarray] = []  # mono, at our rate
        self.resampler: av.AudioResampler | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing has been added."""
        return not self.kind[0]

    def add(self, frame: av.AudioFrame, first: int, last: int) -> None:
        """Take the samples from first up to last of a frame."""
        kind = (frame.format.name, frame.layout.nb_channels, frame.sample_rate)
        if kind != self.kind:  # only at the start, and where streams are chained
            self._mix()
            self._drain()
            self.kind, self.batch = kind, av.AudioFifo()
        part = last - first < frame.samples  # only where the stretch begins and ends
        if part:
            self._mix()
        frame.pts = None  # or the batch would have opinions about time
        self.batch.write(frame)
        if part:
            self._mix(slice(first, last))
        elif self.batch.samples >= BATCH:
            self._mix()

    def finish(self, n: int | None) -> np.ndarray:
        """Return all samples, but at most n."""
        self._mix()
        self._drain()
        return np.concatenate([np.zeros(0, np.float32), *self.done])[:n]

    def _mix(self, part: slice = slice(None)) -> None:
        """Average the channels of the batch, or of a part of it, and convert its rate."""
        frame = self.batch.read()
        if frame is None:
            return
        name, channels, rate = self.kind
        dtype, full_scale = FORMATS[name.removesuffix("p")]
        planes, step = (channels, 1) if frame.format.is_planar else (1, channels)
        # Not frame.to_ndarray(): where there are eight planes, PyAV counts nine.
        values = [np.frombuffer(p, dtype, frame.samples * step) for p in frame.planes[:planes]]  # type: ignore
        mono = np.zeros(len(range(frame.samples)[part]), np.float32)
        for channel in range(channels):
            plane = values[channel] if step == 1 else values[0][channel::step]
            mono += plane[part].astype(np.float32, copy=False)
        mono *= 1 / (channels * full_scale)
        if dtype.kind == "u":
            mono -= 1
        mono.clip(-LOUDEST, LOUDEST, out=mono)
        mono[np.isnan(mono)] = 0
        if rate == self.sample_rate:
            self.done.append(mono)
            return
        if self.resampler is None:
            self.resampler = av.AudioResampler(format="fltp", layout="mono", rate=self.sample_rate)
        frame = av.AudioFrame.from_ndarray(mono[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = rate
        self.done += [out.to_ndarray()[0] for out in self.resampler.resample(frame)]

    def _drain(self) -> None:
        """Get out what the resampler still holds."""
        if self.resampler is not None:
            self.done += [out.to_ndarray()[0] for out in self.resampler.resample(None)]
            self.resampler = None


def _duration(container: InputContainer, stream: av.AudioStream) -> float | None:
    """Return how long the container says the sound is, in seconds."""
    if stream.duration and stream.duration > 0 and stream.time_base:
        return float(stream.duration * stream.time_base)
    if container.duration and container.duration > 0:
        return container.duration / av.time_base
    return None


def _guessed(stream: av.AudioStream) -> bool:
    """Tell whether a duration is only libav's guess by the bit rate, as for mp3 without a header.

    Such streams count time in ticks finer than samples, and a guess is no whole number of samples.
    """
    if not stream.duration or not stream.time_base or stream.time_base * stream.rate >= 1:
        return False
    return (stream.duration * stream.time_base * stream.rate).denominator != 1


def _count_seconds(path: Path) -> float:
    """Return how long a file's packets last, in seconds; quicker than decoding them."""
    with _opened(path) as (container, stream):
        ticks = 0
        try:
            for packet in container.demux(stream):
                ticks += packet.duration or 0
        except LIBAV_ERRORS:
            pass  # the file ends there
        return float(ticks * (stream.time_base or 0))


class _File(io.FileIO):
    """A file as libav wants it: nameless, and answering errors, since PyAV prints raised ones."""

    def __init__(self, path: Path):
        super().__init__(os.fspath(path))
        self.name = ""  # type: ignore[misc]  # libav would go by it

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; below zero if there is none such."""
        try:
            return super().seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1

    def read(self, size: int | None = -1) -> bytes:
        """Read at most size bytes; nothing where the disk fails, as if the file ended there."""
        try:
            return super().read(size) or b""
        except OSError:
            return b""


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, av.AudioStream]]:
    """Open a file, and find the sound in it."""
    name = shown(path)
    try:
        status = os.stat(path)  # before opening, since to open a pipe waits for a writer
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableAudioError(f"{name} is not a file; give the name of an audio file.")
        file = _File(path)
    except (OSError, ValueError) as error:
        reasons = {errno.ENOENT: "does not exist", errno.EACCES: "may not be read by you"}
        reason = reasons.get(getattr(error, "errno", 0), f"cannot be opened ({error})")
        raise UnreadableAudioError(f"{name} {reason}.") from error

    with file:
        if status.st_size == 0:
            raise UnreadableAudioError(f"{name} is empty; replace it by an intact copy.")
        try:
            container = av.open(
                file,
                "r",
                options={"protocol_whitelist": "none", "format_whitelist": CONTAINERS},
                metadata_errors="replace",  # tags need not be UTF-8
                buffer_size=READ_SIZE,
            )
        except LIBAV_ERRORS as error:
            raise UnreadableAudioError(
                f"{name} is not audio in a format known here, or is too damaged to tell."
            ) from error
        with container:
            stream = container.streams.best("audio")
            if not isinstance(stream, av.AudioStream):
                raise NoAudioStreamError(f"{name} has no sound in it; give an audio file.")
            if not stream.codec_context:
                raise UnreadableAudioError(f"{name} is in a codec not known here; convert it.")
            stream.codec_context.thread_count = 1  # several files at a time are decoded instead
            if stream.codec_context.name in CHECKSUMMED:
                stream.codec_context.options = {"err_detect": "crccheck+explode"}
            try:
                yield container, stream
            except LIBAV_ERRORS as error:
                raise UnreadableAudioError(f"{name} cannot be decoded ({error}).") from error
