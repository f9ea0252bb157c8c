"""Errors of the training commands."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile

from av.error import FFmpegError

from agf_core.errors import AgfError, AudioError


class RunError(AgfError):
    """An experiment cannot go on; the message is a line with the reason and the remedy."""


class CollectionError(AgfError, ValueError):
    """A collection that cannot be used; the message is a line that names the file and a remedy."""


def leave_to_the_sound(error: AudioError) -> None:
    """Raise a `RunError` where it is not the sound of a file that an error is about.

    A file that is gone or may not be read, a disk that fails, and lack of memory are no reason to
    go on without a track: the next one has the same fate.
    """
    cause = error.__cause__
    if isinstance(cause, FFmpegError) or not isinstance(cause, OSError | MemoryError):
        return
    reason = str(error) if isinstance(cause, OSError) else "Memory ran out while a file was read."
    raise RunError(
        f"{reason} What is finished is kept: mend that, and run the command again"
    ) from error


DAMAGE = (ValueError, KeyError, TypeError, EOFError, BadZipFile, zlib.error)
"""What reading a damaged file of JSON or of arrays raises."""


@contextmanager
def undamaged(path: Path, remedy: str, *others: type[Exception]) -> Iterator[None]:
    """Turn what reading a damaged file raises into a `RunError` that names it.

    Parameters
    ----------
    remedy : str
        What the user can do.
    others : type of Exception
        What it raises besides `DAMAGE`.
    """
    kinds: tuple[type[Exception], ...] = (*DAMAGE, *others)
    try:
        yield
    except kinds as error:
        if isinstance(error, AgfError):
            raise
        raise RunError(f"{path} is damaged ({' '.join(str(error).split())}); {remedy}") from error
