"""Writing a track's tags so that its file is the old one or the new one at any moment."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import beets
from beets import plugins
from beets.library import FileOperationError, ReadError, WriteError
from beets.util import displayable_path, syspath
from mediafile import MediaFile, UnreadableFileError

from agf_core.utils import atomic

if TYPE_CHECKING:
    from beets.library import Item
    from beets.logging import BeetsLogger

    from beetsplug.agfgenre.summary import Summary

COPY_PREFIX = ".agfgenre-"


def copy_beside(path: str | bytes, run: str) -> str:
    """Return the name of the copy that a run makes of a file, in the same folder.

    It ends like the file, which some formats are known by.
    """
    name = os.fsdecode(path)
    return os.path.join(os.path.dirname(name), COPY_PREFIX + run + os.path.splitext(name)[1])


def genres_in_file(item: Item) -> list[str]:
    """Return the genres of a track's file.

    Raises
    ------
    UnreadableFileError
        If it is not there, or has no tags that can be read.
    """
    return MediaFile(syspath(item.path)).genres or []


def write(item: Item, run: str, genres: Sequence[str] | None = None) -> None:
    """Write a track's tags as `Item.write` does, with the same events for other plugins.

    The tags go into a copy that then takes the file's place. Written in place, as beets does it,
    tags that need more room than there is move all of the music: a process killed just then leaves
    a broken file, and a full disk may. The new file has the owner, the group, the extended
    attributes and the mode of the old one, each as far as the file system allows. A symbolic link
    goes on pointing to it. A file that has several names (hard links) would get out of step with
    the other names: that alone is written in place.

    Parameters
    ----------
    item : Item
    run : str
        Part of the copy's name.
    genres : sequence of str, optional
        Genres that the file gets instead of the item's.

    Raises
    ------
    OSError, ReadError, WriteError
        When it cannot be written: the file is as it was.
    """
    path = os.path.realpath(syspath(item.path))
    if os.stat(path).st_nlink > 1:
        item.write(tags=None if genres is None else {"genres": list(genres)})
        return
    copy = copy_beside(path, run)
    tags = {field: value for field, value in dict(item).items() if field in item._media_fields}
    if genres is not None:
        tags["genres"] = list(genres)
    plugins.send("write", item=item, path=item.path, tags=tags)
    try:
        _copy(path, copy)
        _tag(item, copy, tags)
        _sync(copy)
        atomic.replace(copy, path)
    except BaseException:
        with suppress(OSError):
            os.remove(copy)
        raise
    item.mtime = item.current_mtime()
    plugins.send("after_write", item=item, path=item.path)


def try_write(
    item: Item,
    run: str,
    summary: Summary,
    log: BeetsLogger,
    genres: Sequence[str] | None = None,
) -> None:
    """Write a track's tags; name and count it if that cannot be done."""
    try:
        write(item, run, genres)
    except (FileOperationError, OSError) as error:
        if os.path.exists(syspath(item.path)):
            summary.unwritten += 1
        else:
            summary.missing += 1
        path = displayable_path(item.path)
        copy = copy_beside(os.path.realpath(syspath(item.path)), run)
        reason = _reason(error, copy, path)
        if isinstance(_cause(error), PermissionError):
            reason += "; allow writing to it and its folder"
        log.error(
            "{} cannot be written ({}); the library is changed, the file is not", path, reason
        )


def _reason(error: Exception, *paths: str) -> str:
    """Return why a file cannot be written, without its paths."""
    cause = _cause(error)
    if cause is not None:
        return str(cause.strerror)
    reason = str(getattr(error, "reason", error))
    for path in paths:
        reason = reason.removeprefix(f"{path}: ").replace(path, "the file")
    return reason


def _cause(error: BaseException | None) -> OSError | None:
    """Return what the system had against it, if it was the system."""
    while error is not None:
        if isinstance(error, OSError) and error.strerror:
            return error
        error = error.__cause__ or error.__context__
    return None


def _copy(path: str | bytes, copy: str) -> None:
    """Copy a file's content, and carry over what else the system lets one carry over.

    Shares of other systems, and owners that differ, forbid some of it; the content alone matters.
    """
    shutil.copyfile(path, copy)
    status = os.stat(path)
    _attempt("chown", copy, status.st_uid, -1)
    _attempt("chown", copy, -1, status.st_gid)
    for name in _attempt("listxattr", path) or ():
        _attempt("setxattr", copy, name, _attempt("getxattr", path, name))
    _attempt("utime", copy, (status.st_atime, status.st_mtime))
    _attempt("chmod", copy, stat.S_IMODE(status.st_mode))
    _attempt("chflags", copy, getattr(status, "st_flags", 0))


def _attempt(call: str, *arguments: Any) -> Any:
    """Make a system call of `os`; return None where it fails or this system lacks it."""
    with suppress(OSError, AttributeError, NotImplementedError, TypeError):
        return getattr(os, call)(*arguments)
    return None


def _tag(item: Item, copy: str, tags: dict[str, Any]) -> None:
    try:
        file = MediaFile(copy, id3v23=beets.config["id3v23"].get(bool))
    except UnreadableFileError as error:
        raise ReadError(item.path, error) from error
    file.update(tags)
    try:
        file.save()
    except UnreadableFileError as error:
        raise WriteError(item.path, error) from error


def _sync(copy: str) -> None:
    """Force the copy onto the disk before it becomes the only one: the power may fail."""
    with open(copy, "r+b") as file:
        atomic.sync(file.fileno())
