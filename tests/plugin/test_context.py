"""The genres of an artist's other tracks, when a track is decided on."""

import re

import numpy as np
import pytest
from beets import plugins
from beets_helpers import ELECTRONIC, EVEN, ROCK, summary

from beetsplug.agfgenre.tag import run
from beetsplug.agfgenre.train import report

ROCK_OR_POP = {"Rock": 0.45, "Electronic": 0.4, "Hip-Hop": 0.15}


@pytest.fixture
def artists(library):
    """Eight artists with two tagged albums each; the plugin's label of half of them is Rock."""
    library.configure(context=True)
    for i in range(8):
        genre = ("Rock", "Electronic")[i % 2]
        for album in "ab":
            library.track(f"{i}{album}", artist=f"Artist {i}", album=album, genres=[genre])
    return library


def test_the_artist_decides_where_the_sound_is_unsure(artists, tagger):
    tagger.sounds |= {"x": ROCK_OR_POP, "y": ROCK_OR_POP}
    artists.track("x", artist="The Artist 1 feat. Somebody")
    artists.track("y", artist="Nobody Else")
    artists.beet("agfgenre", "title:x", ",", "title:y")
    assert artists.genres("x") == ["Electronic"]
    assert artists.genres("y") == []
    assert artists.get("x").agf_model.startswith("fake-1+artist-")
    assert artists.get("y").agf_model == "fake-1"


def test_context_can_be_turned_off(artists, tagger):
    artists.configure(context=False)
    tagger.sounds["x"] = ROCK_OR_POP
    artists.track("x", artist="Artist 1")
    artists.beet("agfgenre", "title:x")
    assert artists.genres("x") == []


def test_genres_that_the_plugin_has_set_do_not_count(artists, tagger, capsys):
    artists.track("p", artist="Somebody")
    artists.beet("agfgenre", "title:p")
    assert artists.genres("p") == ["Rock"]
    artists.track("x", artist="Somebody")
    artists.beet("agfgenre", "-p", "--explain", "title:x")
    out = capsys.readouterr().out
    assert "with the artist's other predictions (1)" in out
    assert "your genres" not in out


def test_genres_that_the_model_lacks_make_an_artist_less_sure(artists, tagger, capsys):
    tagger.sounds |= {"x": ROCK_OR_POP, "y": ROCK_OR_POP}
    for artist, others in (("One", 0), ("Several", 3)):
        artists.track(artist, artist=artist, album="a", genres=["Hip-Hop"])
        for i in range(others):
            artists.track(f"{artist} {i}", artist=artist, album="a", genres=["Soundtrack"])
    artists.track("x", artist="One", album="b")
    artists.track("y", artist="Several", album="b")
    artists.beet("agfgenre", "--explain", "title:x", ",", "title:y")
    assert artists.genres("x") == ["Hip-Hop"]
    assert artists.genres("y") == []
    assert "(Hip-Hop 1, 3 unknown to the model)" in capsys.readouterr().out


def test_a_style_of_the_model_counts_as_its_genre(artists, tagger, capsys):
    tagger.sounds["x"] = ROCK_OR_POP
    artists.track("tagged", artist="Somebody", album="a", genres=["Techno"])
    artists.track("x", artist="Somebody", album="b")
    artists.beet("agfgenre", "--explain", "title:x")
    assert artists.genres("x") == ["Electronic"]
    assert "with your genres of the artist's other tracks (Electronic 1)" in capsys.readouterr().out


def test_a_genre_of_the_user_stays_and_a_track_is_no_witness_of_itself(artists, tagger):
    tagger.sounds["x"] = ROCK_OR_POP
    artists.track("x", artist="Alone", genres=["Hip-Hop"])
    artists.beet("agfgenre", "title:x")
    assert artists.genres("x") == ["Hip-Hop"]
    artists.beet("agfgenre", "-f", "title:x")
    assert artists.get("x").agf_model == "fake-1"
    assert artists.genres("x") == ["Hip-Hop"]


