"""Playlists (M3U8) of tracks in the library."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from beets.ui import UserError
from beets.util import syspath

from agf_core.errors import printable, shown, why_not_written
from agf_core.utils import atomic
from beetsplug.agfgenre.console import artist_and_title

if TYPE_CHECKING:
    from collections.abc import Iterable

    from beets.library import Item, Library
    from beets.logging import BeetsLogger

HEADER = b"#EXTM3U\n#beets-agf: this file is replaced by `beet agfsimilar --playlist`\n"


def write_playlist(lib: Library, path: Path, items: Iterable[Item], log: BeetsLogger) -> None:
    """Write a playlist, whole or not at all.

    A playlist in the music folder has relative paths, so that both can be moved together; any other
    has absolute ones.

    Raises
    ------
    UserError
        If it cannot be written, or a file is there that no playlist of this plugin is.
    """
    path = path.expanduser().absolute()
    try:
        if path.exists() and not _is_ours(path):
            raise UserError(
                f"agfsimilar: {shown(path)} exists and is no playlist of this plugin; "
                "it is left as it is, choose another name"
            )
        target = path.resolve()  # a link goes on pointing to it
        with atomic.written(target) as file:
            file.write(HEADER)
            for item in items:
                if line := _entry(lib, item, path.parent):
                    file.write(line)
                else:
                    log.warning(
                        "{} has a line break in its name, left out of the playlist",
                        shown(item.path),
                    )
        atomic.remove_abandoned(target)
    except OSError as error:
        raise UserError(f"agfsimilar: {why_not_written(path, error)}") from None


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(HEADER)) == HEADER


def _entry(lib: Library, item: Item, folder: Path) -> bytes:
    """Return the lines on a track, or nothing where its path cannot be one line."""
    path = os.fsencode(syspath(item.path))
    if folder.is_relative_to(os.fsdecode(lib.directory)):
        path = os.path.relpath(path, os.fsencode(folder))
    if b"\n" in path or b"\r" in path:
        return b""
    title = printable(" ".join(" - ".join(filter(None, artist_and_title(item))).split()))
    return f"#EXTINF:{round(item.length or 0)},{title}\n".encode() + path + b"\n"
