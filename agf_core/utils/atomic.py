"""Write files whole or not at all, and check that they are read as they were written."""

import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

DIGEST_SIZE = 32  # bytes, of a checksum
ABANDONED = 3600.0  # seconds after which nobody writes a file any more
RETRY_PAUSES = (0.05, 0.1, 0.2, 0.4)  # seconds, between attempts to replace a file that is open


@contextmanager
def written(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a new file that replaces `path` once it is written, and is deleted on an error.

    It has the owner, the group and the mode of a file that it replaces (`carry_over`).

    A process that is killed meanwhile leaves ``.<name>.<8 digits>.partial`` behind, see
    `remove_abandoned`.

    Parameters
    ----------
    path : Path
        Its folder is created when needed.
    durable : bool
        Whether the file is flushed to the disk before it replaces `path`: then a power failure,
        too, leaves the old file or the new one.

    Raises
    ------
    OSError
        When it cannot be written, with its name; an old file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.urandom(4).hex()}.partial")
    try:
        with partial.open("xb") as file:  # never the target of a link
            yield file
            file.flush()
            if durable:
                sync(file.fileno())
        if path.is_file() and not path.is_symlink():
            carry_over(path, partial)
        replace(partial, path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # errors of a full disk name no file
        raise


def remove_abandoned(path: Path) -> None:
    """Remove what killed processes have left of writing a file, an hour ago or earlier.

    Parameters
    ----------
    path : Path
        The file that `written` was to replace. Only its folder is searched.
    """
    begun = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.partial")
    with suppress(OSError):
        for partial in path.parent.iterdir():
            if begun.fullmatch(partial.name) and time.time() - partial.stat().st_mtime > ABANDONED:
                partial.unlink()


def replace(source: str | bytes | Path, target: str | bytes | Path) -> None:
    """Rename a file over another; wait a moment where another program has that one open.

    Windows and some network shares refuse to replace an open file.

    Raises
    ------
    OSError
        When it cannot be replaced; both files stay.
    """
    for pause in RETRY_PAUSES:
        try:
            os.replace(source, target)
            return
        except OSError as error:
            if not isinstance(error, PermissionError) and error.errno != errno.EBUSY:
                raise
            time.sleep(pause)
    os.replace(source, target)


def carry_over(source: str | bytes | Path, target: str | bytes | Path) -> None:
    """Give a new file owner, group, extended attributes and mode of one that it replaces.

    Each as far as the system allows: shares of other systems, and owners that differ, forbid some
    of it, and the content alone matters.

    Raises
    ------
    OSError
        When the old file is not there.
    """
    status = os.stat(source)
    give_owner(target, status)
    names = _attempt("listxattr", source)
    for name in names or ():
        _attempt("setxattr", target, name, _attempt("getxattr", source, name))
    for name in _attempt("listxattr", target) or () if names is not None else ():
        if name not in names:  # the folder's default access control list
            _attempt("removexattr", target, name)
    _attempt("chmod", target, stat.S_IMODE(status.st_mode))
    _attempt("chflags", target, getattr(status, "st_flags", 0))


def give_owner(target: str | bytes | Path, status: os.stat_result) -> None:
    """Give a file the owner and the group of another one, each as far as the system allows."""
    _attempt("chown", target, status.st_uid, -1)
    _attempt("chown", target, -1, status.st_gid)


def _attempt(call: str, *arguments: Any) -> Any:
    """Make a system call of `os`; return None where it fails or this system lacks it."""
    with suppress(OSError, AttributeError, NotImplementedError, TypeError):
        return getattr(os, call)(*arguments)
    return None


def sync(number: int) -> None:
    """Force an open file onto the disk, where its file system can do that.

    Parameters
    ----------
    number : int
        Its descriptor; Windows needs one that is open for writing.
    """
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise


def read(path: Path, most: int) -> bytes:
    """Read a file of at most `most` bytes.

    Raises
    ------
    OSError
        When it cannot be read, is larger, or is a pipe or a device, which have no end.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a file")
    if status.st_size > most:
        raise OSError(errno.EFBIG, "it is too large")
    return path.read_bytes()


def sealed(content: bytes, name: str) -> bytes:
    """Return content followed by a checksum of its name and itself."""
    import hashlib  # not for those that only start beets

    return content + hashlib.sha256(name.encode() + b"\0" + content).digest()


def unsealed(content: bytes, name: str) -> bytes:
    """Return content without its checksum; raise `ValueError` where that is wrong."""
    inner = content[:-DIGEST_SIZE]
    if sealed(inner, name) != content:
        raise ValueError("its checksum is wrong")
    return inner
