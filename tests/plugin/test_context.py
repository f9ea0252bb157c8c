"""The genres of an artist's other tracks, when a track is decided on."""

import pytest
from beets_helpers import EVEN, summary

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


def test_genres_that_the_plugin_has_set_do_not_count(artists, tagger):
    artists.track("p", artist="Somebody")
    artists.beet("agfgenre", "title:p")
    assert artists.genres("p") == ["Rock"]
    tagger.sounds["x"] = ROCK_OR_POP
    artists.track("x", artist="Somebody")
    artists.beet("agfgenre", "title:x")
    assert artists.genres("x") == []


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


def test_both_parts_are_explained(artists, tagger, capsys):
    tagger.sounds["x"] = ROCK_OR_POP
    artists.track("x", artist="Artist 1")
    artists.beet("agfgenre", "-p", "--explain", "title:x")
    out = capsys.readouterr().out
    assert "by sound alone: Rock 0.45, Electronic 0.40, Hip-Hop 0.15" in out
    assert "other tracks of the artist: Electronic 2" in out
