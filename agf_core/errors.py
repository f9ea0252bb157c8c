"""Errors that agf_core raises on purpose, and text in messages."""

import errno
import os
import unicodedata
from typing import Any

AnyPath = str | bytes | os.PathLike[Any]

LONGEST_MESSAGE = 1_000  # characters
LONGEST_PATH = 4_096
JOINERS = "\u200c\u200d"  # which some scripts need, and which harm nothing


class AgfError(Exception):
    """Base of all errors of agf_core; the message is one sentence for the user."""


class AudioError(AgfError):
    """A file has no usable audio; the message names the file."""


class NoAudioStreamError(AudioError):
    """A file can be read but has no audio stream: a picture, a silent film."""


class UnreadableAudioError(AudioError):
    """A file is missing, forbidden, empty, not audio at all, or damaged beyond use."""


class AudioTooShortError(AudioError):
    """A file has less audio than a prediction needs."""


class SilentAudioError(AudioError):
    """A file is digital silence, or nearly so."""


class DescriptorError(AgfError):
    """No descriptors can be computed from the audio."""


class CorpusError(AgfError, ValueError):
    """A model cannot be trained on a set of tracks; the message gives the reason."""


class BundleError(AgfError):
    """A model cannot be used; the message has its name and what to do.

    Text from the model itself is escaped, so that it cannot harm a terminal.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class CacheError(AgfError):
    """Features cannot be stored; the message has the file and the reason."""


class CheckpointError(AgfError):
    """A checkpoint cannot be used or written; the message has the reason and what to do."""


def why_not_opened(path: AnyPath, error: Exception) -> str:
    """Return a sentence on why a file cannot be opened."""
    reasons = {errno.ENOENT: "does not exist", errno.EACCES: "may not be read by you"}
    reason = reasons.get(getattr(error, "errno", 0), f"cannot be opened ({error})")
    return f"{shown(path)} {reason}."


def why_not_written(path: AnyPath, error: OSError) -> str:
    """Return a sentence on why a file or folder cannot be written, and what to do."""
    reason = f"{shown(path)} cannot be written ({error.strerror})"
    return f"{reason}; make room there or allow writing, and run again"


def naming(path: AnyPath, error: str) -> str:
    """Return an error with the name of the file before it, unless it contains it."""
    return error if shown(path) in error else f"{shown(path)}: {error}"


def shown(path: AnyPath) -> str:
    """Return the name of a file as printable text, whatever bytes it consists of."""
    return printable(os.fsencode(path).decode(errors="backslashreplace"), LONGEST_PATH)


def printable(text: str, longest: int = LONGEST_MESSAGE) -> str:
    """Return text as one line that neither a terminal nor a page can be harmed by.

    Control characters, line breaks, marks of direction and what is no text are escaped; a long text
    is cut off.
    """
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return cut if cut.isprintable() else "".join(map(_printable, cut))


def _printable(character: str) -> str:
    harmless = character.isprintable() or character in JOINERS
    if harmless or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode("ascii")
