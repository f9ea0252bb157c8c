"""Writing a track's tags so that its file is the old one or the new one at any moment."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Self

import beets
from beets import plugins
from beets.library import FileOperationError, ReadError, WriteError
from beets.util import displayable_path, syspath
from mediafile import MediaFile, UnreadableFileError
from mutagen import MutagenError
from mutagen.apev2 import APEv2File

from agf_core.utils import atomic
from beetsplug.agfgenre.tag.overlay import Overlay
from beetsplug.agfgenre.tag.rollback import Entry, RollbackJournal, locked

if TYPE_CHECKING:
    from beets.library import Item
    from beets.logging import BeetsLogger
    from mutagen import PaddingInfo

    from beetsplug.agfgenre.summary import Summary

COPY_PREFIX = ".agfgenre-"
# Writing in place writes what changes three times. More than this is copied: bytes, a part of the
# file, and what is always little.
MOST_CHANGED = 4 << 20
SHARE_CHANGED = 4
FEW_CHANGED = 64 << 10
# By a folder that cannot be written, a sticky one, a file that is a mount point, and by shares that
# take no names like the copy's, or rename nothing.
REPLACING_FORBIDDEN = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.ENOENT, errno.EINVAL),
    *(errno.ENAMETOOLONG, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV),
)


def copy_beside(path: str | bytes, run: str) -> str:
    """Return the name of the copy that a run makes of a file, in the same folder.

    It ends like the file, which some formats are known by.
    """
    name = os.fsdecode(path)
    return os.path.join(os.path.dirname(name), COPY_PREFIX + run + os.path.splitext(name)[1])


class FileTags:
    """The tags of a track's file, read once for a decision and for writing; a context manager.

    Parameters
    ----------
    item : Item

    Raises
    ------
    UnreadableFileError
        If the file is not there, or has no tags that can be read.
    """

    def __init__(self, item: Item) -> None:
        self.path = os.path.realpath(os.fsdecode(syspath(item.path)))
        with ExitStack() as stack:
            try:
                file = stack.enter_context(open(self.path, "rb"))
            except OSError as error:
                raise UnreadableFileError(self.path, str(error)) from error
            self._status = os.fstat(file.fileno())
            self._overlay = Overlay(file, MOST_CHANGED)
            self._tags = MediaFile(self._overlay, id3v23=beets.config["id3v23"].get(bool))
            self._opened = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    @property
    def genres(self) -> list[str]:
        """Genres that the file has."""
        return self._tags.genres or []

    def is_current(self, status: os.stat_result) -> bool:
        """Return whether a file of this status is this one, as it was when it was read."""
        return os.path.samestat(status, self._status) and (status.st_size, status.st_mtime_ns) == (
            self._status.st_size,
            self._status.st_mtime_ns,
        )

    def entry(self, tags: dict[str, Any]) -> Entry | None:
        """Return what writing tags changes; None where that is too much for writing in place.

        Raises
        ------
        UnreadableFileError
            If the file cannot have these tags.
        """
        self._tags.update(tags)
        most = max(FEW_CHANGED, self._status.st_size // SHARE_CHANGED)
        moves = False

        def padding(info: PaddingInfo) -> int:
            """Return the padding to leave; raise an error where much of the file would move."""
            nonlocal moves
            moves = info.padding < 0 and info.size > most
            if moves:
                raise MutagenError("more than may be written in place")
            return _padding(info)

        try:
            self._overlay.seek(0)  # `mutagen` begins where it is
            _save(self._tags, padding)
            patch = self._overlay.patch()
        except (OSError, UnreadableFileError):
            if moves or self._overlay.is_full:
                return None
            raise
        changed = sum(len(change.new) for change in patch.changes)
        return Entry(self.path, self._status.st_mtime_ns, patch) if changed <= most else None


def write(
    item: Item, run: str, genres: Sequence[str] | None = None, read: FileTags | None = None
) -> None:
    """Write a track's tags as `Item.write` does, with the same events for other plugins.

    A process that is killed, or a full disk, leaves the old file or the new one, or one that the
    next `beet` command rolls back. Where the tags have room, so that little of the file changes,
    that is written in place, and the old bytes are in the rollback journal meanwhile. Otherwise the
    tags go into a copy that then takes the file's place. The new file has the owner, the group, the
    extended attributes and the mode of the old one, each as far as the file system allows. A
    symbolic link goes on pointing to it. Two files are written in place in any case, as beets does
    it: one that has several names (hard links), as the others would get out of step; and one whose
    folder forbids to replace it.

    Parameters
    ----------
    item : Item
    run : str
        Part of the copy's name.
    genres : sequence of str, optional
        Genres that the file gets instead of the item's.
    read : FileTags, optional
        Of this item, if its file has been read already; used once, and closed.

    Raises
    ------
    OSError, ReadError, WriteError
        When it cannot be written: the file is as it was.
    """
    tags = _outgoing(item, genres)
    path = os.path.realpath(os.fsdecode(syspath(item.path)))
    with locked(item._db) as journal:
        status = os.stat(path)
        if not (journal and _write_in_place(item, path, tags, journal, read)):
            if read:
                read.close()  # or Windows would not let it be replaced
            if os.name != "nt":  # where a file may be open in another program for a moment
                with open(path, "r+b"):
                    pass  # who may not write a file may not replace it either
            if status.st_nlink > 1 or not _write_copy(item, path, tags, run):
                _tag(item, path, tags)
    item.mtime = item.current_mtime()
    plugins.send("after_write", item=item, path=item.path)


def written_genres(item: Item, genres: Sequence[str]) -> list[str]:
    """Return the genres that a file gets where a track has others: plugins may change them."""
    with suppress(FileOperationError):
        return list(_outgoing(item.copy(), genres).get("genres") or ())
    return list(genres)


def _outgoing(item: Item, genres: Sequence[str] | None) -> dict[str, Any]:
    """Return the tags of a track, with other genres or its own, as plugins want them written."""
    tags = {field: item[field] for field in item if field in item._media_fields}
    if genres is not None:
        tags["genres"] = list(genres)
    plugins.send("write", item=item, path=item.path, tags=tags)
    return tags


def _write_in_place(
    item: Item, path: str, tags: dict[str, Any], journal: RollbackJournal, read: FileTags | None
) -> bool:
    """Write what the tags change of a file; return False if it must be copied instead.

    Raises
    ------
    ReadError, WriteError
        When the file cannot have these tags; it is as it was.
    OSError
        When neither the new content nor the old one can be written any more.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "r+b", buffering=0))
        except OSError:
            return False
        status = os.fstat(file.fileno())
        if read is None or not read.is_current(status):
            try:
                read = stack.enter_context(FileTags(item))
            except UnreadableFileError as error:
                raise ReadError(item.path, error) from error
        try:
            entry = read.entry(tags)
        except UnreadableFileError as error:
            raise WriteError(item.path, error) from error
        if entry is None or not read.is_current(os.fstat(file.fileno())):
            return False
        if not entry.patch.is_old(file.fileno()):
            return False
        return not entry.patch.changes or journal.write(file.fileno(), entry)