def test_a_new_tag_of_the_user_is_a_reason_to_decide_again(artists, tagger):
    tagger.sounds["x"] = ROCK_OR_POP
    artists.track("x", artist="Late")
    artists.beet("agfgenre", "title:x")
    assert artists.genres("x") == []
    artists.track("z", artist="Late", genres=["Electronic"])
    artists.beet("agfgenre", "title:x")
    assert artists.genres("x") == ["Electronic"]
    assert tagger.analysed.count("x") == 2
    artists.beet("agfgenre", "-r", "title:x")  # nothing has changed since
    assert tagger.analysed.count("x") == 2


def test_an_album_follows_its_tracks(artists, tagger):
    tagger.sounds |= {"A": ROCK_OR_POP, "B": EVEN}
    artists.album("AB", albumartist="Artist 1")
    for item in artists.lib.items("album:Album"):
        item.artist = "Artist 1"
        item.store()
    artists.beet("agfgenre", "-a", "album:Album")
    assert artists.genres("A") == artists.genres("B") == ["Electronic"]


def test_various_artists_are_nobody(artists, tagger):
    tagger.sounds["x"] = ROCK_OR_POP
    artists.track("v", artist="Various Artists", genres=["Electronic"])
    artists.track("x", artist="Various Artists")
    artists.beet("agfgenre", "title:x")
    assert artists.genres("x") == []
    assert "unsure: 1 track" in summary(artists)


def test_the_parts_are_explained(artists, tagger, capsys):
    tagger.prior = np.array([0.4, 0.2, 0.2, 0.2])
    artists.configure(context=True, prior="balanced")
    tagger.sounds |= {"x": ROCK_OR_POP, "y": {"Rock": 0.9, "Electronic": 0.1}}
    for title in "xy":
        artists.track(title, artist="Artist 1")
    artists.beet("agfgenre", "-p", "--explain", "title:x", ",", "title:y")
    out = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(out) if line.endswith(" x"))
    parts = [line.strip().partition(":")[0] for line in out[start + 2 : start + 6]]
    assert parts == [
        "by sound alone",
        "with the balanced prior",
        "with the artist's other predictions (1)",
        "with your genres of the artist's other tracks (Electronic 2)",
    ]
    assert "by sound alone: Rock 0.45, Electronic 0.40, Hip-Hop 0.15" in out[start + 2]
    assert out[start + 1].strip().startswith(out[start + 5].rpartition("): ")[2])


def test_where_the_sound_is_the_only_part_it_is_not_explained_twice(library, capsys):
    library.configure(context=True)
    library.track("x", artist="Alone")
    library.beet("agfgenre", "-p", "--explain", "title:x")
    assert "by sound alone" not in capsys.readouterr().out


def test_the_report_shows_what_each_part_brings():
    parts = {
        "by sound alone": {"accuracy": 0.75, "written": 0.5, "right": 0.9},
        "with your genres of them as well": {"accuracy": 0.95, "written": 0.0, "right": None},
    }
    lines = report._context_lines({"tracks": 20, "confidence": 0.6, "parts": parts})
    cells = [re.split(r"  +", line.strip()) for line in lines if line]
    assert cells == [
        [
            "20 tracks by artists with other tagged albums",
            "accuracy",
            "written at 0.6",
            "right of these",
        ],
        ["by sound alone", "75.0%", "50.0%", "90.0%"],
        ["with your genres of them as well", "95.0%", "0.0%", "-"],
    ]
    assert report._context_lines({"tracks": 0, "confidence": 0.6, "parts": {}}) == []


# Predictions of the artist's other tracks


def test_tracks_of_an_artist_are_decided_on_together_in_any_order(library, tagger):
    """One doubtful track among clear ones follows them, whichever is analysed first."""
    library.configure(context=True)
    tagger.sounds |= {"b": ROCK_OR_POP}
    for title in "bacde":
        tagger.sounds.setdefault(title, ELECTRONIC)
        library.track(title, artist="Somebody" if title < "d" else "Somebody else")
    for order in ("title+", "title-"):
        library.beet("agfgenre", "-f", order)
        assert library.genres("b") == ["Electronic"]
        assert {library.get(t).agf_model for t in "bac"} == {library.get("b").agf_model}
    assert library.get("b").agf_model.startswith("fake-1+artist-")
    assert library.get("a").agf_confidence < 0.9


