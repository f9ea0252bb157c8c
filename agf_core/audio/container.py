"""Open an audio file safely and find its audio stream.

The content of a file decides its format, not its name. libav gets a Python file object, never a
path, and may use no protocol: odd names mean nothing to it, and no file can make it open another
file or a network connection.
"""

import io
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any, TypeAlias, cast

import av
import av.error
from av.container import InputContainer

from agf_core.errors import AnyPath, NoAudioStreamError, UnreadableAudioError, shown, why_not_opened

Packet: TypeAlias = "av.Packet[av.AudioStream]"

MEMORY_NEEDED = 1 << 26  # bytes, far more than a file needs
READ_SIZE = 1 << 16  # bytes read at a time
MOST_READ = 4  # times the size of a file that are counted as read each time that it is opened

# The containers that are opened: all that may hold audio, and pictures and films, so that the error
# can be that they hold none. Excluded are formats that refer to other files or hosts (playlists,
# concatenations, session descriptions) and formats that turn any text or bytes into media.
CONTAINERS = (
    "aa,aac,aax,ac3,aea,aiff,amr,amrnb,amrwb,ape,asf,asf_o,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,"
    "iff,ircam,matroska,mlp,mmf,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,nut,ogg,oma,qcp,"
    "rm,rso,shn,sox,spdif,tak,truehd,tta,voc,vqf,w64,wav,webm,wsd,wtv,wv,xwma,"
    "bmp_pipe,gif,gif_pipe,image2,jpeg_pipe,mjpeg,mpegvideo,png_pipe,svg_pipe,tiff_pipe,webp_pipe"
)

# Containers in which libav seeks to a wrong position: in mpc8 by a packet, 1.7 s.
UNSEEKABLE_CODECS = ("mpc8",)

# Codecs with a checksum in each frame; unless it is checked, damaged frames decode to noise.
CHECKSUMMED = ("flac", "tta", "wavpack")

# Tags need not be UTF-8; PyAV 19 and later accept that by default.
TAGS: dict[str, Any] = (
    {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}
)

FAST_SEEK = cast(int, av.container.Flags.fast_seek.value)  # PyAV's stubs have it wrong

# What PyAV raises on damaged files: libav's own errors, and Python's for values out of bounds.
LIBAV_ERRORS: tuple[type[Exception], ...] = (av.error.FFmpegError, OSError, ValueError)
LIBAV_ERRORS += (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError)


def check_memory(error: BaseException) -> None:
    """Raise `MemoryError` for an error of want of memory that is not the file's fault.

    A damaged file may need absurdly much. If there is some memory, that is so.
    """
    if isinstance(error, MemoryError):
        try:
            bytearray(MEMORY_NEEDED)
        except MemoryError:
            raise MemoryError(str(error)) from error


class ReadCounter:
    """What all threads read: bytes so far, and how many of them wait for the disk just now."""

    def __init__(self) -> None:
        self.bytes = self.waiting = 0
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Count a thread that begins to wait."""
        with self._lock:
            self.waiting += 1

    def end(self, size: int) -> None:
        """Count a thread that has got so many bytes, or none where the disk fails."""
        with self._lock:
            self.waiting -= 1
            self.bytes += size


READ_COUNTER = ReadCounter()


class _File(io.FileIO):
    """A file without a name that returns errors, since PyAV prints those that are raised.

    Attributes
    ----------
    shown : str
        The name as it is shown.
    failure : OSError or None
        The last error of the disk.
    """

    def __init__(self, path: AnyPath):
        super().__init__(os.fspath(path))
        self.name = ""  # libav would use it
        self.shown = shown(path)
        self.failure: OSError | None = None
        self._counted = MOST_READ * os.fstat(self.fileno()).st_size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position and return it, or -1 if there is none such."""
        try:
            return super().seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1

    def read(self, size: int | None = -1) -> bytes:
        """Read at most `size` bytes; none where the disk fails, as if the file ended there."""
        data = b""
        READ_COUNTER.begin()
        try:
            data = super().read(size) or b""
        except OSError as error:
            self.failure = error
        finally:
            # Whoever reads a file over and over gets nowhere.
            counted = min(len(data), self._counted)
            self._counted -= counted
            READ_COUNTER.end(counted)
        return data


@contextmanager
def _blaming_the_disk(file: _File) -> Iterator[None]:
    """Raise an error of the disk as such, not as a damaged file."""
    try:
        yield
    finally:
        if file.failure is not None:
            raise UnreadableAudioError(
                f"{file.shown} cannot be read ({file.failure.strerror}); check the disk or the "
                "network that it is on, and try again."
            ) from file.failure


