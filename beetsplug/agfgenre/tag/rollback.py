"""The rollback journal: what a file had where it is being written in place.

``library.db-agfgenre/write.rollback`` holds the patch of the file that is being written, on the
disk before the file is touched. Whoever writes a file has the journal locked, and removes it at the
end; if no process has it locked, its process was killed, and the file is rolled back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING

from beets.logging import getLogger
from beets.util import displayable_path

from agf_core.utils import atomic
from beetsplug.agfgenre.database import LOGGER, ROLLBACK_RECORD, make_folder, rollback_record
from beetsplug.agfgenre.tag.overlay import Change, Patch

if TYPE_CHECKING:
    from beets.library import Library
    from beets.logging import BeetsLogger

FORMAT = 1


class DamagedError(ValueError):
    """The journal is complete, but not what was written."""


class NewerFormatError(ValueError):
    """The journal was written by a newer version."""


@dataclass(frozen=True)
class Entry:
    """A file that is being written.

    Attributes
    ----------
    path : str
    mtime : int
        When it was last modified before, in nanoseconds.
    patch : Patch
    """

    path: str
    mtime: int
    patch: Patch

    def revert(self, number: int) -> None:
        """Make an open file the old one again, on the disk."""
        if not self.patch.is_old(number):
            self.patch.revert(number)
            atomic.sync(number)
        with suppress(OSError):
            os.utime(number, ns=(os.fstat(number).st_atime_ns, self.mtime))

    def to_bytes(self) -> bytes:
        """Return a line of JSON, the bytes of the changes, and a checksum."""
        changes = self.patch.changes
        head = {
            "format": FORMAT,
            "path": self.path,
            "mtime": self.mtime,
            "sizes": [self.patch.old_size, self.patch.new_size],
            "changes": [[one.offset, len(one.old), len(one.new)] for one in changes],
        }
        body = b"".join(one.old + one.new for one in changes)
        return atomic.sealed(json.dumps(head).encode("ascii") + b"\n" + body, ROLLBACK_RECORD)

    @classmethod
    def from_bytes(cls, content: bytes) -> Entry | None:
        """Return an entry; None for one whose writing was cut off, so that no file was touched.

        Raises
        ------
        NewerFormatError, DamagedError
        """
        line, newline, _ = content.partition(b"\n")
        if not newline:
            return None
        try:
            head = json.loads(line)
            if head["format"] > FORMAT:
                raise NewerFormatError
            lengths = [old + new for _, old, new in head["changes"]]
            if len(content) < len(atomic.sealed(line + newline, ROLLBACK_RECORD)) + sum(lengths):
                return None
            body = memoryview(atomic.unsealed(content, ROLLBACK_RECORD))[len(line) + 1 :]
            changes = []
            for offset, old, new in head["changes"]:
                changes.append(Change(offset, bytes(body[:old]), bytes(body[old : old + new])))
                body = body[old + new :]
            old_size, new_size = head["sizes"]
            return cls(head["path"], head["mtime"], Patch(old_size, new_size, tuple(changes)))
        except NewerFormatError:
            raise
        except (ValueError, TypeError, KeyError) as error:
            raise DamagedError from error


class RollbackJournal:
    """The journal while this process has it locked.

    Parameters
    ----------
    file : RawIOBase
        Open for reading and writing.
    path : Path
        Its name.
    """

    def __init__(self, file: RawIOBase, path: Path) -> None:
        self._file, self._path = file, path

    def write(self, number: int, entry: Entry) -> bool:
        """Write an open file in place; return False if that fails, and the file is what it was.

        Raises
        ------
        OSError
            If neither the new content nor the old one can be written; then the record stays.
        """
        try:
            if entry.patch.new_size != entry.patch.old_size:
                os.ftruncate(number, entry.patch.old_size)  # which some file systems refuse
            content = entry.to_bytes()
            self._file.seek(0)
            if self._file.write(content) != len(content):
                raise OSError  # the disk is full
            atomic.sync(self._file.fileno())
            self._sync_name()
        except OSError:
            self._clear()
            return False
        try:
            entry.patch.apply(number)
            atomic.sync(number)
        except BaseException as error:
            entry.revert(number)
            self._clear()
            if isinstance(error, OSError):
                return False
            raise
        self._clear()
        return True

    def repair(self, log: BeetsLogger) -> bool:
        """Roll back the file that a killed process was writing; return whether that is over."""
        self._file.seek(0)
        content = self._file.readall()
        if not content:
            return True
        shown = displayable_path(os.fsencode(self._path))
        try:
            entry = Entry.from_bytes(content)
        except NewerFormatError:
            log.warning(
                "a newer version of beets-agf was killed while it wrote a file; upgrade beets-agf "
                "to repair the file, or delete {}",
                shown,
            )
            return False
        except DamagedError:
            log.warning(
                "a run that was killed may have written a file in part, and the record of it is "
                "damaged; the record is kept as {}.damaged",
                shown,
            )
            self._path.with_name(ROLLBACK_RECORD + ".damaged").write_bytes(content)
            entry = None
        if entry and not _rolled_back(entry, shown, log):
            return False
        self._file.truncate(0)
        return True

    def remove(self) -> None:
        """Remove the journal if no file waits for being rolled back."""
        with suppress(OSError):
            if not os.fstat(self._file.fileno()).st_size:
                self._path.unlink()

    def _clear(self) -> None:
        with suppress(OSError):  # then the next run sees that the file is the old or the new one
            self._file.truncate(0)

    def _sync_name(self) -> None:
        """Force the name of the journal onto the disk, where folders can be synchronised."""
        with suppress(OSError):
            number = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)


@contextmanager
def locked(lib: Library | None, *, wait: bool = True) -> Iterator[RollbackJournal | None]:
    """Lock the rollback journal of a library, so that no two processes write the same file.

    What a killed process was writing is rolled back first.

    Yields
    ------
    RollbackJournal or None
        None where files must be copied: for a library in memory, on a system or a disk without
        locks, in a folder that cannot be written, and while a file waits for being rolled back.
    """
    path = rollback_record(lib) if lib else None
    with ExitStack() as stack:
        journal = None
        if path is not None:
            with suppress(OSError, ImportError):  # Windows has no `fcntl`
                make_folder(path.parent)
                opened = RollbackJournal(stack.enter_context(_opened(path, wait)), path)
                if opened.repair(getLogger(LOGGER)):
                    journal = opened
                    stack.callback(journal.remove)
        yield journal


def repair(lib: Library) -> None:
    """Roll back the file that a killed process was writing, if there is one."""
    record = rollback_record(lib)
    if record and record.exists():
        with locked(lib, wait=False):
            pass


def _opened(path: Path, wait: bool) -> RawIOBase:
    """Open and lock a file, which is created where it is not there."""
    import fcntl

    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # the process that had it locked has removed it meanwhile


def _rolled_back(entry: Entry, journal: str, log: BeetsLogger) -> bool:
    """Make a file what it was before a write that was killed; return whether that is over."""
    path = displayable_path(os.fsencode(entry.path))
    try:
        with open(entry.path, "r+b", buffering=0) as file:
            number = file.fileno()
            if entry.patch.is_new(number):
                return True
            if not entry.patch.is_partly_applied(number):
                log.warning(
                    "{} was being written by a run that was killed, and another program has "
                    "changed it since; it is left as it is",
                    path,
                )
                return True
            entry.revert(number)
    except OSError as error:
        log.warning(
            "{} was being written by a run that was killed, and cannot be repaired now ({}); it is "
            "repaired once that is possible; if it is gone for good, delete {}",
            *(path, error.strerror, journal),
        )
        return False
    log.warning("{} was being written by a run that was killed; it is what it was before", path)
    return True
