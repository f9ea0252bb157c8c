import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from beets import importer, plugins
from beets.test.helper import AutotagStub
from beets_helpers import ELECTRONIC, EVEN, FakeTagger, open_library, silent_wav
from mediafile import MediaFile

from agf_core.audio.decode import UnreadableAudioError
from beetsplug.agfgenre.tag import run


@pytest.fixture
def library(monkeypatch):
    for library in open_library(monkeypatch, FakeTagger(), on_disk=True):
        library.configure(auto=True)
        stub = AutotagStub(AutotagStub.IDENT).install()
        yield library
        stub.restore()


def prepare(library, names: str, folder: str = "new", **tags) -> Path:
    """Put an album where it can be imported from; each letter of `names` names a file."""
    place = library.incoming / folder
    place.mkdir(parents=True)
    for number, name in enumerate(names, 1):
        path = place / f"{name}.wav"
        silent_wav(path)
        file = MediaFile(path)
        file.update(
            {
                "title": f"Tag Track {number}",
                "artist": "Tag A",
                "album": "Tag B",
                "track": number,
                **tags,
            }
        )
        file.save()
    return place


def run_import(library, place: Path, choice=importer.Action.APPLY, **options):
    library.load_plugins()
    session = library.setup_importer(place, **options)
    session.default_choice = choice
    session.run()
    return library.lib.items("track+")


@pytest.mark.parametrize("threaded", [False, True])
def test_autotagged_albums_are_written_with_their_genres(library, tagger, threaded, capsys):
    tagger.sounds["b"] = ELECTRONIC
    library.config["threaded"] = threaded
    items = run_import(library, prepare(library, "ab"))
    assert [item.genres for item in items] == [["Rock"], ["Electronic"]]
    assert [MediaFile(item.path).genres for item in items] == [["Rock"], ["Electronic"]]
    assert [item.agf_model for item in items] == ["fake-1"] * 2
    assert all(os.fsencode(library.lib_path) in item.path for item in items)
    assert "Rock" not in capsys.readouterr().out


@pytest.mark.parametrize("threaded", [False, True])
def test_albums_as_they_are_get_genres_in_the_library_only(library, threaded):
    """As with every plugin: beets writes no tags when it does not autotag."""
    library.config["threaded"] = threaded
    items = run_import(library, prepare(library, "a"), autotag=False)
    assert [item.genres for item in items] == [["Rock"]]
    assert not MediaFile(items[0].path).genres
    assert library.lib.albums().get().genres == ["Rock"]


AS_IS = "files imported as they are have their genres in the library only"


@pytest.mark.parametrize("autotag", [False, True])
def test_genres_that_are_in_the_library_only_are_reported_once(library, autotag):
    prepare(library, "a", "one", album="One")
    place = prepare(library, "b", "two", album="Two").parent
    items = run_import(library, place, autotag=autotag)
    assert [bool(MediaFile(item.path).genres) for item in items] == [autotag] * 2
    assert [line.partition(":")[0] for line in library.log.having(AS_IS)] == (
        [] if autotag else ["INFO"]
    )


def test_what_became_of_all_that_was_imported_is_reported_at_the_end(library, tagger):
    tagger.sounds.update(b=EVEN, c=UnreadableAudioError("c.wav", "is damaged"))
    prepare(library, "a", "one", album="One")
    place = prepare(library, "bc", "two", album="Two").parent
    run_import(library, place)
    told = "tagged 1 track and 1 album"
    assert not library.log.having(told)
    for _ in range(2):
        plugins.send("import", lib=library.lib, paths=[os.fsencode(place)])
        assert len(library.log.having(told)) == 1
    (line,) = library.log.having(told)
    assert line.startswith("INFO")
    assert "unsure: 1 track" in line
    assert "(1 unreadable)" in line


@pytest.mark.parametrize("why", ["unsure", "not writing"])
def test_nothing_is_reported_of_files_without_cause(library, tagger, why):
    if why == "unsure":
        tagger.sounds["a"] = EVEN
    else:
        library.config["import"]["write"] = False
    run_import(library, prepare(library, "a"), autotag=False)
    assert not library.log.having(AS_IS)


@pytest.mark.parametrize("autotag", [False, True])
def test_singletons(library, autotag):
    items = run_import(library, prepare(library, "ab"), autotag=autotag, singletons=True)
    assert [item.genres for item in items] == [["Rock"]] * 2


