"""Deciding again on genres that the plugin has set, and on those of their albums."""

import pytest
from beets_helpers import ELECTRONIC, EVEN, summary

from beetsplug.agfgenre.tag import run


@pytest.fixture
def tagged(library, tagger):
    """Tracks a and b that the plugin has tagged, and c that it has, but that was changed since."""
    for title in "abc":
        library.track(title)
    library.beet("agfgenre", "-q")
    item = library.get("c")
    item.genres = ["Jazz"]
    item.store()
    item.write()
    tagger.sounds.update(a=ELECTRONIC, b=EVEN)
    return library


def forget(library) -> None:
    """Let the model be another one, so that all is predicted again."""
    for item in library.lib.items():
        item["agf_model"] = "other"
        item.store()


def test_renewing_decides_anew_about_what_the_plugin_has_set(tagged, capsys):
    forget(tagged)
    tagged.beet("agfgenre")
    assert [tagged.genres(t) for t in "abc"] == [["Rock"], ["Rock"], ["Jazz"]]
    tagged.beet("agfgenre", "-r", "-p")
    assert "would tag 1 track" in summary(tagged)
    assert [tagged.genres(t) for t in "abc"] == [["Rock"], ["Rock"], ["Jazz"]]
    capsys.readouterr()
    tagged.beet("agfgenre", "-r")
    assert [tagged.genres(t) for t in "abc"] == [["Electronic"], [], ["Jazz"]]
    assert [tagged.file_genres(t) for t in "abc"] == [["Electronic"], [], ["Jazz"]]
    assert "removed because unsure or no longer wanted: 1 track" in summary(tagged)
    assert "already had genres: 1 track" in summary(tagged)
    assert "- Rock" in capsys.readouterr().out


def test_stricter_settings_remove_genres_set_before(library, tagger):
    tagger.sounds["a"] = EVEN
    library.track("a")
    library.configure(min_confidence=0)
    library.beet("agfgenre", "-q")
    assert library.genres("a") != []
    library.configure(min_confidence=0.8)
    library.beet("agfgenre", "-f")
    assert library.genres("a") != []
    library.configure(renew=True)
    library.beet("agfgenre", "-R")
    assert library.genres("a") != []
    library.beet("agfgenre")
    assert library.genres("a") == library.file_genres("a") == []
    assert tagger.analysed == ["a"]


@pytest.mark.parametrize("option", ["-w", "-W"])
def test_genres_removed_and_set_again_by_hand_is_the_users(library, option):
    library.track("a")
    library.beet("agfgenre", "-q", option)
    library.configure(min_confidence=1)
    library.beet("agfgenre", "-r", option)
    assert library.genres("a") == []
    library.beet("modify", "-y", "-M", option, "title:a", "genres=Rock")
    library.beet("agfgenre", "-r", option)
    # What was never written may have come from a file that a run has written before.
    assert library.genres("a") == (["Rock"] if option == "-w" else [])


def test_keeping_wins_over_renewing(tagged):
    forget(tagged)
    tagged.beet("agfgenre", "-r", "-k")
    assert [tagged.genres(t) for t in "abc"] == [["Rock", "Electronic"], ["Rock"], ["Jazz", "Rock"]]


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize(
    ("option", "sounds", "genres"),
    [
        ("-r", {"a": ELECTRONIC, "b": ELECTRONIC}, ["Electronic"]),
        ("-f", {"a": ELECTRONIC, "b": ELECTRONIC}, ["Electronic"]),
        ("-r", {"a": ELECTRONIC}, []),
        ("-f", {"a": ELECTRONIC}, ["Rock"]),
    ],
)
def test_albums_go_along_with_their_tracks(
    library, tagger, monkeypatch, option, sounds, genres, batch
):
    monkeypatch.setattr("beetsplug.agfgenre.tag.run.BATCH_SIZE", batch)
    library.album("ab")
    library.beet("agfgenre", "-q")
    assert library.lib.albums().get().genres == ["Rock"]
    tagger.sounds.update(sounds)
    forget(library)
    for pretend in (["-p"], []):
        library.beet("agfgenre", option, *pretend)
        told = library.log.lines_at("INFO")[-1]
        assert ("and 1 album" in told) is (genres == ["Electronic"])
        assert ("1 album" in told) is (genres != ["Rock"])
    assert library.lib.albums().get().genres == genres


