"""Every command over a library whose names, genres and paths are hostile.

`test_untrusted_text.py` has the same texts one by one, without models.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from beets import importer, plugins, ui
from beets.dbcore.query import InvalidQueryError
from beets.library import Item
from mediafile import MediaFile
from sounds import coloured_noise, write_wav
from test_untrusted_text import HOSTILE, is_harmless, logged
from train_library import RATE

from agf_core.bundle import format as bundle_format
from agf_core.bundle.registry import ModelStore
from agf_core.errors import printable
from beetsplug.agfgenre.commands import NOT_BETTER

LONG = HOSTILE["ten megabytes"][:1_000_000]
SHORT = "".join(text for what, text in HOSTILE.items() if what != "ten megabytes")
TEXT = SHORT.replace("\udce9", "e")  # which a database can hold
GENRES = {"L": "<script>alert('low')</script>&", "H": "<script>alert('high')</script>&"}
ARTISTS = 6
TRACKS = 4  # of each artist
NAME = "a model"


@pytest.fixture
def library(training_library, tmp_path, monkeypatch):
    """Low and high noise, an artist and an album for every four tracks; every text is hostile."""
    library = training_library
    monkeypatch.setattr("beetsplug.agfgenre.map.layout.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr("beetsplug.agfgenre.models.webbrowser.open", lambda url: opened.append(url))
    opened = library.opened = []
    library.config["ui"]["color"] = False
    monkeypatch.setattr(os, "fsync", lambda number: None)  # no power fails here
    library.lib._connection().execute("PRAGMA synchronous = OFF")
    library.configure(min_tracks=4, min_confidence=0, context=True)
    for artist in range(ARTISTS):
        kind = "LH"[artist % 2]
        tracks = [add(library, artist, kind, number) for number in range(TRACKS)]
        tracks[0].genres = [[TEXT], [GENRES["L"]], [GENRES["H"]]][artist % 3]
        tracks[0].store()
        album = library.lib.add_album(tracks)
        album.genres = [GENRES[kind]]
        album.store(inherit=False)
    long = library.lib.items().get()
    long.title = long.artist = long.album = LONG
    long.genres = [LONG, "x" + LONG]
    long.store()
    broken = add(library, ARTISTS, "H", 0)
    Path(os.fsdecode(broken.path)).write_bytes(b"no music")
    add(library, ARTISTS, "H", 1, genres=[])
    return library


def add(library, artist: int, kind: str, number: int, **fields) -> Item:
    """Add a track of noise of its own, at a hostile path."""
    name = f"{artist}{number}{SHORT}".replace("/", "|")[:80]
    folder = Path(os.fsdecode(library.lib.directory)) / f"{artist}{SHORT[:40]}".replace("/", "|")
    folder.mkdir(exist_ok=True)
    noise = coloured_noise(kind, 2 * RATE, np.random.default_rng(10 * artist + number))
    path = write_wav(folder / f"{name}.wav", noise, RATE)
    item = Item.from_path(os.fsencode(path))
    names = {"title": f"{number}{TEXT}", "artist": f"{artist}{TEXT}", "album": f"{artist}{TEXT}"}
    item.update(names | {"genres": [GENRES[kind]]} | fields)
    library.lib.add(item)
    return item


class Shown:
    """Runs commands, and checks all that is shown meanwhile."""

    def __init__(self, library, capsys) -> None:
        self._library, self._capsys = library, capsys
        self.lines = 0

    def __call__(self, *command: str, longest: int = 20_000) -> str:
        """Run a command; return what it prints."""
        errors = []
        try:
            self._library.beet(*command)
        except (ui.UserError, InvalidQueryError) as error:
            errors = [str(error)]
        except SystemExit as ended:
            if ended.code != NOT_BETTER:
                raise
        return self.check(longest, errors)

    def check(self, longest: int = 20_000, errors=()) -> str:
        """Check what was shown since the last time."""
        printed = self._capsys.readouterr()
        lines = [*printed.out.split("\n"), *printed.err.split("\n"), *logged(self._library)]
        self._library.log.lines.clear()
        for line in (*errors, *lines):
            assert len(line) < longest, (len(line), line[:100])
            assert is_harmless(line[:10_000]), repr(line)[:500]
        self.lines += len(lines)
        return printed.out


@pytest.mark.parametrize("training_library", [True], indirect=True)
def test_every_command_shows_a_hostile_library_harmlessly(library, capsys, monkeypatch, tmp_path):
    shown = Shown(library, capsys)
    tags_with(shown)
    trains_with(shown, library)
    audits_with(shown, library, monkeypatch)
    finds_and_draws_with(shown, library, tmp_path)
    assert shown.lines > 300


def tags_with(shown) -> None:
    assert "Chiptune" in shown("agfgenre", "--explain", "-p")
    shown("agfgenre", "-f", "-p")
    shown("agfgenre", "-f", "-a")
    shown("agfgenre", "--undo", "-p")
    shown("agfgenre", "--undo")
    shown("agfgenre", f"title:{TEXT}")
    shown("agfgenre", f"year:{TEXT}")


def trains_with(shown, library) -> None:
    assert "2 tracks left out: their genre has more than 100 char" in shown("agftrain", "-p")
    assert "alert('low')" in shown("agftrain", "--name", NAME).lower()
    shown("agftrain", "--name", TEXT)
    shown("agfmodels")
    assert "alert('low')" in shown("agfmodels", "show", NAME, "--open").lower()
    shown("agfmodels", "show", TEXT)
    shown("agfmodels", TEXT)
    (url,) = library.opened
    folder = ModelStore(Path(library.config.config_dir()) / "agfgenre").path(NAME)
    assert url == (folder / "report.html").resolve().as_uri()
    for name in ("report.html", bundle_format.CARD):
        text = (folder / name).read_text(encoding="utf-8")
        assert "<script>" not in text.lower()
        assert all(is_harmless(line[:10_000]) for line in text.split("\n"))


def audits_with(shown, library, monkeypatch) -> None:
    for options in ((), ("-a",), ("--by-sound",), ("-f", "$artist $title $genres $agf_suggested")):
        shown("agfaudit", "-n", "0", *options)
    document = json.loads(shown("agfaudit", "--json", longest=100_000_000))
    assert document["suspects"]
    answers = iter(["t", TEXT, "k", "a", "q"])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(ui, "input_", lambda prompt=None: next(answers))
    shown("agfaudit", "--fix", "-n", "0")
    assert next(answers, "q") == "q"
    shown("agfgenre", "--undo")


def finds_and_draws_with(shown, library, tmp_path) -> None:
    first, last = (f"id:{library.lib.items(query).get().id}" for query in ("id:2", "id:9"))
    assert "\\x1b" in shown("agfsimilar", first)
    assert "\\x1b" in shown("agfsimilar", first, "--to", last, "-f", "$path $artist $genres")
    shown("agfsimilar", first, "--to", f"title:{TEXT}x")
    for name in ("a.m3u8", f"{SHORT[:60]}.m3u8".replace("/", "|")):
        shown("agfsimilar", first, "--playlist", str(tmp_path / name))
    shown("agfsimilar", first, "--playlist", str(tmp_path / TEXT / "a.m3u8"))
    page = tmp_path / f"{SHORT[:60]}.html".replace("/", "|")
    shown("agfmap", "-o", str(page))
    text = page.read_text(encoding="utf-8")
    assert is_harmless(text[text.index('id="data"') :][:10_000])
    assert "<script>alert" not in text
    assert printable(TEXT)[:20].replace("\\", "\\\\") in text
    shown("agfmap", "-o", str(tmp_path / TEXT / "a.html"))
    page.write_text("mine")
    shown("agfmap", "-o", str(page))


@pytest.mark.parametrize("training_library", [True], indirect=True)
def test_an_import_shows_hostile_files_harmlessly(library, caplog):
    """Of two files one is too short; beets reports paths by itself, too."""
    library.configure(auto=True, min_confidence=0)
    new = library.incoming / SHORT[:60].replace("/", "|")
    new.mkdir(parents=True)
    for number, seconds in enumerate((2, 0.1)):
        path = new / f"{number}{SHORT[:80]}.wav".replace("/", "|")
        noise = coloured_noise("H", round(seconds * RATE), np.random.default_rng(number))
        write_wav(path, noise, RATE)
        file = MediaFile(path)
        file.update({"title": TEXT, "artist": TEXT, "album": TEXT})
        file.save()
    caplog.clear()
    library.load_plugins()
    session = library.setup_importer(library.incoming, copy=False, autotag=False)
    session.default_choice = importer.Action.ASIS
    session.run()
    plugins.send("cli_exit", lib=library.lib)
    lines = [line.getMessage() for line in caplog.records if "agfgenre" in line.name]
    assert any("\\x1b" in line for line in lines)
    assert all(map(is_harmless, lines))
