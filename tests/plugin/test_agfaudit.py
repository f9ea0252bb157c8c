"""`beet agfaudit` finds, shows and corrects genres that are probably wrong."""

import hashlib
import json
import os
import sys
from dataclasses import replace

import numpy as np
import pytest
from beets import ui
from beets_helpers import open_library

from agf_core.bundle import format as bundle_format
from agf_core.inference.prediction import Features, FileResult
from beetsplug.agfgenre import models
from beetsplug.agfgenre.models import embedding_store

SHIPPED = bundle_format.load()
LABELS = SHIPPED.metadata.labels
N_EMBEDDING = 256


@pytest.fixture
def library(monkeypatch, tmp_path):
    monkeypatch.setattr(models, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(os, "fsync", lambda number: None)  # no power fails here
    for library in open_library(monkeypatch, None, on_disk=True):
        library.lib._connection().execute("PRAGMA synchronous = OFF")
        library.configure(context=True)
        yield library


def features_of(sound: str, seed: int) -> Features:
    """Return features that tell a genre, and a model that is rather sure of it."""
    rng = np.random.default_rng(LABELS.index(sound))
    centre = rng.normal(size=N_EMBEDDING)
    noise = np.random.default_rng(seed).normal(size=N_EMBEDDING)
    shares = np.full(len(LABELS), 0.3 / (len(LABELS) - 1))
    shares[LABELS.index(sound)] = 0.7
    styles = np.full(len(SHIPPED.metadata.styles), 0.01, np.float32)
    embedding = (centre + 0.5 * noise).astype(np.float16)
    return Features(embedding, np.log(shares).astype(np.float32), styles)


def analyse(library, item, sound: str) -> None:
    """Store features of a track, as if it had been analysed."""
    key = hashlib.sha256(item.title.encode()).hexdigest()[:32]
    result = FileResult(os.fsdecode(item.path), features=features_of(sound, item.id), key=key)
    embedding_store().add(SHIPPED.model_id, [result])


def add(library, title: str, sound: str, genres: list[str] | None = None, **fields):
    """Add an analysed track that sounds like a genre, and has it if it has no other."""
    item = library.track(title, genres=[sound] if genres is None else genres, **fields)
    item.write()
    analyse(library, item, sound)
    return item


def fill(library, each: int = 12) -> None:
    """Add tracks of two genres by many artists, one of them wrong: `wrong` sounds like Rock."""
    for genre in ("Rock", "Jazz"):
        for i in range(each):
            add(library, f"{genre}{i}", genre, artist=f"{genre} artist {i // 2}")
    add(library, "wrong", "Rock", ["Jazz"], artist="Rock artist 0")


def audit(library, capsys, *options: str) -> str:
    capsys.readouterr()
    library.beet("agfaudit", *options)
    return capsys.readouterr().out


def found(library, capsys, *options: str) -> dict:
    return json.loads(audit(library, capsys, "--json", *options))


@pytest.fixture
def answer(monkeypatch):
    """A function that sets what the user types, or what gives it, in order; then Ctrl-C."""

    class Terminal:
        def isatty(self):
            return True

    def answers(*lines):
        rest = iter(lines)

        def read(prompt=None):
            line = next(rest, None)
            if line is None:
                raise KeyboardInterrupt
            return line() if callable(line) else line

        monkeypatch.setattr(sys, "stdin", Terminal())
        monkeypatch.setattr(ui, "input_", read)

    return answers


def test_a_wrong_genre_is_shown_with_what_tells_so(library, capsys):
    fill(library)
    text = audit(library, capsys)
    assert "1 of 25 tagged tracks has a genre that is probably wrong" in text
    assert "Jazz (0.0" in text
    assert "-> Rock (0.9" in text
    assert "by sound: Rock 0." in text
    assert "artist's other tracks: Rock 2" in text
    assert [item.genres for item in library.lib.items("title:wrong")] == [["Jazz"]]


def test_json_has_everything(library, capsys):
    fill(library)
    document = found(library, capsys)
    (suspect,) = document["suspects"]
    assert suspect["id"] == library.get("wrong").id
    assert (suspect["genres"], suspect["suggested"]) == (["Jazz"], "Rock")
    assert suspect["confidence"] > 0.9
    assert suspect["others_of_artist"] == {"Rock": 2}
    assert (document["checked"], document["probably_wrong"]) == (25, 1)
    assert document["trained_on"] == 25


def test_the_users_format_and_the_query_are_used(library, capsys):
    fill(library)
    fields = "$title: $genres > $agf_suggested $agf_suggested_confidence"
    assert audit(library, capsys, "-f", fields).startswith("wrong: Jazz > Rock 0.9")
    assert found(library, capsys, "title:Rock1")["suspects"] == []
    with pytest.raises(ui.UserError, match="nothing in the library matches"):
        library.beet("agfaudit", "title:absent")


def test_a_track_that_has_the_predicted_genre_too_is_not_wrong(library, capsys):
    fill(library)
    item = library.get("wrong")
    item.genres = ["Jazz", "Rock"]
    item.store()
    assert found(library, capsys)["suspects"] == []


def test_genres_set_by_the_plugin_count_and_are_marked_but_not_trained_on(library, capsys):
    fill(library)
    for title in ("wrong", "Rock1"):
        item = library.get(title)
        item["agf_set"] = item.genres
        item.store()
    document = found(library, capsys)
    assert document["suspects"][0]["set_by_agfgenre"]
    assert document["set_by_agfgenre"] == 2
    assert document["trained_on"] == 23
    assert document["suspects"][0]["others_of_artist"] == {"Rock": 1}
    assert "set by agfgenre) -> Rock" in audit(library, capsys)


def test_albums_are_checked_as_a_whole(library, capsys):
    for artist in range(14):
        genre = ("Rock", "Jazz")[artist % 2]
        items = [
            add(library, f"{artist}{letter}", genre, artist=f"{genre} {artist}", album=f"{artist}")
            for letter in "ab"
        ]
        library.lib.add_album(items)
    wrong = library.lib.albums("album:=12").get()
    wrong.genres = ["Jazz"]
    wrong.store()
    document = found(library, capsys, "-a")
    (suspect,) = document["suspects"]
    assert (suspect["id"], suspect["suggested"]) == (wrong.id, "Rock")
    assert document["checked"] == 14
    assert suspect["others_of_album"] == {"Jazz": 2}
    for option in ("-a", "--albums", "--album"):
        assert found(library, capsys, option, "album:=3")["suspects"] == []


def test_inconsistencies_spellings_and_genres_used_once_are_listed(library, capsys):
    fill(library, each=10)
    items = [add(library, f"x{i}", "Rock", artist="One", album="Odd") for i in range(4)]
    items.append(add(library, "odd", "Rock", ["Hip Hop"], artist="One", album="Odd"))
    library.lib.add_album(items)
    add(library, "hip", "Hip-Hop", artist="Two")
    add(library, "polka", "Folk", ["Polka"], artist="Three")
    document = found(library, capsys)
    (album,) = document["albums"]
    assert (album["name"], album["genre"], album["tracks"]) == ("One - Odd", "Rock", 4)
    assert list(album["others"].values()) == [["Hip Hop"]]
    assert "One" not in [one["name"] for one in document["artists"]]  # it has one album
    assert document["spellings"] == [{"Hip Hop": 1, "Hip-Hop": 1}]
    assert document["once"] == ["Polka"]
    assert document["not_checked"] == {"Polka": 1}
    text = audit(library, capsys)
    assert "  One - Odd: Rock 4, but odd (Hip Hop)\n" in text
    assert "  Hip Hop (1), Hip-Hop (1)\n" in text
    assert "Genres of a single track:\n  Polka\n" in text


def test_an_album_without_names_is_listed_by_a_query(library, capsys):
    items = [add(library, title, "Rock", artist=" ") for title in "abc"]
    items.append(add(library, "d", "Rock", ["Jazz"], artist=" "))
    album = library.lib.add_album(items)
    assert f"  album_id:{album.id}: Rock 3, but d (Jazz)" in audit(library, capsys).splitlines()


def test_one_genre_of_two_spellings_is_one_genre_to_the_model(library, capsys):
    for i in range(12):
        add(library, f"a{i}", "Hip-Hop", [("Hip Hop", "hip-hop")[i % 2]], artist=f"a{i}")
        add(library, f"b{i}", "Rock", artist=f"b{i}")
    assert found(library, capsys)["suspects"] == []


def test_a_library_is_checked_by_the_base_model_of_the_light_model_in_use(
    library, capsys, monkeypatch
):
    def unsure(sound, seed):
        flat = np.full(len(LABELS), -np.log(len(LABELS)), np.float32)
        return replace(sure(sound, seed), log_probabilities=flat)

    sure = features_of
    monkeypatch.setattr(sys.modules[__name__], "features_of", unsure)
    fill(library)
    before = found(library, capsys)
    library.beet("agftrain", "-q", "--name", "mine")
    assert models.model_store().active == "mine"
    assert found(library, capsys) == before
    assert len(before["suspects"]) == 1


def test_a_small_library_is_checked_by_the_base_model_and_says_so(library, capsys):
    add(library, "a", "Rock", artist="One")
    add(library, "b", "Rock", artist="One")
    add(library, "c", "Rock", artist="One")
    add(library, "d", "Rock", ["Jazz"], artist="One")
    text = audit(library, capsys)
    assert "too few tracks to train on" in text
    assert "1 of 4 tagged tracks has a genre that is probably wrong" in text
    assert "-> Rock" in text


def test_a_library_without_genres_or_features_says_what_to_do(library, capsys):
    library.track("new", genres=[])
    with pytest.raises(ui.UserError, match="none is analysed yet; `beet agfgenre --explain -p`"):
        library.beet("agfaudit")
    add(library, "a", "Rock", [])
    add(library, "b", "Rock", ["?"])  # a placeholder
    with pytest.raises(ui.UserError, match="no track of the library has a genre to check"):
        library.beet("agfaudit")


def test_strange_names_do_no_harm(library, capsys):
    fill(library)
    item = library.get("wrong")
    item.title, item.artist, item.genres = "<b>\u202e{}%s\n$x", "Rock\x1b artist 0 ", ["Jazz\x1b["]
    item.store()
    add(library, "same", "Rock", ["jazz \x1b["], artist="Ж & 'Ω")
    library.lib.add_album([item])
    text = audit(library, capsys)
    assert "Jazz\\x1b[" in text
    assert not set(text) & {"\x1b", "\u202e"}
    assert len(found(library, capsys)["spellings"]) == 1
    for options in (("-f", "$title"), ("-a",), ("-a", "--json")):
        library.beet("agfaudit", *options)


def test_what_is_accepted_typed_and_kept_is_done_and_undone(library, capsys, answer):
    fill(library)
    for i in (1, 2):
        add(library, f"w{i}", "Rock", ["Jazz"], artist=f"Rock artist {i}")
    suspects = [one["id"] for one in found(library, capsys)["suspects"]]
    assert len(suspects) == 3
    answer("a", "t", "Folk; Blues; folk", "k")
    library.beet("agfaudit", "--fix")
    accepted, typed, kept = map(library.lib.get_item, suspects)
    assert accepted.genres == library.file_genres(accepted.title) == ["Rock"]
    assert typed.genres == library.file_genres(typed.title) == ["Folk", "Blues"]
    assert (kept.genres, kept["agf_kept"]) == (["Jazz"], ["Jazz"])
    assert library.log.having("changed 2 genres; kept 1; `beet agfgenre --undo` restores")
    library.beet("agfgenre", "--undo")
    for number in suspects[:2]:
        item = library.lib.get_item(number)
        assert item.genres == library.file_genres(item.title) == ["Jazz"]


def test_a_corrected_track_stays_known_when_ctrl_c_or_a_kill_ends_the_walk(library, capsys, answer):
    fill(library)
    add(library, "w1", "Rock", ["Jazz"], artist="Rock artist 1")
    os.utime(os.fsdecode(library.get("w1").path), (1, 1))
    analyse(library, library.get("w1"), "Rock")
    before = found(library, capsys)
    answer("a")
    with pytest.raises(SystemExit):
        library.beet("agfaudit", "--fix")
    # Nothing that runs at the end of a command has run: this is the state after SIGKILL, too.
    assert len(found(library, capsys)["suspects"]) == len(before["suspects"]) - 1
    assert not library.log.having("not analysed yet")


def test_what_is_kept_comes_back_only_when_its_genre_changes(library, capsys, answer):
    fill(library)
    answer("k")
    library.beet("agfaudit", "--fix")
    document = found(library, capsys)
    assert (document["suspects"], document["kept"]) == ([], 1)
    assert "not shown, because you keep the genre: 1 track" in audit(library, capsys)
    item = library.get("wrong")
    item.genres = ["Classical"]
    item.store()
    assert [one["genres"] for one in found(library, capsys)["suspects"]] == [["Classical"]]


def test_an_accepted_genre_is_the_users(library, capsys, answer):
    fill(library)
    item = library.get("wrong")
    item["agf_set"] = ["Jazz"]
    item.store()
    answer("a")
    library.beet("agfaudit", "--fix")
    assert "agf_set" not in library.get("wrong")
    library.beet("agfgenre", "--undo")
    assert library.get("wrong")["agf_set"] == ["Jazz"]


def test_an_album_is_corrected_with_its_tracks(library, capsys, answer):
    fill(library)
    items = [add(library, f"x{i}", "Rock", ["Jazz"], artist="One", album="X") for i in range(3)]
    album = library.lib.add_album(items)
    other = library.lib.get_item(items[2].id)
    other.genres = ["Blues"]
    other.store()
    answer("a")
    library.beet("agfaudit", "-a", "--fix", f"id:{album.id}")
    assert library.lib.get_album(album.id).genres == ["Rock"]
    assert [item.genres for item in library.lib.items("album:X")] == [["Rock"], ["Rock"], ["Blues"]]
    library.beet("agfgenre", "--undo")
    assert library.lib.get_album(album.id).genres == ["Jazz"]
    assert library.genres("x0") == ["Jazz"]


def test_the_album_follows_when_its_tracks_agree(library, answer):
    fill(library)
    items = [add(library, f"x{i}", "Rock", artist="One", album="X") for i in range(2)]
    items.append(add(library, "odd", "Rock", ["Jazz"], artist="One", album="X"))
    album = library.lib.add_album(items)
    album.genres = ["Jazz"]
    album.store(inherit=False)
    answer("a")
    library.beet("agfaudit", "--fix", "title:odd")
    assert library.lib.get_album(album.id).genres == ["Rock"]


def test_what_is_accepted_replaces_a_wrong_genre_whatever_the_configuration(library, answer):
    fill(library)
    for options in ({"keep_existing": True}, {"force": True}):
        library.configure(context=True, **options)
        answer("a")
        library.beet("agfaudit", "--fix")
        assert library.genres("wrong") == library.file_genres("wrong") == ["Rock"]
        library.beet("agfgenre", "--undo")


def test_enter_skips_and_quit_ends(library, capsys, answer):
    fill(library)
    for answers in (("",), ("q",), ("t", "")):
        answer(*answers)
        library.beet("agfaudit", "--fix")
        assert library.genres("wrong") == ["Jazz"]
        assert library.log.having("changed 0 genres")


def test_ctrl_c_keeps_what_was_decided(library, capsys, answer):
    fill(library)
    add(library, "w1", "Rock", ["Jazz"], artist="Rock artist 1")
    suspects = [one["id"] for one in found(library, capsys)["suspects"]]
    answer("a")
    with pytest.raises(SystemExit) as ended:
        library.beet("agfaudit", "--fix")
    assert ended.value.code == 130
    assert [library.lib.get_item(number).genres for number in suspects] == [["Rock"], ["Jazz"]]
    library.beet("agfgenre", "--undo")
    assert library.lib.get_item(suspects[0]).genres == ["Jazz"]


def test_what_changes_meanwhile_is_skipped(library, capsys, answer):
    fill(library)
    for i in (1, 2):
        add(library, f"w{i}", "Rock", ["Jazz"], artist=f"Rock artist {i}")
    first, second, third = (one["id"] for one in found(library, capsys)["suspects"])

    def meanwhile():
        other = library.lib.get_item(second)
        other.genres = ["Folk"]
        other.store()
        library.lib.get_item(third).remove()
        return "a"

    answer(meanwhile)
    library.beet("agfaudit", "--fix")
    assert [library.lib.get_item(n).genres for n in (first, second)] == [["Rock"], ["Folk"]]
    assert len(library.log.having("skipped, it has changed meanwhile")) == 2


def test_without_suspects_there_is_nothing_to_fix(library, answer):
    fill(library)
    answer()
    library.beet("agfaudit", "--fix", "title:Rock1")
    assert library.log.having("nothing to fix")


def test_nothing_is_written_to_files_if_the_user_does_not_want_that(library, answer):
    fill(library)
    answer("a")
    library.beet("agfaudit", "--fix", "-W")
    assert library.genres("wrong") == ["Rock"]
    assert library.file_genres("wrong") == ["Jazz"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--fix",), "--fix puts questions on a terminal, and there is none"),
        (("--fix", "--json"), "--fix cannot be combined with --json"),
        (("-n", "-1"), "-n must be 0"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_a_line(library, options, message):
    add(library, "a", "Rock")
    with pytest.raises(ui.UserError, match=message):
        library.beet("agfaudit", *options)


def test_an_artist_who_is_wrong_throughout_is_found(library, capsys):
    fill(library)
    for i in range(6):
        add(library, f"w{i}", "Rock", ["Jazz"], artist="Wrong")
    (artist,) = found(library, capsys)["suspect_artists"]
    assert (artist["name"], artist["tracks"]) == ("Wrong", 6)
    assert (artist["has"], artist["suggested"]) == ("Jazz", "Rock")
    lines = audit(library, capsys).splitlines()
    place = lines.index("Artists who sound like another genre:")
    assert lines[place + 1].startswith("  Wrong: Jazz (0.1")
    assert "6 tracks) -> Rock (0." in lines[place + 1]
    assert found(library, capsys, "artist:Jazz")["suspect_artists"] == []
    titles = {f"w{i}" for i in range(6)}
    ids = {library.get(title).id for title in titles}
    assert ids <= {one["id"] for one in found(library, capsys, "--by-sound")["suspects"]}
