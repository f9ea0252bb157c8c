"""A copy-on-write view of a file, and the patch that makes the file what the view shows."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

BLOCK = 4096  # bytes; a patch consists of whole blocks


@dataclass(frozen=True)
class Change:
    """Bytes of a file that are replaced.

    Attributes
    ----------
    offset : int
    old, new : bytes
        Their lengths differ at the end of a file only.
    """

    offset: int
    old: bytes
    new: bytes


@dataclass(frozen=True)
class Patch:
    """What makes one content of a file into another, and back.

    Attributes
    ----------
    old_size, new_size : int
        Bytes of the file.
    changes : tuple of Change
    """

    old_size: int
    new_size: int
    changes: tuple[Change, ...]

    def apply(self, number: int) -> None:
        """Give an open file its new content."""
        for change in self.changes:
            _write(number, change.new, change.offset)
        if self.new_size < self.old_size:
            os.ftruncate(number, self.new_size)

    def revert(self, number: int) -> None:
        """Give an open file its old content again."""
        for change in self.changes:
            _write(number, change.old, change.offset)
        if os.fstat(number).st_size != self.old_size:
            os.ftruncate(number, self.old_size)

    def is_old(self, number: int) -> bool:
        """Return whether an open file has the old content where the patch changes it."""
        return os.fstat(number).st_size == self.old_size and all(
            os.pread(number, len(one.old), one.offset) == one.old for one in self.changes
        )

    def is_new(self, number: int) -> bool:
        """Return whether an open file has the new content where the patch changes it."""
        return os.fstat(number).st_size == self.new_size and all(
            os.pread(number, len(one.new), one.offset) == one.new for one in self.changes
        )

    def is_partly_applied(self, number: int) -> bool:
        """Return whether each byte that the patch changes is old or new: nobody else wrote there.

        Where a file grows, its end may be zeros: the system makes room first.
        """
        sizes = sorted((self.old_size, self.new_size))
        return sizes[0] <= os.fstat(number).st_size <= sizes[1] and all(
            _is_mixture(os.pread(number, max(len(one.old), len(one.new)), one.offset), one)
            for one in self.changes
        )


def _is_mixture(found: bytes, change: Change) -> bool:
    """Return whether each byte is the old one or the new one of its place."""
    length = len(found)
    old = change.old[:length].ljust(length, b"\0")
    new = change.new[:length] + old[len(change.new) :]
    return all(byte in pair for byte, *pair in zip(found, old, new, strict=True))


def _write(number: int, content: bytes, offset: int) -> None:
    """Write all of some bytes at a place of an open file."""
    view = memoryview(content)
    while view:
        written = os.pwrite(number, view, offset)
        view, offset = view[written:], offset + written


class Overlay:
    """A file object that reads a file and keeps what is written to it in memory.

    Parameters
    ----------
    file : BinaryIO
        Open for reading; it is never written to.
    most : int
        Bytes that may be kept; a write beyond them raises `OSError` and sets `is_full`.

    Attributes
    ----------
    name : str
        Of the file, which formats are known by.
    is_full : bool
        Whether more was written than may be kept.
    """

    def __init__(self, file: BinaryIO, most: int) -> None:
        self.name = str(file.name)
        self.is_full = False
        self._file, self._most = file, most
        self._old_size = self._size = os.fstat(file.fileno()).st_size
        self._shown = self._size  # bytes of the file that have not been cut off
        self._position = 0
        self._blocks: dict[int, bytearray] = {}

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, and return it."""
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if begin + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._position = begin + offset
        return self._position

    def tell(self) -> int:
        """Return the place of the next read or write."""
        return self._position

    def fileno(self) -> int:
        """Raise `OSError`: nobody may get at the file."""
        raise io.UnsupportedOperation("fileno")

    def flush(self) -> None:
        """Do nothing: there is no buffer."""

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, at most `size`, all without it."""
        left = max(0, self._size - self._position)
        size = left if size is None or size < 0 else min(size, left)
        begin, self._position = self._position, self._position + size
        blocks = range(begin // BLOCK, -(-(begin + size) // BLOCK))
        if self._blocks.keys().isdisjoint(blocks) and begin + size <= self._shown:
            return self._read(begin, size)
        content = b"".join(map(self._block, blocks))
        return content[begin % BLOCK :][:size]

    def write(self, data: bytes) -> int:
        """Keep bytes that belong at this place, and return how many.

        Raises
        ------
        OSError
            If that is more than may be kept.
        """
        rest = memoryview(data)
        while rest:
            number, offset = divmod(self._position, BLOCK)
            block = self._blocks.setdefault(number, bytearray(self._block(number)))
            part = rest[: BLOCK - offset]
            block[offset : offset + len(part)] = part
            self._position += len(part)
            rest = rest[len(part) :]
            if len(self._blocks) * BLOCK > self._most:
                self.is_full = True
                raise OSError(errno.EFBIG, "more than a patch may hold")
        if data:
            self._size = max(self._size, self._position)
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Cut the content off at a size, or extend it with zeros; return the size."""
        size = self._position if size is None else size
        if size < self._size:
            self._shown = min(self._shown, size)
            number, kept = divmod(size, BLOCK)
            self._blocks = {key: block for key, block in self._blocks.items() if key <= number}
            if number in self._blocks:
                self._blocks[number][kept:] = bytes(BLOCK - kept)
        self._size = size
        return size

    def patch(self) -> Patch:
        """Return what makes the file what this shows.

        Raises
        ------
        OSError
            If that is more than may be kept, or the file cannot be read.
        """
        first, last = min(self._shown, self._size), max(self._old_size, self._size)
        changed = {*self._blocks, *range(first // BLOCK, -(-last // BLOCK))}
        if len(changed) * BLOCK > self._most:
            self.is_full = True
            raise OSError(errno.EFBIG, "more than a patch may hold")
        return Patch(self._old_size, self._size, tuple(self._changes(sorted(changed))))

    def _changes(self, numbers: list[int]) -> Iterator[Change]:
        """Yield the blocks that differ, adjacent ones together."""
        begin = end = 0
        olds: list[bytes] = []
        news: list[bytes] = []
        for number in numbers:
            offset = number * BLOCK
            old = self._read(offset, min(BLOCK, max(0, self._old_size - offset)))
            new = self._block(number)[: max(0, self._size - offset)]
            if old == new:
                continue
            if olds and offset != end:
                yield Change(begin, b"".join(olds), b"".join(news))
                olds, news = [], []
            begin = begin if olds else offset
            end = offset + max(len(old), len(new))
            olds.append(old)
            news.append(new)
        if olds:
            yield Change(begin, b"".join(olds), b"".join(news))

    def _block(self, number: int) -> bytes:
        """Return a whole block, filled up with zeros."""
        if number in self._blocks:
            return bytes(self._blocks[number])
        offset = number * BLOCK
        return self._read(offset, min(BLOCK, max(0, self._shown - offset))).ljust(BLOCK, b"\0")

    def _read(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)
