"""What the database passes over is what would have been decided track by track."""

import pytest
from beets.dbcore.query import InvalidQueryError
from beets.library import Item, parse_query_parts
from beets_helpers import ELECTRONIC, EVEN, FakeTagger, open_library, summary

from beetsplug.agfgenre.config import Settings
from beetsplug.agfgenre.summary import Summary
from beetsplug.agfgenre.tag import prefilter
from beetsplug.agfgenre.tag import run as run_module
from beetsplug.agfgenre.tag.decision import Heard, Outcome, decide
from beetsplug.agfgenre.tag.prefilter import Matching
from beetsplug.agfgenre.vocabulary import Vocabulary

NUL = "\\\N{SYMBOL FOR NULL}"  # what beets parts genres by
PLAIN = ("Rock", "Блюз", "ロック", f"Rock{NUL}Pop", f" {NUL}Pop", "Rock; Pop", "R")
NONE = ("", " ", "\t\u3000\xa0", NUL, f" {NUL} ", "; ", None)
ODD = (";", "\\", "\N{SYMBOL FOR NULL}", "; ;", f";{NUL}", "\0")

LEAST = Settings(min_confidence=0.7)
HEARD = {"agf_model": "fake-1", "agf_genres": f"Rock{NUL}Pop", "agf_confidence": "0.4"}
ODD_CONFIDENCES = ("", "x", "0.1x", "nan", "-inf", "1e-3", ".1", " 0.1", None)
NEAR = ("0.6849", "0.685", "0.69", "0.6949", "0.695", "0.6951", "0.7", "0.71", "1.0", "0.0", "-1.0")


@pytest.fixture
def library(monkeypatch):
    for library in open_library(monkeypatch, FakeTagger()):
        library.load_plugins()  # for the types of its fields
        yield library


@pytest.fixture
def looked_at(monkeypatch):
    """The titles of the tracks that beets has built to be decided on."""
    titles = []
    select = run_module.Run.select_tracks

    def noted(run, items):
        items = list(items)
        titles.extend(item.title for item in items)
        select(run, items)

    monkeypatch.setattr(run_module.Run, "select_tracks", noted)
    return titles


def put(library, genres, **flexible) -> int:
    """Add a track to the database as other programs might; return its number."""
    number = library.lib.add(Item(title="t", path=b"/t"))
    with library.lib.transaction() as transaction:
        transaction.mutate("UPDATE items SET genres = ? WHERE id = ?", (genres, number))
        for key, value in flexible.items():
            transaction.mutate(
                "INSERT INTO item_attributes (entity_id, key, value) VALUES (?, ?, ?)",
                (number, key, value),
            )
    return number


def passed_over(library, settings: Settings) -> dict[int, Outcome]:
    """Return what becomes of the tracks that the database alone can tell it of."""
    found = {}
    for number in [item.id for item in library.lib.items()]:
        query, sort = parse_query_parts([f"id:{number}"], Item)
        summary = Summary()
        matching = Matching(library.lib, query, sort, settings, Vocabulary())
        assert matching
        if not list(matching.to_look_at("fake-1", summary)):
            (found[number],) = (
                outcome for outcome in Outcome if outcome.value + ":" in summary.text()
            )
    return found


def decided(item: Item, settings: Settings) -> Outcome | None:
    """Return what becomes of a track without genres being heard; None if it is listened to."""
    if Vocabulary().genres_of(item.genres):
        return Outcome.TAKEN
    heard = Heard.recall(item, "fake-1")
    return heard and decide(heard, Vocabulary(), settings).outcome


@pytest.mark.parametrize("least", [0.0, 0.005, 0.5, 0.695, 0.7, 1.0])
def test_nothing_is_passed_over_that_would_be_decided_on_otherwise(library, least):
    settings = Settings(min_confidence=least)
    for genres in (*PLAIN, *NONE, *ODD):
        put(library, genres, **HEARD)
    for confidence in (*NEAR, *ODD_CONFIDENCES):
        put(library, "", **HEARD | {"agf_confidence": confidence})
    for heard in (None, "", " ", "; ", NUL, "Rock"):
        put(library, "", **HEARD | {"agf_genres": heard})
    for model in (None, "", "fake-2", "FAKE-1", "fake-1 "):
        put(library, "", **HEARD | {"agf_model": model})
    for missing in HEARD:
        put(library, "", **{key: value for key, value in HEARD.items() if key != missing})
    items = {item.id: item for item in library.lib.items()}
    passed = passed_over(library, settings)
    assert passed == {number: decided(items[number], settings) for number in passed}
    assert Outcome.TAKEN in passed.values()
    assert Outcome.UNSURE in passed.values()


@pytest.mark.parametrize("genres", [*PLAIN, *NONE, *ODD])
@pytest.mark.parametrize("confidence", ["0.1", "0.695", None])
def test_every_track_is_either_counted_or_looked_at(library, looked_at, genres, confidence):
    put(library, genres, **HEARD | {"agf_confidence": confidence})
    item = library.lib.items().get()
    library.configure(min_confidence=LEAST.min_confidence)
    library.beet("agfgenre", "-W", "-p")
    outcome = decided(item, LEAST) or Outcome.TAGGED
    tagged = "would tag 1 track"
    others = f"would tag 0 tracks; {outcome.value}: 1 track"
    assert summary(library) == f"INFO: {tagged if outcome is Outcome.TAGGED else others}"
    assert len(looked_at) == 1 - len(passed_over(library, LEAST))


