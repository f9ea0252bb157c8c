"""What is stored counts, where another plugin shows other genres than are stored."""

import os
import shutil

import pytest
from beets.library import Item
from beets.plugins import BeetsPlugin
from beets_helpers import ELECTRONIC, EVEN, FakeTagger, open_library, summary
from beetsplug.rewrite import RewritePlugin
from mediafile import MediaFile


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


# Plugins that change tags where they are written


class OnWritePlugin(BeetsPlugin):
    """Marks genres in files, or removes them, as `zero` does."""

    mark = ""

    def __init__(self):
        super().__init__(name="on_write")
        self.register_listener("write", self.change)

    def change(self, item, path, tags):
        tags["genres"] = [f"{genre} {self.mark}" for genre in tags["genres"] if self.mark]


@pytest.fixture(params=["", "(auto)"])
def marking(monkeypatch, request):
    monkeypatch.setattr(OnWritePlugin, "mark", request.param)
    for library in open_library(monkeypatch, FakeTagger(), on_disk=True):
        for title, genres in {"a": [], "b": ["Other"]}.items():
            item = library.track(title, genres=genres)
            item.write()
        library.load_plugins()
        library.register_plugin(OnWritePlugin)
        library.load_plugins = lambda: None
        yield library


def marked(*genres: str) -> list[str]:
    return [f"{genre} {OnWritePlugin.mark}" for genre in genres if OnWritePlugin.mark]


def test_undo_knows_what_other_plugins_have_written_instead(marking):
    marking.beet("agfgenre", "-q")
    assert [marking.file_genres(title) for title in "ab"] == [marked("Rock")] * 2
    marking.beet("agfgenre", "-q", "--undo")
    assert "restored 2 tracks" in summary(marking)
    assert [marking.genres(title) for title in "ab"] == [[], ["Other"]]
    assert [marking.file_genres(title) for title in "ab"] == [[], marked("Other")]


def test_undo_leaves_what_somebody_else_has_written(marking):
    marking.beet("agfgenre", "-q")
    file = MediaFile(marking.get("a").path)
    file.genres = ["Polka"]
    file.save()
    marking.beet("agfgenre", "-q", "--undo")
    assert "restored 1 track; skipped because changed since that run: 1 track" in summary(marking)
    assert (marking.genres("a"), marking.file_genres("a")) == (["Rock"], ["Polka"])


def test_genres_in_files_that_other_plugins_have_made_of_ours_are_ours(marking):
    marking.beet("agfgenre", "-q")
    marking.tagger.sounds |= {"a": ELECTRONIC, "b": ELECTRONIC}
    marking.tagger.model_id = "fake-2"
    marking.beet("agfgenre", "-q", "-r")
    assert "tagged 2 tracks" in summary(marking)
    assert [marking.genres(title) for title in "ab"] == [["Electronic"]] * 2
    assert [marking.file_genres(title) for title in "ab"] == [marked("Electronic")] * 2


@pytest.mark.parametrize("renew_first", [False, True])
def test_genres_that_come_back_from_a_file_as_one_are_the_same(monkeypatch, clips, renew_first):
    """With ``id3v23``, a file has several genres as one, which `beet update` reads."""
    for library in open_library(monkeypatch, FakeTagger(), on_disk=True):
        library.config["id3v23"].set(True)
        library.configure(count=3, min_confidence=0)
        (clip,) = (clip for clip in clips if clip.suffix == ".mp3")
        item = Item.from_path(os.fsencode(shutil.copy(clip, library.lib_path)))
        item.update({"title": "a", "genres": []})
        library.lib.add(item)
        library.tagger.sounds[clip.stem] = EVEN
        library.beet("agfgenre", "-q")
        item = library.get("a")
        item.read()
        item.store()
        assert library.genres("a") == ["Hip-Hop/Rock/Electronic"]
        if renew_first:
            library.beet("agfgenre", "-q", "-r")
            assert library.genres("a") == ["Hip-Hop", "Rock", "Electronic"]
            library.beet("agfgenre", "-q", "--undo")
        library.beet("agfgenre", "-q", "--undo")
        assert "restored 1 track" in summary(library)
        assert (library.genres("a"), library.file_genres("a")) == ([], [])
