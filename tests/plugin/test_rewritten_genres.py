"""What is stored counts, where another plugin shows other genres than are stored."""

import pytest
from beets_helpers import FakeTagger, open_library, summary
from beetsplug.rewrite import RewritePlugin


@pytest.fixture
def library(monkeypatch):
    for library in open_library(monkeypatch, FakeTagger(), on_disk=True):
        library.config["rewrite"].set({"genres rock": "Alternative", "genres jazz": "Swing"})
        beet = library.beet

        def beet_with_others(*arguments, library=library, beet=beet):
            library.unload_plugins()
            library.load_plugins()
            library.register_plugin(RewritePlugin)
            beet(*arguments)

        library.beet = beet_with_others
        yield library


def stored(library, title: str) -> str:
    with library.lib.transaction() as transaction:
        ((text,),) = transaction.query("SELECT genres FROM items WHERE title = ?", (title,))
    return text


@pytest.mark.parametrize("options", [[], ["-a"]])
def test_undo_restores_what_another_plugin_shows_differently(library, options):
    library.album("a")
    library.beet("agfgenre", "-q", *options)
    assert (stored(library, "a"), library.genres("a")) == ("Alternative", ["Alternative"])
    library.beet("agfgenre", "--undo")
    assert (stored(library, "a"), library.file_genres("a")) == ("", [])
    assert "1 track and 1 album" in summary(library)
    assert "changed since" not in summary(library)


def test_undo_restores_the_file_as_it_was_and_not_as_it_would_be_shown(library):
    item = library.track("a", genres=["Jazz"])
    item.write()
    assert library.file_genres("a") == ["Jazz"]
    library.beet("agfgenre", "-f", "-q")
    library.beet("agfgenre", "--undo")
    assert (library.genres("a"), library.file_genres("a")) == (["Swing"], ["Jazz"])


def test_renew_knows_what_it_has_set(library):
    library.track("a")
    library.beet("agfgenre", "-q")
    library.configure(min_confidence=1)
    library.beet("agfgenre", "-r", "-q")
    assert stored(library, "a") == ""
    assert library.file_genres("a") == []


def test_genres_that_are_right_already_are_left_alone(library):
    library.track("a")
    library.beet("agfgenre", "-q")
    for options in (["-f"], ["-r"], ["-k"]):
        library.beet("agfgenre", "-q", *options)
        assert stored(library, "a") == "Alternative"
        assert "already right: 1 track" in summary(library)


def test_rules_that_came_after_the_run_do_not_matter(library):
    library.config["rewrite"].set({"genres rock": "rock"})
    library.track("a")
    library.beet("agfgenre", "-q")
    assert stored(library, "a") == "rock"
    library.config["rewrite"].set({"genres rock": "Alternative"})
    library.beet("agfgenre", "--undo")
    assert (stored(library, "a"), library.file_genres("a")) == ("", [])
