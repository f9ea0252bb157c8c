"""Every error that agf_core raises on purpose, and how a file's name is shown in a message."""

import errno
import os

LONGEST_MESSAGE = 1_000  # characters


class AgfError(Exception):
    """Base of all errors of agf_core; the message is one sentence for the user."""


class AudioError(AgfError):
    """A file has no usable audio; the message names the file."""


class NoAudioStreamError(AudioError):
    """A file can be read but has no sound: a picture, a silent film."""


class UnreadableAudioError(AudioError):
    """A file is missing, forbidden, empty, not audio at all, or damaged beyond use."""


class AudioTooShortError(AudioError):
    """A file has less sound than a prediction needs."""


class SilentAudioError(AudioError):
    """A file is digital silence, or nearly."""


class DescriptorError(AgfError):
    """No descriptors can be computed from the sound."""


class CorpusError(AgfError, ValueError):
    """A model cannot be trained on a set of tracks as it is; the message says why."""


class BundleError(AgfError):
    """A model cannot be used; the message names it and says what to do.

    Text that comes from the model itself is shown so that it cannot harm a terminal.
    """

    def __init__(self, message: str) -> None:
        line = message if message.isprintable() else repr(message)[1:-1]
        super().__init__(line[:LONGEST_MESSAGE])


class CacheError(AgfError):
    """Features cannot be stored; the message says where and why."""


class CheckpointError(AgfError):
    """A checkpoint cannot be continued from, or written; the message says why and what to do."""


def why_not_opened(path: str | bytes | os.PathLike, error: Exception) -> str:
    """Return a sentence that says why a file cannot be opened."""
    reasons = {errno.ENOENT: "does not exist", errno.EACCES: "may not be read by you"}
    reason = reasons.get(getattr(error, "errno", 0), f"cannot be opened ({error})")
    return f"{shown(path)} {reason}."


def naming(path: str | bytes | os.PathLike, error: str) -> str:
    """Return an error with the file's name before it, unless it names it."""
    return error if shown(path) in error else f"{shown(path)}: {error}"


def shown(path: str | bytes | os.PathLike) -> str:
    """Return a file's name as a message can show it, whatever bytes it is made of."""
    name = os.fsencode(path).decode(errors="backslashreplace")
    return name if name.isprintable() else repr(name)[1:-1]