def test_an_album_waits_for_all_of_its_tracks(library, tagger, monkeypatch):
    monkeypatch.setattr("beetsplug.agfgenre.tag.run.BATCH_SIZE", 1)
    library.album("ab")
    library.beet("modify", "-y", "-M", "-W", "title:b", "genres=Rock")
    tagger.sounds["b"] = ELECTRONIC
    library.beet("agfgenre", "-f")
    assert [library.genres(t) for t in "ab"] == [["Rock"], ["Electronic"]]
    assert library.lib.albums().get().genres == []


def test_an_album_that_a_killed_run_has_left_behind_is_completed(library, tagger):
    tagger.sounds.update(a=ELECTRONIC, b=ELECTRONIC)
    album = library.album("ab")
    library.beet("agfgenre", "-q")
    album.load()
    album.update({"genres": ["Rock"], "agf_set": ["Rock"]})
    album.store(inherit=False)
    library.beet("agfgenre", "-r")
    album.load()
    assert album.genres == ["Electronic"]
    assert "tagged 1 album; already right: 2 tracks" in summary(library)


def test_tracks_analysed_before_come_first_and_complete_their_albums(library, tagger):
    library.track("c")
    album = library.album("ab")
    library.configure(min_confidence=1)
    library.beet("agfgenre", "-q", "title::[ab]")
    library.configure(min_confidence=0.5)
    tagger.interrupt_after = 2
    with pytest.raises(SystemExit, match="130"):
        library.beet("agfgenre", "-q")
    album.load()
    assert album.genres == library.genres("a") == library.genres("b") == ["Rock"]
    assert library.genres("c") == []


def test_nothing_is_written_while_tracks_are_selected(library, tagger, monkeypatch):
    library.album("ab")
    library.configure(min_confidence=1)
    library.beet("agfgenre", "-q")
    library.configure(min_confidence=0.5)
    for title in "cde":
        library.track(title)
    monkeypatch.setattr("beetsplug.agfgenre.tag.run.BATCH_SIZE", 1)
    monkeypatch.setattr("beetsplug.agfgenre.tag.prefilter.OBJECTS_AT_ONCE", 1)
    states = []
    select = run.Run._is_wanted

    def selected(self, obj):
        states.append([item.genres for item in library.lib.items()])
        return select(self, obj)

    monkeypatch.setattr(run.Run, "_is_wanted", selected)
    library.beet("agfgenre", "-q")
    assert states == [[[]] * 5] * 5
    assert [library.genres(title) for title in "abcde"] == [["Rock"]] * 5


def test_stopped_an_album_goes_by_what_its_tracks_have(library, tagger):
    library.album("ab")
    library.beet("modify", "-y", "-M", "-W", "title:b", "genres=Rock")
    tagger.interrupt_after = 1
    with pytest.raises(SystemExit):
        library.beet("agfgenre", "-f")
    assert library.lib.albums().get().genres == ["Rock"]


def test_an_album_of_other_genres_stays_when_its_tracks_are_renewed(library, tagger):
    library.album("ab")
    library.beet("agfgenre", "-q")
    album = library.lib.albums().get()
    album.genres = ["Jazz"]
    album.store(inherit=False)
    tagger.sounds.update(a=ELECTRONIC, b=ELECTRONIC)
    forget(library)
    library.beet("agfgenre", "-r")
    assert [library.genres(t) for t in "ab"] == [["Electronic"]] * 2
    assert library.lib.albums().get().genres == ["Jazz"]


def test_what_is_no_longer_wanted_is_removed(library, tmp_path):
    library.track("a")
    library.beet("agfgenre", "-q")
    (tmp_path / "wanted.txt").write_text("Jazz\n")
    library.configure(whitelist=str(tmp_path / "wanted.txt"))
    library.beet("agfgenre", "-r")
    assert library.genres("a") == library.file_genres("a") == []