@pytest.mark.parametrize("genres", PLAIN)
def test_what_has_genres_is_passed_over(library, genres):
    number = put(library, genres)
    assert passed_over(library, LEAST) == {number: Outcome.TAKEN}


@pytest.mark.parametrize("confidence", ["0.6849", "0.0", "0.1959", "0.0001"])
def test_what_stays_unsure_is_passed_over(library, confidence):
    number = put(library, "", **HEARD | {"agf_confidence": confidence})
    assert passed_over(library, LEAST) == {number: Outcome.UNSURE}


def test_placeholders_are_passed_over_as_no_genre_is(library, looked_at):
    put(library, "Other", **HEARD)
    put(library, f"?{NUL}Other", **HEARD)
    put(library, f"?{NUL}Rock", **HEARD)
    put(library, "Other")
    library.configure(min_confidence=LEAST.min_confidence)
    library.beet("agfgenre", "-W", "-p")
    assert len(looked_at) == 1
    assert "unsure: 2 tracks; already had genres: 1 track" in summary(library)


@pytest.mark.parametrize("option", ["force", "keep_existing", "explain"])
def test_nothing_is_passed_over_where_genres_are_to_be_changed_or_shown(library, option):
    put(library, "Rock")
    put(library, "", **HEARD)
    assert len(passed_over(library, Settings(min_confidence=0.5))) == 2
    assert passed_over(library, Settings(min_confidence=0.5, **{option: True})) == {}


def test_a_second_run_looks_at_what_may_change_alone(library, tagger, looked_at, tmp_path):
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
    assert sorted(looked_at) == ["blank", "near", "sure", "unsure"]
    assert sorted(tagger.listened) == ["blank", "near", "sure", "unsure"]
    first = summary(library)
    assert "left alone because unsure: 3 tracks" in first
    assert "not wanted by whitelist or aliases: 1 track; already had genres: 1 track" in first

    looked_at.clear()
    library.beet("agfgenre", "-W")
    assert sorted(looked_at) == ["near", "sure"]
    assert summary(library) == first
    looked_at.clear()
    library.beet("agfgenre", "-W", "-a")  # none of them is of an album
    assert sorted(looked_at) == ["near", "sure"]
    assert summary(library) == first
    looked_at.clear()
    library.beet("agfgenre", "-W", "title:unsure")
    assert looked_at == []
    assert summary(library) == "INFO: tagged 0 tracks; left alone because unsure: 1 track"
    library.beet("agfgenre", "-W", "agf_confidence:..0.5", "title:unsure")  # no query of SQL alone
    assert looked_at == ["unsure"]
    assert summary(library) == "INFO: tagged 0 tracks; left alone because unsure: 1 track"
    looked_at.clear()
    library.beet("agfgenre", "-W", "albumtype:single")
    assert summary(library) == "INFO: nothing in the library matches"

    library.configure(min_confidence=0.4, whitelist=False)
    library.beet("agfgenre", "-W")
    assert library.genres("sure") == ["Electronic"]
    assert library.genres("unsure") == ["Hip-Hop"]
    assert len(tagger.listened) == 4


def test_what_an_album_was_heard_as_is_not_what_its_tracks_were(library, tagger):
    library.album("ab", agf_model="fake-1", agf_genres=["Rock"], agf_confidence=0.1)
    library.beet("agfgenre", "-W")
    assert sorted(tagger.listened) == ["a", "b"]


def test_tracks_of_albums_are_counted_once_and_matched_by_what_is_their_albums(
    library, tagger, looked_at
):
    library.album("ab", mood="calm", genres=["Rock"])
    library.album("cd", name="Other")
    tagger.sounds |= dict.fromkeys("abcd", EVEN)
    library.beet("agfgenre", "-W")
    looked_at.clear()
    library.beet("agfgenre", "-W", "album:Album")
    assert looked_at == []
    assert summary(library) == "INFO: tagged 0 tracks; left alone because unsure: 2 tracks"


@pytest.mark.parametrize("options", [[], ["-a"]])
def test_tracks_are_listened_to_in_the_order_asked_for(library, tagger, options):
    for title in "bca":
        library.track(title)
    library.beet("agfgenre", "-W", *options, "title-")
    assert tagger.listened == list("cba")


def test_few_tracks_are_built_at_a_time_in_the_order_asked_for(library, monkeypatch):
    monkeypatch.setattr(prefilter, "AT_ONCE", 2)
    for title in "bdeca":
        library.track(title)
    built = []
    items = library.lib.items

    def noted(*query):
        built.append(items(*query))
        return built[-1]

    monkeypatch.setattr(library.lib, "items", noted)
    matching = Matching(library.lib, *parse_query_parts(["title-"], Item), LEAST, Vocabulary())
    looked_at = matching.to_look_at("fake-1", Summary())
    assert next(looked_at).title == "e"
    items("title:c").get().remove()  # by another program
    assert [item.title for item in looked_at] == list("dba")
    assert [len(found) for found in built] == [2, 1, 1]


@pytest.mark.parametrize(("order", "heard"), [("mood-", "cba"), ("artpath+", "bca")])
def test_an_order_by_what_tracks_of_themselves_lack_is_kept(library, tagger, order, heard):
    for title in "bca":
        library.track(title, mood=title)
    library.beet("agfgenre", "-W", order)
    assert tagger.listened == list(heard)


@pytest.mark.parametrize("options", [[], ["-a"]])
def test_a_query_that_makes_no_sense_is_one_line_of_beets(library, options):
    with pytest.raises(InvalidQueryError):
        library.beet("agfgenre", *options, "year:nineteen..")
