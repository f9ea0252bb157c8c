"""Albums: decided on as a whole, or after their tracks."""

import pytest
from beets_helpers import ELECTRONIC, ROCK, summary

from agf_core.audio.decode import AudioTooShortError, SilentAudioError, UnreadableAudioError


def test_album_gets_the_mean_of_its_tracks(library, tagger):
    tagger.sounds.update(a={"Rock": 0.6, "Electronic": 0.4}, b={"Rock": 0.1, "Electronic": 0.9})
    library.configure(min_confidence=0.6)
    library.album("ab")
    library.beet("agfgenre", "-a")
    album = library.lib.albums().get()
    assert album.genres == library.genres("a") == library.file_genres("b") == ["Electronic"]
    assert (album.agf_genres, album.agf_confidence) == (["Electronic", "Rock"], 0.65)
    assert library.get("a").get("agf_genres", with_album=False) == ["Rock", "Electronic"]
    assert "tagged 2 tracks and 1 album" in summary(library)


def test_what_has_been_set_is_known_of_every_track_whatever_was_predicted_for_it(library, tagger):
    def ours(title: str) -> list[str]:
        return library.get(title).get("agf_set", with_album=False)

    tagger.sounds.update(a={"Rock": 0.6, "Electronic": 0.4}, b={"Rock": 0.1, "Electronic": 0.9})
    library.configure(min_confidence=0.6)
    library.album("ab")
    library.track("c", genres=["Jazz"])
    library.beet("agfgenre", "-a")
    assert ours("a") == ours("b") == library.lib.albums().get().agf_set == ["Electronic"]
    assert ours("c") is None
    library.beet("agfgenre", "--undo")
    library.beet("agfgenre", "-f", "-k")
    assert library.genres("c") == ["Jazz", "Rock"]
    assert ours("c") == ["Rock"]
    assert ours("a") == ["Electronic", "Rock"]


def test_album_is_not_analysed_again(library, tagger):
    library.configure(min_confidence=0.95)
    library.album("ab")
    library.beet("agfgenre", "-a")
    library.configure(min_confidence=0.5)
    library.beet("agfgenre", "-a")
    assert library.lib.albums().get().genres == library.genres("a") == ["Rock"]
    assert tagger.analysed == ["a", "b"]


@pytest.mark.parametrize(("options", "genres"), [([], ["Jazz"]), (["-f"], ["Rock"])])
def test_tracks_of_an_album_keep_their_genres_unless_forced(library, options, genres):
    library.album("ab")
    item = library.get("a")
    item.genres = ["Jazz"]
    item.store()
    library.beet("agfgenre", "--albums", *options)
    assert library.genres("a") == genres
    assert library.genres("b") == library.lib.albums().get().genres == ["Rock"]


def test_album_with_all_its_genres_is_passed_over(library, tagger):
    library.album("a", genres=["Jazz"])
    item = library.get("a")
    item.genres = ["Jazz"]
    item.store()
    library.beet("agfgenre", "-a")
    assert tagger.analysed == []
    assert "already had genres: 1 track and 1 album" in summary(library)


def test_compilations_and_single_tracks_are_decided_on_by_track(library, tagger):
    tagger.sounds["b"] = ELECTRONIC
    library.album("ab", comp=True)
    library.track("c")
    library.beet("agfgenre", "-a")
    assert [library.genres(t) for t in "abc"] == [["Rock"], ["Electronic"], ["Rock"]]
    assert library.lib.albums().get().genres == []


def test_items_option_undoes_albums(library, tagger):
    tagger.sounds["b"] = ELECTRONIC
    library.configure(albums=True)
    library.album("ab")
    library.beet("agfgenre", "-A")
    assert [library.genres(t) for t in "ab"] == [["Rock"], ["Electronic"]]


def test_silent_track_goes_with_its_album_and_a_broken_one_does_not(library, tagger):
    tagger.sounds["b"] = AudioTooShortError("b.wav is too short")
    tagger.sounds["c"] = UnreadableAudioError("c.wav cannot be read")
    library.album("abc")
    library.beet("agfgenre", "-a")
    assert [library.genres(t) for t in "abc"] == [["Rock"], ["Rock"], []]
    assert "agf_model" not in library.get("b").keys(with_album=False)
    assert "tagged 2 tracks and 1 album; failed: 1 track (1 unreadable)" in summary(library)


def test_album_without_a_readable_track_is_skipped(library, tagger):
    tagger.sounds.update(dict.fromkeys("ab", SilentAudioError("it is silent")))
    library.album("ab")
    library.track("c")
    library.beet("agfgenre", "-a")
    assert library.lib.albums().get().genres == []
    assert "tagged 1 track; failed: 2 tracks (2 silent)" in summary(library)


def test_album_without_tracks(library, tagger):
    library.album("a")
    library.get("a").remove(with_album=False)
    library.beet("agfgenre", "-a")
    assert tagger.analysed == []


def test_explained_album_shows_its_tracks_and_its_mean(library, tagger, capsys):
    tagger.sounds["b"] = ELECTRONIC
    library.album("ab")
    library.beet("agfgenre", "-a", "-p", "--explain")
    out = capsys.readouterr().out
    assert out.count("Rock 0.90") == out.count("Electronic 0.90") == out.count("Rock 0.50") == 1


@pytest.mark.parametrize(("second", "genres"), [(ROCK, ["Rock"]), (ELECTRONIC, [])])
def test_album_gets_the_genres_that_all_of_its_tracks_got_by_themselves(
    library, tagger, second, genres
):
    tagger.sounds["b"] = second
    library.album("ab")
    library.beet("agfgenre")
    album = library.lib.albums().get()
    assert album.genres == genres
    assert "agf_model" not in album
    assert library.genres("a") == ["Rock"]


@pytest.mark.parametrize("by_ones", [False, True])
@pytest.mark.parametrize("there", [[], ["Jazz"]])
def test_pretending_shows_what_albums_would_get_along_with_their_tracks(
    library, tagger, capsys, monkeypatch, by_ones, there
):
    if by_ones:
        monkeypatch.setattr("beetsplug.agfgenre.tag.run.BATCH_SIZE", 1)
    album = library.album("ab")
    album.genres = there
    album.store(inherit=False)
    library.beet("agfgenre", "-p")
    assert (f"{album}\n" in capsys.readouterr().out) is (not there)
    album.load()
    assert album.genres == there
    expected = "2 tracks" if there else "2 tracks and 1 album"
    assert f"would tag {expected}" in summary(library)
    library.beet("agfgenre")
    assert f": tagged {expected}" in summary(library)


@pytest.mark.parametrize("when", ["failed at first", "added later"])
def test_album_is_analysed_again_unless_each_of_its_tracks_was_predicted(library, tagger, when):
    broken = UnreadableAudioError("c.wav cannot be read")
    album = library.album("ab")
    if when == "failed at first":
        tagger.sounds["c"] = broken
        library.track("c", album_id=album.id)
        library.beet("agfgenre", "-a")
        assert library.genres("c") == []
    else:
        library.beet("agfgenre", "-a")
        tagger.sounds["c"] = broken
        library.track("c", album_id=album.id)
    tagger.analysed.clear()
    library.beet("agfgenre", "-a")
    assert sorted(tagger.analysed) == ["a", "b", "c"]
    assert library.genres("c") == library.file_genres("c") == []
    tagger.sounds["c"] = ROCK
    library.beet("agfgenre", "-a")
    assert library.genres("c") == library.file_genres("c") == ["Rock"]
    assert library.get("c").get("agf_model", with_album=False) == "fake-1"
