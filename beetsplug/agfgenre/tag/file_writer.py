"""Writing a track's tags so that its file is the old one or the new one at any moment."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

import beets
from beets import plugins
from beets.library import FileOperationError, ReadError, WriteError
from beets.util import displayable_path, syspath
from mediafile import MediaFile, UnreadableFileError

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


def write(item: Item, run: str) -> None:
    """Write a track's tags as `Item.write` does, with the same events for other plugins.

    The tags go into a copy that then takes the file's place. Written in place, as beets does it,
    tags that need more room than there is move all of the music: a process killed just then leaves
    a broken file, and a full disk may. The new file has the mode, the owner where that may be set,
    and the extended attributes of the old one. A symbolic link goes on pointing to it. A file that
    has several names (hard links) would get out of step with the other names: that alone is
    written in place.

    Raises
    ------
    OSError, ReadError, WriteError
        When it cannot be written: the file is as it was.
    """
    path = os.path.realpath(syspath(item.path))
    if os.stat(path).st_nlink > 1:
        item.write()
        return
    copy = copy_beside(path, run)
    tags = {field: value for field, value in dict(item).items() if field in item._media_fields}
    plugins.send("write", item=item, path=item.path, tags=tags)
    try:
        _copy(path, copy)
        _tag(item, copy, tags)
        _settle_on_disk(copy)
        os.replace(copy, path)
    except BaseException:
        with suppress(OSError):
            os.remove(copy)
        raise
    item.mtime = item.current_mtime()
    plugins.send("after_write", item=item, path=item.path)


def try_write(item: Item, run: str, summary: Summary, log: BeetsLogger) -> None:
    """Write a track's tags; name and count it if that cannot be done."""
    try:
        write(item, run)
    except (FileOperationError, OSError) as error:
        if os.path.exists(syspath(item.path)):
            summary.unwritten += 1
        else:
            summary.missing += 1
        path = displayable_path(item.path)
        copy = copy_beside(os.path.realpath(syspath(item.path)), run)
        reason = _reason(error, copy, path)
        if isinstance(_cause(error), PermissionError):
            reason += ": neither it nor its folder may be closed to writing"
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
    shutil.copyfile(path, copy)
    status = os.stat(path)
    with suppress(OSError, AttributeError):  # only root may give files away; not on Windows
        os.chown(copy, status.st_uid, status.st_gid)
    shutil.copystat(path, copy)


def _tag(item: Item, copy: str, tags: dict) -> None:
    try:
        file = MediaFile(copy, id3v23=beets.config["id3v23"].get(bool))
    except UnreadableFileError as error:
        raise ReadError(item.path, error) from error
    file.update(tags)
    try:
        file.save()
    except UnreadableFileError as error:
        raise WriteError(item.path, error) from error


def _settle_on_disk(copy: str) -> None:
    """See that the copy is on the disk before it is the only one, should the power fail."""
    with open(copy, "rb") as file:
        os.fsync(file.fileno())
