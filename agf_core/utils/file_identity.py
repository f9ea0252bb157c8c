"""Whether a file is still the one it was."""

import os

from agf_core.errors import AnyPath


def file_identity(path: AnyPath) -> bytes:
    """Return 16 bytes of a file's path, size and time of change; `OSError` where it is not there.

    They are others as soon as the file is changed or moved.
    """
    status = os.stat(path)
    facts = b"\0".join(
        [os.fsencode(path), str(status.st_size).encode(), str(status.st_mtime_ns).encode()]
    )
    import hashlib  # not for those that only start beets

    return hashlib.sha256(facts).digest()[:16]
