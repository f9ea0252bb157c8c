"""Files that beets moves, copies or writes tags to: their stored features stay known."""

from __future__ import annotations

import atexit
import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from beets.util import syspath

from agf_core.utils.file_identity import file_identity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from beets.plugins import BeetsPlugin

SECONDS_BETWEEN = 0.5  # of stores: one takes about as long as a change


class FileChanges:
    """Follows what happens to files in a run of beets, in the store of features.

    A change is stored at once, unless one has just been stored: then with a later one, or when the
    run ends, be it by Ctrl-C or an error. A change that a killed run has not stored costs no
    analysis: the sound is recognised when the file is next opened.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, bytes] = {}  # by path, the identity that the store may know
        self._changed: set[bytes] = set()  # since changes were last stored
        self._next = -math.inf  # time from which a change is stored at once

    def listen(self, plugin: BeetsPlugin) -> None:
        """Register for the events of beets."""
        plugin.register_listener("write", self._will_write)
        plugin.register_listener("after_write", self._written)
        plugin.register_listener("before_item_moved", self._note)
        plugin.register_listener("item_moved", self._relocated)
        plugin.register_listener("item_copied", self._relocated)
        plugin.register_listener("item_linked", self._relocated)
        plugin.register_listener("item_hardlinked", self._relocated)
        plugin.register_listener("item_reflinked", self._relocated)
        plugin.register_listener("cli_exit", self._finish)
        atexit.register(self._finish)  # beets has no event for Ctrl-C and errors

    def _will_write(self, path: bytes, **_: Any) -> None:
        self._note(path, path)

    def _written(self, path: bytes, **_: Any) -> None:
        self._changed.add(path)
        if time.monotonic() >= self._next:
            self._store(self._changed)

    def _relocated(self, source: bytes, destination: bytes, **_: Any) -> None:
        self._note(source, destination)
        self._written(destination)

    def _note(self, source: bytes, destination: bytes, **_: Any) -> None:
        with suppress(OSError):  # it is not there
            known = self._known.get(source)
            self._known[destination] = known or file_identity(syspath(source))

    def _finish(self, **_: Any) -> None:
        """Store all changes: other plugins may have changed files after they were stored."""
        if self._known:
            self._store(self._known)
            self._known.clear()

    def _store(self, paths: Iterable[bytes]) -> None:
        changes = {path: self._known[path] for path in list(paths) if path in self._known}
        self._changed = set()
        with suppress(ImportError):  # a broken installation, which other commands report
            from beetsplug.agfgenre.models import embedding_store  # which needs numpy

            store = embedding_store()
            if not store.path.is_file():
                return
            store.follow({syspath(path): before for path, before in changes.items()})
            store.close()
            if store.problem:  # maybe another process has it for long: once more, at the end
                self._next = math.inf
                return
            for path in changes:
                with suppress(OSError):  # it is gone
                    self._known[path] = file_identity(syspath(path))
            self._next = time.monotonic() + SECONDS_BETWEEN
