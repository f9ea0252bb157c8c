"""The tracks and albums of a query: found by the database, built a few at a time."""

import pytest
from beets import ui
from beets.dbcore.query import InvalidQueryError
from beets.library import Item, parse_query_parts
from beets_helpers import ELECTRONIC, EVEN, FakeTagger, open_library, summary

from beetsplug.agfgenre.config import Settings
from beetsplug.agfgenre.summary import Outcome, Summary
from beetsplug.agfgenre.tag import prefilter
from beetsplug.agfgenre.tag.decision import StoredPrediction, decide
from beetsplug.agfgenre.tag.prefilter import Matches
from beetsplug.agfgenre.tag.run import Run
from beetsplug.agfgenre.vocabulary import Vocabulary

NUL = "\\\N{SYMBOL FOR NULL}"  # what beets separates genres by
PLAIN = ("Rock", "Блюз", "ロック", f"Rock{NUL}Pop", f" {NUL}Pop", "Rock; Pop", "-")
NONE = ("", " ", "\t\u3000\xa0", NUL, f" {NUL} ", "; ", None)
STORED = {"agf_model": "fake-1", "agf_genres": f"Rock{NUL}Pop", "agf_confidence": "0.4"}
ODD = (";", "\\", "\N{SYMBOL FOR NULL}", "; ;", f";{NUL}", "\0")


@pytest.fixture
def library(monkeypatch):
    for library in open_library(monkeypatch, FakeTagger()):
        library.load_plugins()  # for the types of its fields
        yield library


@pytest.fixture
def built(library, monkeypatch):
    """The titles of the tracks that beets has built."""
    found = []
    items = library.lib.items

    def noted(*query):
        found.extend(item.title for item in items(*query))
        return items(*query)

    monkeypatch.setattr(library.lib, "items", noted)
    return found


def put(library, genres, **flexible) -> None:
    """Add a track to the database as other programs might."""
    number = library.lib.add(Item(title="t", path=b"/t"))
    with library.lib.transaction() as transaction:
        transaction.mutate("UPDATE items SET genres = ? WHERE id = ?", (genres, number))
        for key, value in flexible.items():
            transaction.mutate(
                "INSERT INTO item_attributes (entity_id, key, value) VALUES (?, ?, ?)",
                (number, key, value),
            )


def matches(library, *query) -> Matches:
    return Matches(library.lib, Item, *parse_query_parts(query, Item))


@pytest.mark.parametrize("least", [0.0, 0.5, 0.695, 0.7, 1.0])
def test_the_tracks_passed_over_are_those_that_would_stay_as_they_are(library, tagger, least):
    library.load_plugins()
    words = Vocabulary(placeholders=frozenset({"other", "?"}), whitelist=frozenset({"rock"}))
    settings = Settings(min_confidence=least)
    for text in (*PLAIN, f"?{NUL}Rock", *NONE, *ODD, "Other", f"?{NUL}Other"):
        put(library, text, **STORED)
    for confidence in ("0.6949", "0.695", "0.7", "1.0", "-1.0", "", "x", "nan", "1e-3", None):
        put(library, "", **STORED | {"agf_confidence": confidence})
    for labels in (None, "", "; ", NUL, "Rock", "Pop"):
        put(library, "", **STORED | {"agf_genres": labels})
    for model in (None, "", "fake-2", "FAKE-1"):
        put(library, "", **STORED | {"agf_model": model})
    for missing in STORED:
        put(library, "", **{key: value for key, value in STORED.items() if key != missing})
    expected, selected = Summary(), []
    for item in library.lib.items():
        stored = StoredPrediction.read(item, "fake-1")
        decision = decide(stored, words, settings) if stored else None
        if words.genres_of(item.genres):
            expected.add(Outcome.HAS_GENRES, Item)
        elif decision and not decision.genres:
            expected.add(decision.outcome, Item)
        else:
            selected.append(item.id)
    found = matches(library)
    run = Run(library.lib, tagger, words, settings, library.log)
    run._pass_over(found)
    assert [item.id for item in found] == selected
    assert run.summary.text() == expected.text()
    assert 0 < len(selected) < len(library.lib.items())


@pytest.mark.parametrize("query", [["year:2000"], ["mood:calm"]])  # by the database, and by beets
def test_the_values_are_those_of_what_matches(library, query):
    album = library.album("ab", mood="calm", agf_model="fake-1")
    for title, year, model in (("a", 2000, "fake-2"), ("b", 2000, None), ("c", 1999, None)):
        item = library.get(title) if title in "ab" else library.track(title)
        item.update({"year": year, "mood": "calm" if year == 2000 else "wild"})
        if model:
            item["agf_model"] = model
        item.store()
    found = [
        (row["year"], row["agf_model"])
        for row in matches(library, *query).values("year", "agf_model")
    ]
    assert found == [(2000, "fake-2"), (2000, "")]
    assert album.agf_model == "fake-1"


