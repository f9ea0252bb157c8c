"""Names that stand in tags for want of a genre count as none."""

import unicodedata

import confuse
import pytest
from beets.ui import UserError
from beets_helpers import EVEN, FakeTagger, open_library, summary
from mediafile import MediaFile

from beetsplug.agfgenre.config import DEFAULTS
from beetsplug.agfgenre.train.training_set import TrainingSet
from beetsplug.agfgenre.vocabulary import Vocabulary, read_learn_as

EMPTY = ["Other", "UNKNOWN", "?", "-", "genre", "Music", " misc ", "(12)", "Unknown Genre", "None"]


@pytest.fixture
def library(monkeypatch):
    yield from open_library(monkeypatch, FakeTagger(), on_disk=True)


def vocabulary(**options) -> Vocabulary:
    config = confuse.Configuration("test", read=False)
    config.set({**DEFAULTS, **options})
    return Vocabulary.from_config(config)


@pytest.mark.parametrize("name", EMPTY)
@pytest.mark.parametrize("options", [[], ["-k"], ["-r"], ["-f"], ["-a"]])
def test_what_has_placeholders_alone_is_tagged_and_undo_puts_them_back(library, name, options):
    library.album("a")
    item = library.get("a")
    item.genres = [name]
    item.try_write()
    item.store()
    there, in_file = library.genres("a"), library.file_genres("a")
    library.beet("agfgenre", *options)
    assert library.genres("a") == library.file_genres("a") == ["Rock"]
    assert library.get("a").agf_set == ["Rock"]
    library.beet("agfgenre", "--undo")
    assert (library.genres("a"), library.file_genres("a")) == (there, in_file)
    assert there


def test_several_placeholders_are_no_genre_and_one_genre_beside_them_is_one(library):
    library.track("a", genres=["Other", "Misc"])
    library.track("b", genres=["Other", "Jazz"])
    library.beet("agfgenre")
    assert (library.genres("a"), library.genres("b")) == (["Rock"], ["Other", "Jazz"])
    assert "tagged 1 track; already had genres: 1 track" in summary(library)


def test_placeholders_stay_where_nothing_better_is_known(library, tagger):
    tagger.sounds["a"] = EVEN
    library.track("a", genres=["Other"])
    for options in ([], [], ["-r"], ["-f"]):
        library.beet("agfgenre", *options)
        assert library.genres("a") == ["Other"]
        assert "skipped because unsure: 1 track" in summary(library)
    assert tagger.analysed == ["a"]


def test_a_placeholder_in_the_file_alone_does_not_keep_it_from_being_tagged(library):
    path = library.track("a").path
    file = MediaFile(path)
    file.genres = ["Other"]
    file.save()
    library.beet("agfgenre")
    assert library.genres("a") == library.file_genres("a") == ["Rock"]


def test_an_album_of_placeholders_gets_what_its_tracks_get(library):
    album = library.album("ab", genres=["Unknown"])
    library.beet("agfgenre")
    album.load()
    assert album.genres == ["Rock"]


def test_the_importer_takes_placeholders_for_no_genre(library):
    library.configure(auto=True)
    library.track("a", genres=["Other"])
    item = library.get("a")
    library.load_plugins()
    from beets import plugins

    (plugin,) = (p for p in plugins.find_plugins() if p.name == "agfgenre")

    class Task:
        is_album, apply, album = False, True, None

        def imported_items(self):
            return [item]

    class Session:
        lib = library.lib

    plugin.imported(Session(), Task())
    assert library.genres("a") == ["Rock"]


def test_placeholders_are_not_trained_on(library):
    for title, genres in {"a": ["Other"], "b": ["?", "Jazz"], "c": ["Pop", "Misc"]}.items():
        library.track(title, genres=genres)
    found = TrainingSet.of(library.lib.items(), vocabulary(), {})
    assert [(track.genre, track.labels) for track in found.tracks] == [
        ("", ()),
        ("Jazz", ("Jazz",)),
        ("Pop", ("Pop",)),
    ]
    assert found.untagged == 1


def test_the_list_can_be_ones_own_or_empty(library):
    library.configure(placeholders=["Stuff", 7])
    for title, name in {"a": "STUFF", "b": "7", "c": "Other"}.items():
        library.track(title, genres=[name])
    library.beet("agfgenre")
    assert [library.genres(title) for title in "abc"] == [["Rock"], ["Rock"], ["Other"]]
    for nothing in ([], False, None):
        assert vocabulary(placeholders=nothing).genres_of(["?", " ", ""]) == ["?"]


@pytest.mark.parametrize("value", ["Other", {"Other": "x"}, [["Other"]], [None], [True], 5])
def test_a_list_that_is_none_is_one_clear_line(value):
    with pytest.raises(UserError, match=r"^agfgenre: placeholders: .* is no list of names"):
        vocabulary(placeholders=value)


SPELLINGS = (
    *(
        "Unknown.",
        "<Other>",
        "[Genre]",
        "{misc}",
        "“Unknown”",
        "\uff2f\uff54\uff48\uff45\uff52",
        "Autre\u0301s",
        "N / A",
        "genre:",
    ),
    *("????", "- -", "—", "…", "#", "!!!", "|", "\u200b", "\u00a0", "Other\u200b", "Unknown\ufeff"),
    *(
        "GENRE_UNKNOWN",
        "Other/Unknown",
        "Other; Misc",
        "Other Music",
        "(Unknown Genre)",
        "Other (12)",
        "General, Other",
    ),
    *("Неизвестно", "その他", "未知", "기타", unicodedata.normalize("NFD", "기타")),
)


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings_of_placeholders_are_placeholders(name):
    assert vocabulary().genres_of([name]) == []


@pytest.mark.parametrize("target", ["Other", "?", "Unknown Genre", "[misc]", "12"])
def test_a_rule_that_leads_to_a_placeholder_means_that_the_genre_is_not_wanted(library, target):
    library.configure(aliases={target: ["rock"]}, learn_as={"Jazz": target})
    library.track("a")
    library.track("b", genres=["Jazz"])
    for _ in range(2):
        library.beet("agfgenre")
        assert library.genres("a") == library.file_genres("a") == []
        assert "tagged 0 tracks; not wanted by whitelist or aliases: 1 track" in summary(library)
    learn_as = read_learn_as(library.config["agfgenre"])
    found = TrainingSet.of(library.lib.items(), vocabulary(), learn_as)
    assert [track.genre for track in found.tracks] == ["", ""]
    assert found.excluded == 1


def test_a_tree_of_placeholders_gives_none(tmp_path):
    (tmp_path / "tree").write_text("- other:\n  - rock:\n    - surf\n")
    words = vocabulary(canonical=str(tmp_path / "tree"))
    assert words.translate("Surf") == ["Rock"]


GENRES = (
    *("Other Side", "World Music", "Rock", "No Wave", "2-Step", "80s", "Music Hall", "Pop Music"),
    *("🎹", "♥", "C86", "General MIDI", "Música Popular", "음악 가요", "R&B", "13"),
)


@pytest.mark.parametrize("name", GENRES)
def test_genres_are_none(name):
    assert vocabulary().genres_of([name]) == [name]
