"""Every query that works on beets' `genres` works on the plugin's own list fields."""

import os
from pathlib import Path

import pytest
from beets.dbcore.query import MatchQuery
from beets.library import Album, Item
from beets_helpers import ELECTRONIC, EVEN, ROCK
from beetsplug.fuzzy import FuzzyPlugin
from beetsplug.smartplaylist import SmartPlaylistPlugin

pytestmark = pytest.mark.skipif(
    not MatchQuery.value_match("a", ["a"]), reason="this beets does not look into lists"
)

FORMS = {
    "{}:roc": "ab",
    "{}:Rock": "ab",
    "{}::^Rock$": "ab",
    "{}::^Elec.*c$": "bc",
    "{}:=Rock": "ab",
    "{}:=rock": "",
    "{}:=~rOCK": "ab",
    "{}:=Roc": "",
    "{}:~electrpnic": "bc",
    "^{}:Rock": "cd",
    "^{}::^Rock$": "cd",
    "^{}:=Rock": "cd",
    "{}::^$": "d",
    "{}:Rock {}:=Electronic": "b",
    "{}:=Hip-Hop , {}:=Electronic": "bc",
}
FIELDS = ("agf_genres", "agf_set")


@pytest.fixture
def analysed(library, tagger):
    """Tracks a (Rock), b (Hip-Hop, Rock, Electronic), c (Electronic), and d, not analysed."""
    tagger.sounds |= {"a": ROCK, "b": EVEN, "c": ELECTRONIC}
    library.configure(count=3, min_confidence=0)
    for title in "abcd":
        library.track(title, genres=["Jazz"] if title == "d" else [])
    library.beet("agfgenre", "-q", "^title:d")
    library.register_plugin(FuzzyPlugin)
    return library


def titles(library, query: str) -> str:
    return "".join(sorted(item.title for item in library.lib.items(query)))


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_query_looks_into_the_list(analysed, form, field):
    assert titles(analysed, form.replace("{}", field)) == FORMS[form]


@pytest.mark.parametrize("field", FIELDS)
def test_albums_can_be_queried_too(library, field):
    library.album("ab", name="One")
    library.album("c", name="Two")
    library.beet("agfgenre", "-a", "-q", "album:One")
    for query in (f"{field}::^Rock$", f"{field}:=Rock", f"{field}:=~rock"):
        assert [album.album for album in library.lib.albums(query)] == ["One"]


@pytest.mark.parametrize("field", FIELDS)
def test_sorting_puts_tracks_without_the_field_first(analysed, field):
    def order(query: str) -> str:
        return "".join(item.title for item in analysed.lib.items(query))

    assert order(f"{field}+") == "dcba"
    assert order(f"{field}-") == "abcd"


def test_a_smart_playlist_takes_the_same_query(analysed):
    folder = Path(os.fsdecode(analysed.temp_path)) / "lists"
    analysed.config["smartplaylist"].set(
        {
            "auto": False,
            "playlist_dir": str(folder),
            "playlists": [{"name": "rock.m3u", "query": "agf_genres::^Rock$"}],
        }
    )
    analysed.register_plugin(SmartPlaylistPlugin)
    analysed.beet("splupdate")
    names = {Path(line).stem for line in (folder / "rock.m3u").read_text().splitlines()}
    assert names == {"a", "b"}


def test_values_can_be_added_and_removed_by_hand(analysed):
    analysed.beet("modify", "-y", "-M", "-W", "title:a", "agf_genres+=Pop")
    assert list(analysed.get("a").agf_genres) == ["Rock", "Pop"]
    analysed.beet("modify", "-y", "-M", "-W", "title:a", "agf_genres-=Rock")
    assert list(analysed.get("a").agf_genres) == ["Pop"]


def test_what_is_removed_by_hand_is_shown(analysed, capsys):
    capsys.readouterr()
    analysed.beet("modify", "-y", "-M", "-W", "title:b", "agf_genres!")
    assert "agf_genres: Hip-Hop; Rock; Electronic" in capsys.readouterr().out
    assert "agf_genres" not in analysed.get("b")


@pytest.mark.parametrize("model", [Item, Album])
def test_the_values_are_lists_as_those_of_beets_are(analysed, model):
    analysed.load_plugins()
    for field in FIELDS:
        assert model._type(field).model_type is list
