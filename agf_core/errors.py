"""What may be wrong with an audio file, and how its name is shown; importing it costs nothing."""

import errno
import os


class AudioError(Exception):
    """No usable audio in a file; the message is one sentence that names the file."""


class NoAudioStreamError(AudioError):
    """A file that can be read but has no sound: a picture, a silent film."""


class UnreadableAudioError(AudioError):
    """A file that is missing, forbidden, empty, not audio at all, or damaged beyond use."""


class AudioTooShortError(AudioError):
    """A file with less sound than a prediction needs."""


class SilentAudioError(AudioError):
    """A file of digital silence, or nearly."""


class DescriptorError(Exception):
    """Sound of which no descriptors can be made; the message is one sentence."""


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


class CorpusError(ValueError):
    """A corpus cannot be learnt from as it is; the message says why."""


LONGEST_MESSAGE = 1_000  # characters


class BundleError(Exception):
    """A model cannot be used; the message is one line that names it and the way out.

    What the model itself says in it may be anything, and is shown so that a terminal can bear it.
    """

    def __init__(self, message: str) -> None:
        line = message if message.isprintable() else repr(message)[1:-1]
        super().__init__(line[:LONGEST_MESSAGE])


class CacheError(Exception):
    """Features cannot be kept; the message says where and why."""


class CheckpointError(Exception):
    """A checkpoint cannot be gone on from, or kept; the message says why and what to do."""