def test_albums_are_decided_on_as_a_whole_if_configured(library, tagger):
    tagger.sounds["b"] = {"Rock": 0.3, "Electronic": 0.7}
    library.configure(auto=True, albums=True, min_confidence=0.5)
    items = run_import(library, prepare(library, "ab"))
    assert [item.genres for item in items] == [["Rock"], ["Rock"]]
    album = library.lib.albums().get()
    assert (album.genres, album.agf_confidence) == (["Rock"], 0.6)
    assert [MediaFile(item.path).genres for item in items] == [["Rock"], ["Rock"]]


@pytest.mark.parametrize(
    ("config", "genres"),
    [
        ({}, ["Jazz"]),
        ({"force": True}, ["Rock"]),
        ({"keep_existing": True}, ["Jazz", "Rock"]),
    ],
)
def test_genres_that_are_there(library, config, genres):
    library.configure(auto=True, **config)
    items = run_import(library, prepare(library, "a", genres=["Jazz"]))
    assert items[0].genres == genres


def test_without_auto_nothing_is_analysed(library, tagger):
    library.configure(auto=False)
    items = run_import(library, prepare(library, "a"))
    assert (items[0].genres, tagger.analysed) == ([], [])


def test_unsure_tracks_are_skipped(library, tagger):
    tagger.sounds["a"] = EVEN
    items = run_import(library, prepare(library, "a"))
    assert (items[0].genres, items[0].agf_confidence) == ([], 0.4)


def test_skipped_albums_are_not_analysed(library, tagger):
    run_import(library, prepare(library, "a"), importer.Action.SKIP)
    assert tagger.analysed == []


@pytest.mark.parametrize("as_album", [False, True])
def test_importing_again_does_not_analyse_again(library, tagger, as_album):
    library.configure(auto=True, albums=as_album)
    run_import(library, prepare(library, "a"), autotag=False)
    run_import(library, library.lib_path, autotag=False)
    assert len(library.lib.items()) == 1
    assert library.lib.items().get().agf_model == "fake-1"
    assert tagger.analysed == ["a"]


def test_model_is_loaded_once(library):
    prepare(library, "a", "one")
    run_import(library, prepare(library, "b", "two").parent)
    assert (library.loads, len(library.lib.items())) == (1, 2)


def test_real_music_is_analysed_on_its_way_in(monkeypatch, clips):
    for library in open_library(monkeypatch, None, on_disk=True):
        library.config["threaded"] = True
        library.configure(auto=True, min_confidence=0, force=True)
        library.incoming.mkdir()
        for clip in clips[:2]:
            shutil.copy(clip, library.incoming)
        items = run_import(library, library.incoming, autotag=False)
        assert all(item.genres == item.agf_genres[:1] == item.agf_set for item in items)
        assert len(items) == 2


# Whatever happens, the import goes on


def test_unreadable_file_is_reported(library, tagger):
    tagger.sounds["a"] = UnreadableAudioError("a.wav cannot be read")
    items = run_import(library, prepare(library, "ab"))
    assert [item.genres for item in items] == [[], ["Rock"]]
    assert library.log.lines_at("WARNING") == ["WARNING: a.wav cannot be read"]


def test_unforeseen_errors_name_the_folder(library, tagger, monkeypatch):
    def fail(path):
        raise RuntimeError("out of tune")

    monkeypatch.setattr(tagger, "_result", fail)
    items = run_import(library, prepare(library, "a", "strange"))
    assert [item.genres for item in items] == [[]]
    (line,) = library.log.lines_at("WARNING")
    assert "strange" in line
    assert "out of tune" in line


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"model": "/no/such/model"}, "/no/such/model"),
        ({"count": 0}, "count must be"),
        ({"whitelist": "/no/such.txt"}, "/no/such.txt"),
    ],
)
def test_what_makes_tagging_impossible_is_reported_once(monkeypatch, config, problem):
    for library in open_library(monkeypatch, None):
        library.configure(auto=True, **config)
        prepare(library, "a", "one")
        items = run_import(library, prepare(library, "b", "two").parent, autotag=False)
        assert [item.genres for item in items] == [[], []]
        (line,) = library.log.lines_at("WARNING")
        assert problem in line
        assert "no genres are set in this import" in line
        assert "agfgenre: " not in line


def test_library_that_cannot_be_written_for_a_while(library, monkeypatch):
    library.configure(auto=True)
    prepare(library, "a", "one")
    failures = [sqlite3.OperationalError("database is locked")]
    store = run.store

    def fail_once(model):
        if failures:
            raise failures.pop()
        store(model)

    monkeypatch.setattr(run, "store", fail_once)
    items = run_import(library, prepare(library, "b", "two").parent, autotag=False)
    assert len(items) == 2
    assert any(item.genres for item in library.lib.items())
    (line,) = library.log.lines_at("WARNING")
    assert "cannot be written (database is locked)" in line
    assert "agfgenre: " not in line
