"""A throw-away beets library, and a tagger whose predictions a test chooses."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from beets import plugins, util
from beets.library import Album, Item
from beets.test.helper import ImportHelper, PluginMixin
from mediafile import MediaFile
from sounds import write_wav

from agf_core.bundle.format import Style
from agf_core.inference.tagger import FileResult, Prediction

LABELS = ("Rock", "Electronic", "Hip-Hop", "Soul-RnB")
ROCK = {"Rock": 0.9, "Electronic": 0.1}
ELECTRONIC = {"Rock": 0.1, "Electronic": 0.9}
EVEN = {"Hip-Hop": 0.4, "Rock": 0.35, "Electronic": 0.25}


class FakeTagger:
    """Predicts of a file what `sounds` has under its name without extension; Rock otherwise.

    Values of `sounds` are shares of labels, or the error to return.
    """

    labels = LABELS
    styles = (Style("heavy metal", "Rock"), Style("techno", "Electronic"))
    prior: np.ndarray | None = None
    fine_tuned = False

    def __init__(self) -> None:
        self.model_id = "fake-1"
        self.sounds: dict[str, dict[str, float] | Exception] = {}
        self.analysed: list[str] = []
        self.remembered: set[str] = set()  # files whose features are stored
        self.open = 0
        self.interrupt_after: int | None = None

    def predict_files(self, paths) -> Iterator[FileResult]:
        self.open += 1
        try:
            for path in paths:
                if len(self.analysed) == self.interrupt_after:
                    raise KeyboardInterrupt
                yield self._result(path)
        finally:
            self.open -= 1

    def stored(self, path) -> FileResult | None:
        return self._known(path) if Path(os.fsdecode(path)).stem in self.remembered else None

    def _result(self, path) -> FileResult:
        name = Path(os.fsdecode(path)).stem
        self.analysed.append(name)
        self.remembered.add(name)
        return self._known(path)

    def _known(self, path) -> FileResult:
        name = Path(os.fsdecode(path)).stem
        sound = self.sounds.get(name, ROCK)
        if isinstance(sound, Exception):
            return FileResult(path, error=sound)
        shares = np.array([sound.get(label, 0.0) for label in LABELS])
        return FileResult(path, Prediction(LABELS, shares))


class BeetsLibrary(PluginMixin, ImportHelper):
    """A library in a temporary folder, with the plugin loaded and `FakeTagger` in its place."""

    plugin = "agfgenre"
    preload_plugin = False

    def __init__(self, tagger: FakeTagger | None = None) -> None:
        self.tagger = tagger
        self.loads = 0

    def load_tagger(self, settings) -> FakeTagger:
        self.settings = settings
        self.loads += 1
        return self.tagger

    @property
    def incoming(self) -> Path:
        """A folder to import from."""
        return (
            Path(os.fsdecode(self.temp_dir if hasattr(self, "temp_dir") else self.temp_path))
            / "incoming"
        )

    def configure(self, **options) -> None:
        self.config["agfgenre"].set(options)

    def track(self, title: str, **fields) -> Item:
        """Add a track with a file of silence of its own."""
        path = Path(os.fsdecode(self.lib.directory)) / f"{title}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        silent_wav(path)
        item = Item.from_path(os.fsencode(path))
        item.update({"title": title, "artist": "Artist", **fields})
        self.lib.add(item)
        return item

    def album(self, titles: str, name: str = "Album", **fields) -> Album:
        """Add an album; each letter of `titles` is a track."""
        items = [self.track(title, album=name) for title in titles]
        album = self.lib.add_album(items)
        album.update(fields)
        album.store(inherit=False)
        return album

    def beet(self, *args: str) -> None:
        """Run a beets command."""
        self.load_plugins()
        # What has used beets without the plugin leaves fields of no type behind.
        util.cached_classproperty.cache.clear()
        plugins.send("library_opened", lib=self.lib)  # which the helper of beets 2.10 does not
        self.run_command(*args)

    def genres(self, title: str) -> list[str]:
        """Return a track's genres in the library."""
        return self.get(title).genres

    def get(self, title: str) -> Item:
        return self.lib.items(f"title:={title}").get()

    def file_genres(self, title: str) -> list[str]:
        """Return a track's genres in its file."""
        return MediaFile(self.get(title).path).genres or []


def summary(library: BeetsLibrary) -> str:
    """Return the line that a run ends with."""
    return library.log.lines_at("INFO")[-1]


def silent_wav(path: Path, seconds: float = 0.1) -> None:
    write_wav(path, np.zeros(round(8_000 * seconds)), 8_000)


class LogLines(logging.Handler):
    """The lines beets logs, with their level in front."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if hasattr(plugins, "PluginLogFilter"):  # beets 2.10 begins messages with the plugin
            message = message.removeprefix("agfgenre: ")
        self.lines.append(f"{record.levelname}: {message}")

    def lines_at(self, level: str) -> list[str]:
        return [line for line in self.lines if line.startswith(level)]

    def having(self, text: str) -> list[str]:
        return [line for line in self.lines if text in line]


def open_library(
    monkeypatch, tagger: FakeTagger | None, on_disk: bool = False
) -> Iterator[BeetsLibrary]:
    """Yield a library; with no tagger the plugin loads a real one.

    For use from several threads its database must be on disk.
    """
    library = BeetsLibrary(tagger)
    library.db_on_disk = on_disk
    library.setup_beets()
    library.configure(context=False, prior="shipped")  # or the tags of other tracks would count
    if "XDG_CACHE_HOME" not in os.environ:  # no test reads or writes the store of who runs it
        home = Path(os.fsdecode(library.lib.directory)).parent
        monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    library.log = LogLines()
    logger = logging.getLogger("beets")
    logger.addHandler(library.log)
    if tagger is not None:
        monkeypatch.setattr("beetsplug.agfgenre.tag.setup.load_tagger", library.load_tagger)
    try:
        yield library
    finally:
        logger.removeHandler(library.log)
        library.teardown_beets()