def _write_copy(item: Item, path: str, tags: dict[str, Any], run: str) -> bool:
    """Write tags into a copy of a file, which then takes its place; False if that is forbidden."""
    copy = copy_beside(path, run)
    try:
        shutil.copyfile(path, copy)
        atomic.carry_over(path, copy)
        _tag(item, copy, tags)
        _sync(copy)
        atomic.replace(copy, path)
    except BaseException as error:
        with suppress(OSError):
            os.remove(copy)
        if isinstance(error, OSError) and error.errno in REPLACING_FORBIDDEN:
            return False
        raise
    return True


def try_write(
    item: Item,
    run: str,
    summary: Summary,
    log: BeetsLogger,
    genres: Sequence[str] | None = None,
    read: FileTags | None = None,
) -> None:
    """Write a track's tags; name and count it if that cannot be done."""
    try:
        write(item, run, genres, read)
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


def _tag(item: Item, copy: str, tags: dict[str, Any]) -> None:
    try:
        file = MediaFile(copy, id3v23=beets.config["id3v23"].get(bool))
    except UnreadableFileError as error:
        raise ReadError(item.path, error) from error
    file.update(tags)
    try:
        _save(file)
    except UnreadableFileError as error:
        raise WriteError(item.path, error) from error


def _padding(info: PaddingInfo) -> int:
    """Return the bytes of padding to leave: those that are left, or new ones if there are none."""
    return int(info.padding if info.padding >= 0 else info.get_default_padding())


def _save(file: MediaFile, padding: Callable[[PaddingInfo], int] = _padding) -> None:
    """Save tags; by default keep all of the padding that there is, so that nothing has to move."""
    if isinstance(file.mgfile, APEv2File):  # which has none
        file.save()
    else:
        file.save(padding=padding)


def _sync(copy: str) -> None:
    """Force the copy onto the disk before it becomes the only one: the power may fail."""
    with open(copy, "r+b") as file:
        atomic.sync(file.fileno())
