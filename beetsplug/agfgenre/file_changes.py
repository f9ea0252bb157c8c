"""Files that beets moves, copies or writes tags to: their stored features stay known."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from beets.util import syspath

from agf_core.utils.file_identity import file_identity

if TYPE_CHECKING:
    from beets.plugins import BeetsPlugin


class FileChanges:
    """Notes what happens to files in a run of beets, for the store of features at its end.

    A run that is killed before loses nothing: the sound is recognised when the file is next opened.
    """

    def __init__(self) -> None:
        self._before: dict[bytes, bytes] = {}  # by path, the identity that the store may know

    def listen(self, plugin: BeetsPlugin) -> None:
        """Register for the events of beets."""
        plugin.register_listener("write", self._will_write)
        plugin.register_listener("before_item_moved", self._relocated)
        plugin.register_listener("item_copied", self._relocated)
        plugin.register_listener("item_linked", self._relocated)
        plugin.register_listener("item_hardlinked", self._relocated)
        plugin.register_listener("item_reflinked", self._relocated)
        plugin.register_listener("cli_exit", self._tell_store)

    def _will_write(self, path: bytes, **_: Any) -> None:
        self._note(path, path)

    def _relocated(self, source: bytes, destination: bytes, **_: Any) -> None:
        self._note(source, destination)

    def _note(self, source: bytes, destination: bytes) -> None:
        with suppress(OSError):  # it is not there
            known = self._before.get(source)
            self._before[destination] = known or file_identity(syspath(source))

    def _tell_store(self, **_: Any) -> None:
        if not self._before:
            return
        with suppress(ImportError):  # a broken installation, which other commands report
            from beetsplug.agfgenre.models import embedding_store  # which needs numpy

            store = embedding_store()
            if store.path.is_file():
                store.follow({syspath(path): before for path, before in self._before.items()})
                store.close()
        self._before.clear()