def test_tracks_that_stay_as_they_are_are_counted_without_being_built(library, tagger, built):
    for title in "ab":
        library.track(title, genres=["Jazz"])
    library.track("c")
    tagger.sounds["c"] = EVEN
    library.beet("agfgenre", "-W")
    assert built == tagger.analysed == ["c"]
    built.clear()
    library.beet("agfgenre", "-W")
    assert built == []
    assert "skipped because unsure: 1 track; already had genres: 2 tracks" in summary(library)
    built.clear()
    library.beet("agfgenre", "-W", "-k", "title:a")
    assert built == ["a"]


def test_a_second_run_analyses_nothing_and_has_the_same_summary(library, tagger, tmp_path):
    library.track("taken", genres=["Jazz"])
    library.track("blank", genres=[" "])
    for title in ("unsure", "near", "sure"):
        library.track(title)
    tagger.sounds |= {
        "blank": EVEN,
        "unsure": EVEN,
        "near": {"Rock": 0.794, "Pop": 0.206},
        "sure": ELECTRONIC,
    }
    wanted = tmp_path / "whitelist.txt"
    wanted.write_text("jazz\n")
    library.configure(min_confidence=0.8, whitelist=str(wanted))
    library.beet("agfgenre", "-W")
    assert sorted(tagger.analysed) == ["blank", "near", "sure", "unsure"]
    first = summary(library)
    assert "skipped because unsure: 3 tracks" in first
    assert "not wanted by whitelist or aliases: 1 track; already had genres: 1 track" in first
    for options in ([], ["-a"]):  # none of them is of an album
        library.beet("agfgenre", "-W", *options)
        assert summary(library) == first
    for query in (["title:unsure"], ["agf_confidence:..0.5", "title:unsure"]):
        library.beet("agfgenre", "-W", *query)
        assert summary(library) == "INFO: tagged 0 tracks; skipped because unsure: 1 track"
    with pytest.raises(ui.UserError, match="nothing in the library matches"):
        library.beet("agfgenre", "-W", "albumtype:single")

    library.configure(min_confidence=0.4, whitelist=False)
    library.beet("agfgenre", "-W")
    assert library.genres("sure") == ["Electronic"]
    assert library.genres("unsure") == ["Hip-Hop"]
    assert len(tagger.analysed) == 4


def test_the_prediction_of_an_album_is_not_its_tracks(library, tagger):
    library.album("ab", agf_model="fake-1", agf_genres=["Rock"], agf_confidence=0.1)
    library.beet("agfgenre", "-W")
    assert sorted(tagger.analysed) == ["a", "b"]


def test_tracks_of_albums_match_by_the_fields_of_their_albums(library, tagger):
    library.album("ab", mood="calm", genres=["Rock"])
    library.album("cd", name="Other")
    tagger.sounds |= dict.fromkeys("abcd", EVEN)
    library.beet("agfgenre", "-W")
    library.beet("agfgenre", "-W", "album:Album")
    assert summary(library) == "INFO: tagged 0 tracks; skipped because unsure: 2 tracks"


@pytest.mark.parametrize("options", [[], ["-a"]])
def test_tracks_are_analysed_in_the_order_of_the_query(library, tagger, options):
    for title in "bca":
        library.track(title)
    library.beet("agfgenre", "-W", *options, "title-")
    assert tagger.analysed == list("cba")


def test_few_tracks_are_built_at_a_time_in_the_order_of_the_query(library, built, monkeypatch):
    monkeypatch.setattr(prefilter, "OBJECTS_AT_ONCE", 2)
    for title in "bdeca":
        library.track(title)
    found = iter(matches(library, "title-"))
    assert next(found).title == "e"
    library.get("c").remove()  # by another program
    built.clear()
    assert [item.title for item in found] == list("dba")
    assert sorted(built) == list("ab")  # of "edcba", "ed" were built before


@pytest.mark.parametrize(("order", "analysed"), [("mood-", "cba"), ("artpath+", "bca")])
def test_an_order_by_what_tracks_of_themselves_lack_is_kept(library, tagger, order, analysed):
    for title in "bca":
        library.track(title, mood=title)
    library.beet("agfgenre", "-W", order)
    assert tagger.analysed == list(analysed)


@pytest.mark.parametrize("options", [[], ["-a"]])
def test_a_query_that_makes_no_sense_is_one_line_of_beets(library, options):
    with pytest.raises(InvalidQueryError):
        library.beet("agfgenre", *options, "year:nineteen..")