class AudioFile:
    """An open audio file, of which the audio stream is read.

    Parameters
    ----------
    path : str, bytes or os.PathLike

    Attributes
    ----------
    container : InputContainer
    stream : av.AudioStream

    Raises
    ------
    NoAudioStreamError, UnreadableAudioError
    """

    container: InputContainer
    stream: av.AudioStream

    def __init__(self, path: AnyPath) -> None:
        self.path = path
        self._open = ExitStack()
        self._fresh = False  # whether the next packet is the first one
        self._head: list[Packet] = []  # packets that have been read and not been returned
        self.rewind()

    def __enter__(self) -> "AudioFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn errors of libav and of the disk into those of `agf_core.errors`."""
        with _blaming_the_disk(self._file):
            try:
                yield
            except LIBAV_ERRORS as error:
                check_memory(error)
                raise UnreadableAudioError(
                    f"{shown(self.path)} cannot be decoded ({error}); "
                    "replace it with an intact copy."
                ) from error

    def rewind(self) -> None:
        """Go to the first packet; after others were read, by a new container and decoder."""
        if self._fresh:
            return
        self._open.close()
        self._file = self._open.enter_context(_open_file(self.path))
        try:
            with _blaming_the_disk(self._file):
                self.container = self._open.enter_context(_open_container(self.path, self._file))
                self.stream = _audio_stream(self.path, self.container)
        except BaseException:
            self._open.close()
            raise
        self._fresh, self._head = True, []

    def head(self, n_packets: int, n_bytes: int) -> list[Packet]:
        """Return the first packets, up to a number or size, or to where the file is damaged."""
        self.rewind()
        if not self._head:
            try:
                for packet in self.container.demux(self.stream):
                    self._head.append(packet)
                    n_bytes -= packet.size
                    if n_bytes <= 0 or len(self._head) == n_packets:
                        break
            except LIBAV_ERRORS as error:
                check_memory(error)
        return self._head

    def packets(self) -> Iterable[Packet]:
        """Return the packets from here on."""
        head, self._head, self._fresh = self._head, [], False
        return chain(head, self.container.demux(self.stream))

    def seek(self, target: int, *, fast: bool) -> bool:
        """Move to a time stamp, or a little before it; return whether that was possible.

        Parameters
        ----------
        target : int
            In ticks of the stream.
        fast : bool
            Whether the place may be found by proportion.
        """
        if self.container.format.name in UNSEEKABLE_CODECS:
            return False
        self._fresh, self._head = False, []
        if fast:
            self.container.flags |= FAST_SEEK
        try:
            self.container.seek(target, stream=self.stream)
        except LIBAV_ERRORS as error:
            check_memory(error)
            return False
        return True


@contextmanager
def opened(source: AnyPath | AudioFile) -> Iterator[AudioFile]:
    """Yield a file that is open, or open that of a path meanwhile; errors as in `reading`."""
    with ExitStack() as stack:
        file = source if isinstance(source, AudioFile) else stack.enter_context(AudioFile(source))
        with file.reading():
            yield file


def _open_file(path: AnyPath) -> _File:
    name = shown(path)
    try:
        status = os.stat(path)  # before opening: opening a pipe would wait for a writer
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableAudioError(f"{name} is not a file; give the name of an audio file.")
        if status.st_size == 0:
            raise UnreadableAudioError(f"{name} is empty; replace it with an intact copy.")
        return _File(path)
    except (OSError, ValueError) as error:
        raise UnreadableAudioError(why_not_opened(path, error)) from error


def _open_container(path: AnyPath, file: _File) -> InputContainer:
    name = shown(path)
    try:
        container: InputContainer = av.open(
            file,
            "r",
            options={"protocol_whitelist": "none", "format_whitelist": CONTAINERS},
            **TAGS,
            buffer_size=READ_SIZE,
        )
    except TypeError as error:  # the file need not be to blame
        raise UnreadableAudioError(f"{name} cannot be opened ({error}).") from error
    except LIBAV_ERRORS as error:
        check_memory(error)
        raise UnreadableAudioError(
            f"{name} is not audio in a supported format, or is damaged; "
            "convert it, or replace it with an intact copy."
        ) from error
    return container


def _audio_stream(path: AnyPath, container: InputContainer) -> av.AudioStream:
    """Return the audio stream of a container, its decoder set up."""
    name = shown(path)
    stream = container.streams.best("audio")
    if not isinstance(stream, av.AudioStream):
        raise NoAudioStreamError(f"{name} has no audio stream; give an audio file.")
    if not stream.codec_context:
        raise UnreadableAudioError(f"{name} has a codec that is not supported; convert it.")
    stream.codec_context.thread_count = 1  # several files are decoded at a time instead
    if stream.codec_context.name in CHECKSUMMED:
        stream.codec_context.options = {"err_detect": "crccheck+explode"}
    return stream