def test_what_an_earlier_run_has_analysed_counts(library, tagger):
    library.configure(context=True)
    tagger.sounds |= {"a": ELECTRONIC, "b": ELECTRONIC, "c": ROCK_OR_POP, "d": ROCK_OR_POP}
    for title in "ab":
        library.track(title, artist="Somebody")
    library.beet("agfgenre")
    for title in "cd":
        library.track(title, artist="Somebody" if title == "c" else "Another")
    tagger.analysed.clear()
    library.beet("agfgenre")
    assert sorted(tagger.analysed) == ["c", "d"]
    assert library.genres("c") == ["Electronic"]
    assert library.genres("d") == []


def test_a_second_run_has_nothing_to_decide(library, tagger):
    library.configure(context=True)
    for title in "abc":
        tagger.sounds[title] = EVEN
        library.track(title, artist="Somebody")
    library.beet("agfgenre")
    tagger.analysed.clear()
    library.beet("agfgenre")
    assert tagger.analysed == []
    assert "unsure: 3 tracks" in summary(library)


def test_features_that_are_gone_do_not_count(library, tagger):
    library.configure(context=True)
    tagger.sounds |= {"a": ELECTRONIC, "c": ROCK_OR_POP}
    library.track("a", artist="Somebody")
    library.beet("agfgenre")
    tagger.remembered.clear()
    library.track("c", artist="Somebody")
    tagger.analysed.clear()
    library.beet("agfgenre", "title:c")
    assert tagger.analysed == ["c"]
    assert library.genres("c") == []


@pytest.mark.parametrize("stored", [True, False])
def test_predictions_do_not_count_where_the_tags_show_that_they_mislead(
    library, tagger, stored, capsys
):
    """Each artist has tracks of two genres, all of which are predicted well."""
    library.configure(context=True)
    tagger.sounds |= {"x": ROCK_OR_POP, "y": ELECTRONIC}
    for i in range(30):
        for genre, sound in (("Rock", ROCK), ("Electronic", ELECTRONIC)):
            title = f"{genre}{i}"
            tagger.sounds[title] = sound
            library.track(title, artist=f"Artist {i}", genres=[genre])
            tagger.remembered |= {title} if stored else set()
    for title in "xy":
        library.track(title, artist="Somebody")
    library.beet("agfgenre", "-p", "--explain", "title:x", ",", "title:y")
    assert ("other predictions" in capsys.readouterr().out) is not stored


def test_an_artist_with_many_tracks_does_not_wait_for_all(library, tagger, monkeypatch):
    monkeypatch.setattr(run, "MOST_WAITING", 4)
    library.configure(context=True)
    for i in range(11):
        library.track(f"t{i}", artist="Somebody")
    tagger.interrupt_after = 9
    with pytest.raises(SystemExit):
        library.beet("agfgenre")
    assert sum(bool(item.genres) for item in library.lib.items()) == 9


def test_genres_of_the_same_import_count(library, tagger):
    library.configure(context=True, auto=True)
    library.load_plugins()
    plugin = next(p for p in plugins.find_plugins() if p.name == "agfgenre")
    tagger.sounds |= {"x": ROCK_OR_POP}
    for title, fields in (("a", {}), ("b", {"genres": ["Electronic"]}), ("x", {})):
        item = library.track(title, artist="Else" if title == "a" else "Late", **fields)
        plugin._tag_task(library.lib, FakeTask([item]))
    assert library.genres("x") == ["Electronic"]


class FakeTask:
    """A task of the importer: single tracks."""

    is_album = False

    def __init__(self, items):
        self._items = items

    def imported_items(self):
        return self._items
