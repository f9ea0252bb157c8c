"""Names and genres may contain anything; what is shown of them harms neither terminal nor page."""

import ast
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from beets.ui import UserError
from beets_helpers import FakeTagger, open_library

import beetsplug.agfgenre
from agf_core.errors import BundleError, printable, shown
from beetsplug.agfgenre.audit import show
from beetsplug.agfgenre.audit.consistency import Consistency, Outliers
from beetsplug.agfgenre.audit.find import Found, Suspect, SuspectArtist
from beetsplug.agfgenre.audit.rows import Row
from beetsplug.agfgenre.audit.show import Report
from beetsplug.agfgenre.console import html_text, markdown_text
from beetsplug.agfgenre.train import report_page

HOSTILE = {
    "title of a window": "Rock\x1b]0;owned\x07",
    "cleared screen": "\x1b[2J\x1b[1;1HRock",
    "one-byte escape": "\x9b31mRock",
    "bidi override": "Ro\u202eck\u2066x\u2069",
    "bidi marks": "Ro\u200eck\u200f",
    "line breaks": "Rock\r\nWARNING: all is lost\u2028x\x85y",
    "tags": "<script>alert(1)</script>",
    "byte that is no text": "caf\udce9",
    "ten megabytes": "Rock(((( " * 1_100_000,
}
HARMLESS = ["Rock", "Блюз", "日本\u3000語", "मे\u200dरी", "R&B", "e\u0301", "🎸"]


@pytest.mark.parametrize("text", HARMLESS)
def test_text_of_every_language_stays(text):
    assert printable(text) == text


def is_harmless(text: str) -> bool:
    """Whether no character moves the cursor, turns the direction or is no text."""
    kinds = {unicodedata.category(c) for c in text if c not in "\n\u200c\u200d"}
    return not kinds & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} and len(text) < 20_000


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_becomes_a_printable_line(text):
    for made in (printable(text), html_text(text), markdown_text(text), str(BundleError(text))):
        assert is_harmless(made)
        assert "\n" not in made
    assert "<" not in html_text(text)
    assert "<" not in markdown_text(text)
    assert is_harmless(shown(text[:300]))
    assert "Rock" in printable(text) or "Ro" in text or "script" in text or "caf" in text


@pytest.fixture
def library(monkeypatch):
    for library in open_library(monkeypatch, FakeTagger(), on_disk=True):
        library.config["ui"]["color"] = False
        yield library


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_all_that_the_commands_show_is_harmless(library, capsys, text):
    """Tracks have the text as names and genres; one has it in its file only."""
    short = text[:60].replace("/", "|").replace("\udce9", "e")
    stored = text.replace("\udce9", "e")[:100_000]  # which a database can hold, in no time
    names = {"artist": stored, "album": stored, "albumartist": stored}
    library.track("plain", genres=[stored], **names)
    named = library.track(short, **names)  # as is its file
    named.title = stored
    named.store()
    in_file = library.track("in-file", **names)
    in_file.genres = [stored[:1000]]
    in_file.write()
    library.album("ab", name=stored, albumartist=stored)
    nameless = library.track("c" + short, **names)
    nameless.title = ""
    nameless.store()
    errors = []
    for command in (
        ("agfgenre", "-p"),
        ("agfgenre", "--explain"),
        ("agfgenre", "-f"),
        ("agfgenre", "-f", "-a"),
        ("agfgenre", "--undo", "-p"),
        ("agfgenre", "--undo"),
        ("agftrain", "-p"),
    ):
        try:
            library.beet(*command)
        except UserError as error:  # there is too little to train on
            errors.append(str(error))
    printed = capsys.readouterr()
    lines = [*errors, *printed.out.splitlines(), *printed.err.splitlines(), *logged(library)]
    assert len(lines) > 20
    for line in lines:
        assert is_harmless(line), repr(line)[:500]


def logged(library) -> list[str]:
    """Return the lines of the plugin; beets logs queries and events by itself at a lower level."""
    return [line for line in library.log.lines if not line.startswith("DEBUG")]


def test_errors_are_harmless(library):
    library.track("a")
    library.configure(whitelist="/\x1b]0;owned\x07/nowhere")
    with pytest.raises(UserError) as raised:
        library.beet("agfgenre")
    assert is_harmless(str(raised.value))
    assert "owned" in str(raised.value)


def test_a_page_shows_genres_as_text():
    genres = ["<script>alert(1)</script>", "Ro\u202eck"]
    report = {"date": "<b>", "genres": dict.fromkeys(genres), "confusion": [[1, 0], [0, 1]]}
    page = report_page.page(report, [f"genre {genre}" for genre in genres])
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<b>" not in page
    assert is_harmless(page)


def test_nothing_is_printed_but_by_the_console():
    """A new command that prints by itself would print what it finds in the library, too."""
    package = Path(beetsplug.agfgenre.__file__).parent
    found = []
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name in ("print", "ui.print_", "print_", "sys.stdout.write", "escape"):
                    found.append((path.name, name))
    assert sorted(found) == [("console.py", name) for name in ("escape", "ui.print_", "ui.print_")]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_an_audit_is_shown_harmlessly(library, capsys, text):
    text = text.replace("\udce9", "e")[:100_000]
    item = library.track("a", artist=text, genres=[text])
    mates = ((text, 3),)
    suspect = Suspect(
        item.id,
        (text,),
        text,
        0.9,
        0.1,
        ((text, 0.9),),
        mates,
        mates,
        is_album=False,
        by_plugin=True,
    )
    row = Row(item.id, text, text, None, text, text, (text,), (text,), by_plugin=False, kept=False)
    outliers = [Outliers(text, text, 5, (row,), in_one_album=False)]
    consistency = Consistency(outliers, outliers, [((text, 2), (text + "2", 1))], [text])
    report = Report(
        found=Found([suspect], 9, 0, 1, Counter({text: 2}), 9),
        artists=[SuspectArtist(text, text, 5, text, 0.9, 0.1)],
        consistency=consistency,
        suspects=[(suspect, item)],
        albums=False,
        at_most=0,
    )
    capsys.readouterr()
    show.show_report(report)
    show.show_formatted(report, "$artist $genres $agf_suggested")
    show.show_json(report)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 30
    longest = 1_000_000  # of JSON, which is for programs
    for line in lines:
        assert is_harmless(line[:10_000]), repr(line)[:500]
        assert len(line) < longest
