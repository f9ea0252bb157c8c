"""What may be wrong with an audio file, and how its name is shown; importing it costs nothing."""

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


def shown(path: str | bytes | os.PathLike) -> str:
    """Return a file's name as a message can show it, whatever bytes it is made of."""
    name = os.fsencode(path).decode(errors="backslashreplace")
    return name if name.isprintable() else repr(name)[1:-1]
