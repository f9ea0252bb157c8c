"""Opening what may hold sound, and finding the sound in it.

What a file holds is told from its content, not its name. libav gets a Python file object, never a
path, and is forbidden every protocol: odd names mean nothing to it, and no file can make it open
another file or a network connection.
"""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av
import av.error
from av.container import InputContainer

from agf_core.errors import NoAudioStreamError, UnreadableAudioError, shown, why_not_opened

Path = str | bytes | os.PathLike

READ_SIZE = 1 << 16  # bytes read at a time

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

# Tags need not be UTF-8. From PyAV 19 on that is so by itself.
TAGS: dict[str, Any] = (
    {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}
)

# What PyAV raises on damaged files: libav's own errors, and Python's for values out of bounds.
LIBAV_ERRORS: tuple[type[Exception], ...] = (av.error.FFmpegError, OSError, ValueError)
LIBAV_ERRORS += (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError)


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
def opened(path: Path) -> Iterator[tuple[InputContainer, av.AudioStream]]:
    """Open a file, and find the sound in it."""
    name = shown(path)
    try:
        status = os.stat(path)  # before opening, since to open a pipe waits for a writer
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableAudioError(f"{name} is not a file; give the name of an audio file.")
        file = _File(path)
    except (OSError, ValueError) as error:
        raise UnreadableAudioError(why_not_opened(path, error)) from error

    with file:
        if status.st_size == 0:
            raise UnreadableAudioError(f"{name} is empty; replace it by an intact copy.")
        try:
            container = av.open(
                file,
                "r",
                options={"protocol_whitelist": "none", "format_whitelist": CONTAINERS},
                **TAGS,
                buffer_size=READ_SIZE,
            )
        except TypeError as error:  # the file need not be to blame
            raise UnreadableAudioError(f"{name} cannot be opened ({error}).") from error
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
