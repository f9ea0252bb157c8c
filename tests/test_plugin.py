import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from beets import ui
from beets.library import Item
from beets_helpers import ELECTRONIC, EVEN, ROCK, FakeTagger, open_library, silent_wav
from mediafile import MediaFile
from mutagen import MutagenError

from agf_core.audio import AudioTooShortError, SilentAudioError, UnreadableAudioError
from beetsplug.agfgenre import report, storing, tagging


@pytest.fixture
def library(monkeypatch):
    yield from open_library(monkeypatch, FakeTagger())


@pytest.fixture
def tagger(library):
    return library.tagger


def summary(library) -> str:
    return library.log.lines_at("INFO")[-1]


# What is set, shown, written and stored


def test_empty_genres_are_filled_in_library_and_file(library):
    library.track("a")
    library.beet("agfgenre")
    assert library.genres("a") == library.file_genres("a") == ["Rock"]
    assert "tagged 1 track" in summary(library)


def test_what_was_heard_is_stored_and_can_be_queried(library, tagger, capsys):
    tagger.sounds["a"] = EVEN
    library.track("a")
    library.beet("agfgenre")
    item = library.get("a")
    assert item.agf_genres == ("Hip-Hop", "Rock", "Electronic")
    assert item.agf_confidence == pytest.approx(0.4)
    assert item.agf_model == "fake-1"
    capsys.readouterr()
    query = ["agf_genres:Hip", "agf_confidence:0.3..0.5", "agf_model:fake-1"]
    library.beet("ls", "-f", "$title $agf_confidence $agf_genres", *query)
    assert capsys.readouterr().out == "a 0.40 Hip-Hop; Rock; Electronic\n"


def test_changes_are_shown(library, capsys):
    library.track("a")
    library.beet("agfgenre")
    assert "+ Rock" in capsys.readouterr().out


def test_a_track_without_title_is_shown_by_its_file(library, capsys):
    item = library.track("a")
    item.update({"title": "", "artist": ""})
    item.store()
    library.beet("agfgenre", "--explain")
    shown = os.fsdecode(item.path)
    assert capsys.readouterr().out.splitlines().count(shown) == 2  # explained, and tagged


def test_pretend_shows_changes_and_makes_none(library, tagger, capsys):
    library.track("a")
    library.beet("agfgenre", "-p")
    assert "+ Rock" in capsys.readouterr().out
    assert library.genres("a") == library.file_genres("a") == []
    assert "agf_model" not in library.get("a")
    assert "would tag 1 track" in summary(library)


@pytest.mark.parametrize("options", [[], ["-a"]])
def test_its_fields_can_be_taken_away(library, options):
    album = library.album("ab")
    library.beet("agfgenre", "-q", *options)
    fields = ("agf_genres", "agf_confidence", "agf_model", "agf_set")
    assert library.get("a")["agf_genres"] == library.get("a")["agf_set"] == ("Rock",)
    library.beet("modify", "-y", "-M", "-W", *(f"{field}!" for field in fields))
    library.beet("modify", "-y", "-M", "-W", "-a", *(f"{field}!" for field in fields))
    album.load()
    for model in (album, *album.items()):
        assert not set(fields) & set(model.keys())


def test_quiet_prints_nothing_but_the_summary(library, capsys):
    library.track("a")
    library.beet("agfgenre", "-q")
    assert capsys.readouterr().out == ""
    assert "tagged 1 track" in summary(library)


@pytest.mark.parametrize(
    ("configured", "options", "written"),
    [
        (True, [], True),
        (True, ["-W"], False),
        (False, [], False),
        (False, ["-w"], True),
        (False, ["--write"], True),
        (True, ["--nowrite"], False),
    ],
)
def test_files_are_written_as_import_write_says_unless_told(library, configured, options, written):
    library.config["import"]["write"] = configured
    library.track("a")
    library.beet("agfgenre", *options)
    assert library.genres("a") == ["Rock"]
    assert library.file_genres("a") == (["Rock"] if written else [])


def test_explain_lists_probabilities_also_of_tracks_that_have_genres(library, tagger, capsys):
    tagger.sounds["a"] = EVEN
    library.track("a", genres=["Jazz"])
    library.beet("agfgenre", "--explain")
    library.beet("agfgenre", "--explain")
    assert capsys.readouterr().out.count("Hip-Hop 0.40, Rock 0.35, Electronic 0.25") == 2
    assert library.genres("a") == ["Jazz"]
    assert library.get("a").agf_genres[0] == "Hip-Hop"


def test_query_chooses_tracks(library):
    library.track("a")
    library.track("b")
    library.beet("agfgenre", "title:b")
    assert (library.genres("a"), library.genres("b")) == ([], ["Rock"])


def test_query_that_matches_nothing_says_so(library):
    library.beet("agfgenre", "title:nothing")
    assert "nothing in the library matches" in summary(library)


# Tracks that have genres


@pytest.mark.parametrize(
    ("config", "options", "genres"),
    [
        ({}, [], ["Jazz", "rock"]),
        ({}, ["-f"], ["Electronic"]),
        ({"force": True}, [], ["Electronic"]),
        ({"force": True}, ["-F"], ["Jazz", "rock"]),
        ({}, ["-k"], ["Jazz", "rock", "Electronic"]),
        ({"keep_existing": True}, [], ["Jazz", "rock", "Electronic"]),
        ({"keep_existing": True}, ["-K"], ["Jazz", "rock"]),
        ({}, ["--force", "--keep-existing"], ["Jazz", "rock", "Electronic"]),
        ({"keep_existing": True}, ["--no-keep-existing", "--force"], ["Electronic"]),
        ({"force": True}, ["--no-force"], ["Jazz", "rock"]),
    ],
)
def test_genres_that_are_there(library, tagger, config, options, genres):
    tagger.sounds["a"] = ELECTRONIC
    library.configure(**config)
    library.track("a", genres=["Jazz", "rock"])
    library.beet("agfgenre", *options)
    assert library.genres("a") == genres


def test_options_that_are_none_are_named(library, tagger):
    library.configure(min_confidance=0.3, colour="red")
    library.track("a")
    library.beet("agfgenre")
    (close,) = library.log.having("min_confidance, which is no option")
    assert close.endswith("did you mean min_confidence?")
    (far,) = library.log.having("colour, which is no option")
    assert "did you mean" not in far
    assert library.genres("a") == ["Rock"]


def test_keeping_adds_no_genre_twice(library):
    library.track("a", genres=["rock"])
    library.beet("agfgenre", "-k")
    assert library.genres("a") == ["rock"]
    assert "already right: 1 track" in summary(library)


def test_tracks_with_genres_are_counted_and_not_listened_to(library, tagger):
    library.track("a", genres=["Jazz"])
    library.beet("agfgenre")
    assert tagger.listened == []
    assert "already had genres: 1 track" in summary(library)


# Deciding


def test_count_is_the_most_that_are_set(library, tagger):
    tagger.sounds["a"] = EVEN
    library.configure(count=2, min_confidence=0.4)
    library.track("a")
    library.beet("agfgenre")
    assert library.genres("a") == ["Hip-Hop", "Rock"]


def test_unsure_tracks_are_left_alone_and_decided_on_anew_without_listening(library, tagger):
    tagger.sounds["a"] = EVEN
    library.track("a")
    library.beet("agfgenre")
    assert library.genres("a") == []
    assert "left alone because unsure: 1 track" in summary(library)
    library.configure(min_confidence=0.4)
    library.beet("agfgenre")
    assert library.genres("a") == library.file_genres("a") == ["Hip-Hop"]
    assert tagger.listened == ["a"]


def test_genres_outside_the_whitelist_are_not_set(library, tmp_path):
    (tmp_path / "genres.txt").write_text("electronic\n")
    library.configure(whitelist=str(tmp_path / "genres.txt"))
    library.track("a")
    library.beet("agfgenre")
    assert library.genres("a") == []
    assert "not in the whitelist: 1 track" in summary(library)


# Going on, and listening again


def test_second_run_listens_to_nothing(library, tagger):
    tagger.sounds["b"] = EVEN
    for title in "ab":
        library.track(title)
    library.beet("agfgenre")
    library.beet("agfgenre")
    library.beet("agfgenre", "-f")
    assert tagger.listened == ["a", "b"]


@pytest.mark.parametrize("change", ["model", "field"])
def test_another_model_or_a_removed_field_make_it_listen_again(library, tagger, change):
    library.track("a")
    library.beet("agfgenre")
    tagger.sounds["a"] = ELECTRONIC
    if change == "model":
        tagger.model_id = "fake-2"
    else:
        library.beet("modify", "-y", "-M", "agf_model!")
    library.beet("agfgenre", "-f")
    assert library.genres("a") == ["Electronic"]
    assert tagger.listened == ["a", "a"]


def test_interrupted_run_keeps_what_was_heard_and_can_go_on(library, tagger):
    for number in range(30):
        library.track(f"{number:02}")
    tagger.interrupt_after = 21
    with pytest.raises(SystemExit, match="130"):
        library.beet("agfgenre")
    assert [library.genres(f"{n:02}") != [] for n in range(30)] == [True] * 21 + [False] * 9
    assert tagger.open == 0
    assert "tagged 21 tracks; stopped: run again to go on" in summary(library)
    tagger.interrupt_after = None
    library.beet("agfgenre")
    assert len(tagger.listened) == 30
    assert "tagged 9 tracks; already had genres: 21 tracks" in summary(library)


def test_ctrl_c_waits_for_a_file_to_be_written():
    done = []

    def write():
        with storing.uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("written")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert done == ["written"]


# What can go wrong with a file


def test_failed_files_are_named_counted_and_tried_again(library, tagger):
    tagger.sounds["a"] = UnreadableAudioError("a.wav cannot be read")
    tagger.sounds["b"] = SilentAudioError("b.wav is silent")
    for title in "abc":
        library.track(title)
    library.beet("agfgenre")
    assert [len(library.log.having(f"WARNING: {t}.wav")) for t in "ab"] == [1, 1]
    assert "tagged 1 track; failed: 2 tracks (1 unreadable, 1 silent)" in summary(library)
    assert "agf_model" not in library.get("a")
    library.beet("agfgenre")
    assert tagger.listened == ["a", "b", "c", "a", "b"]


def test_nothing_but_failures_is_an_error(library, tagger):
    tagger.sounds["a"] = UnreadableAudioError("a.wav cannot be read")
    library.track("a")
    with pytest.raises(ui.UserError, match="none of the files could be listened to"):
        library.beet("agfgenre")


def test_file_that_cannot_be_written_is_named_and_stored_in_the_library(library, tagger):
    for title in "abc":
        library.track(title)
    os.remove(library.get("a").path)
    Path(os.fsdecode(library.get("b").path)).write_bytes(b"no audio")
    library.beet("agfgenre")
    assert [library.genres(title) for title in "abc"] == [["Rock"]] * 3
    assert library.file_genres("c") == ["Rock"]
    gone, broken = library.log.lines_at("ERROR")
    path = os.fsdecode(library.get("a").path)
    why = "(No such file or directory); the library is changed, the file is not"
    assert gone == f"ERROR: {path} cannot be written {why}"
    assert broken.count("b.wav") == 1
    assert (
        "tagged 3 tracks; of these, 1 file could not be written (`beet write` tries again); "
        "of these, 1 file could not be found (`beet update` looks into it)"
    ) in summary(library)


def test_the_copy_that_is_written_is_not_named(library):
    path = Path(os.fsdecode(library.track("a").path))
    path.write_bytes((Path(__file__).parent / "data" / "savino.ogg").read_bytes()[:3000])
    library.beet("agfgenre")
    (line,) = library.log.lines_at("ERROR")
    assert str(path) in line
    assert ".agfgenre-" not in line


def test_forbidden_file_is_named_once(library, monkeypatch):
    item = library.track("a")
    error = PermissionError(errno.EPERM, "Operation not permitted", os.fsdecode(item.path))

    def save(*arguments, **options):
        raise MutagenError(error) from error

    monkeypatch.setattr("mutagen.wave.WAVE.save", save)
    library.beet("agfgenre")
    (line,) = library.log.lines_at("ERROR")
    assert line.endswith(
        "a.wav cannot be written (Operation not permitted: neither it nor its folder may be "
        "closed to writing); the library is changed, the file is not"
    )
    assert line.count("a.wav") == 1


def during(tagger, action):
    """Do something to the library while the tagger listens."""
    listen = tagger._result

    def result(path):
        action()
        return listen(path)

    tagger._result = result


def test_track_removed_from_the_library_meanwhile_is_passed_over(library, tagger):
    library.track("a")
    during(tagger, lambda: library.get("a").remove())
    library.beet("agfgenre")
    assert "tagged 0 tracks" in summary(library)


def test_damage_that_was_passed_over_is_told(library, tagger):
    library.track("a")
    listen = tagger._result
    tagger._result = lambda path: replace(listen(path), lost=2.5)
    library.beet("agfgenre")
    assert library.log.having("a.wav: 2.5 s that were to be heard are damaged")
    assert library.genres("a") == ["Rock"]


def test_genres_given_meanwhile_are_kept(library, tagger):
    library.track("a")

    def give():
        item = library.get("a")
        item.update({"genres": ["Jazz"], "comments": "mine"})
        item.store()

    during(tagger, give)
    library.beet("agfgenre")
    assert (library.genres("a"), library.get("a").comments) == (["Jazz"], "mine")


def test_file_names_that_are_not_utf8(library, tagger):
    path = os.path.join(library.lib.directory, b"caf\xe9.wav")
    os.makedirs(library.lib.directory, exist_ok=True)
    silent_wav(Path(os.fsdecode(path)))
    library.lib.add(Item.from_path(path))
    library.beet("agfgenre")
    assert library.lib.items().get().genres == ["Rock"]


# Albums


def test_album_gets_the_mean_of_its_tracks(library, tagger):
    tagger.sounds.update(a={"Rock": 0.6, "Electronic": 0.4}, b={"Rock": 0.1, "Electronic": 0.9})
    library.configure(min_confidence=0.6)
    library.album("ab")
    library.beet("agfgenre", "-a")
    album = library.lib.albums().get()
    assert album.genres == library.genres("a") == library.file_genres("b") == ["Electronic"]
    assert (album.agf_genres, album.agf_confidence) == (("Electronic", "Rock"), 0.65)
    assert library.get("a").get("agf_genres", with_album=False) == ("Rock", "Electronic")
    assert "tagged 2 tracks and 1 album" in summary(library)


def test_what_has_been_set_is_known_of_every_track_whatever_was_heard_in_it(library, tagger):
    def ours(title: str) -> list[str]:
        return library.get(title).get("agf_set", with_album=False)

    tagger.sounds.update(a={"Rock": 0.6, "Electronic": 0.4}, b={"Rock": 0.1, "Electronic": 0.9})
    library.configure(min_confidence=0.6)
    library.album("ab")
    library.track("c", genres=["Jazz"])
    library.beet("agfgenre", "-a")
    assert ours("a") == ours("b") == library.lib.albums().get().agf_set == ("Electronic",)
    assert ours("c") is None
    library.beet("agfgenre", "--undo")
    library.beet("agfgenre", "-f", "-k")
    assert library.genres("c") == ["Jazz", "Rock"]
    assert ours("c") == ("Rock",)
    assert ours("a") == ("Electronic", "Rock")


def test_album_is_not_listened_to_again(library, tagger):
    library.configure(min_confidence=0.95)
    library.album("ab")
    library.beet("agfgenre", "-a")
    library.configure(min_confidence=0.5)
    library.beet("agfgenre", "-a")
    assert library.lib.albums().get().genres == library.genres("a") == ["Rock"]
    assert tagger.listened == ["a", "b"]


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
    assert tagger.listened == []
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


def test_album_without_a_track_that_can_be_heard_is_left_alone(library, tagger):
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
    assert tagger.listened == []


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
        monkeypatch.setattr("beetsplug.agfgenre.tagging.BATCH", 1)
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
def test_album_is_listened_to_again_unless_each_of_its_tracks_was_heard(library, tagger, when):
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
    tagger.listened.clear()
    library.beet("agfgenre", "-a")
    assert sorted(tagger.listened) == ["a", "b", "c"]
    assert library.genres("c") == library.file_genres("c") == []
    tagger.sounds["c"] = ROCK
    library.beet("agfgenre", "-a")
    assert library.genres("c") == library.file_genres("c") == ["Rock"]
    assert library.get("c").get("agf_model", with_album=False) == "fake-1"


# When something fails while genres are being set


@pytest.mark.parametrize("options", [[], ["-a"]])
def test_closed_pipe_leaves_files_and_library_in_agreement(library, monkeypatch, options):
    library.album("abc")
    shown = []

    def show(model, **options):
        if len(shown) == 2:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        shown.append(model)

    monkeypatch.setattr(ui, "show_model_changes", show)
    with pytest.raises(BrokenPipeError):
        library.beet("agfgenre", *options)
    tracks = [model["title"] for model in shown if isinstance(model, Item)]
    assert tracks == (["a"] if options else ["a", "b"])
    for title in "abc":
        assert library.genres(title) == library.file_genres(title)
        assert bool(library.genres(title)) == (title in tracks)


@pytest.fixture
def disk_library(monkeypatch):
    yield from open_library(monkeypatch, FakeTagger(), on_disk=True)


def lock(library) -> sqlite3.Connection:
    library.lib._connection().execute("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(os.fsdecode(library.lib.path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


def test_locked_library_is_one_clear_line_before_anything_is_done(disk_library):
    library = disk_library
    library.track("a")
    other = lock(library)
    with pytest.raises(ui.UserError, match=r"library .*\.(db|blb) cannot be written: .*locked"):
        library.beet("agfgenre")
    library.beet("agfgenre", "-p")
    other.close()
    assert library.tagger.listened == ["a"]  # by the second
    assert library.file_genres("a") == []
    library.beet("agfgenre")
    assert library.genres("a") == library.file_genres("a") == ["Rock"]


def test_read_only_library_is_one_clear_line_before_anything_is_done(disk_library):
    disk_library.track("a")
    disk_library.lib._connection().execute("PRAGMA query_only = 1")
    with pytest.raises(ui.UserError, match="cannot be written: attempt to write a readonly"):
        disk_library.beet("agfgenre")
    assert disk_library.tagger.listened == disk_library.file_genres("a") == []


def test_looking_whether_a_library_can_be_written_changes_nothing(disk_library):
    disk_library.track("a")
    path = Path(os.fsdecode(disk_library.lib.path))
    before = path.read_bytes(), path.stat().st_mtime_ns
    tagging.check_writable(disk_library.lib)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_library_that_is_locked_later_is_one_clear_line(disk_library):
    disk_library.track("a")
    others = []
    during(disk_library.tagger, lambda: others.append(lock(disk_library)))
    with pytest.raises(ui.UserError, match=r"cannot be written: .*locked"):
        disk_library.beet("agfgenre")
    others[0].close()


# Options and configuration


def test_help(library, capsys):
    library.load_plugins()
    with pytest.raises(SystemExit):
        library.run_command("agfgenre", "-h")
    out = " ".join(capsys.readouterr().out.split())
    assert "agfgenre [options] [QUERY]" in out
    assert "in compilations for each track" in out
    assert "as import.write says" in out
    assert "listens to tracks that have genres, too" in out


def test_auto_that_makes_no_sense_is_one_line_and_stops_nothing(library):
    library.configure(auto="maybe")
    library.track("a")
    library.beet("ls")
    (line,) = library.log.lines_at("WARNING")
    assert line == "WARNING: auto must be yes or no, not 'maybe' (taken for no)"


@pytest.mark.parametrize(
    ("section", "told"),
    [(None, []), (True, ["WARNING: the configuration says True, not options (taken for none)"])],
)
def test_a_section_without_options_is_an_empty_one(library, section, told):
    library.config.set({"agfgenre": section})
    library.track("a")
    library.beet("agfgenre")
    assert library.genres("a") == ["Rock"]
    assert library.log.lines_at("WARNING") == told


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        ({"count": 0}, [], "count must be a whole number from 1 up, not 0"),
        ({"count": "two"}, [], "count must be a whole number from 1 up, not 'two'"),
        ({"count": True}, [], "count must be a whole number from 1 up, not True"),
        ({"prior": "mine"}, [], "prior must be balanced, shipped or library, not 'mine'"),
        ({"prior": ["library"]}, [], "prior must be balanced, shipped or library, not ["),
        ({"min_confidence": 2}, [], "min_confidence must be a number from 0 to 1, not 2"),
        ({"min_confidence": None}, [], "min_confidence must be a number from 0 to 1, not None"),
        ({"threads": -2}, [], "threads must be a whole number from 0 up, not -2"),
        ({}, ["-t", "-1"], "threads must be a whole number from 0 up, not -1"),
        ({"force": "maybe"}, [], "force must be yes or no, not 'maybe'"),
        ({"title_case": 3}, [], "title_case must be yes or no, not 3"),
        ({"title_case": "yes"}, [], "title_case must be yes or no (without quotes), not 'yes'"),
        ({"count": "2"}, [], "count must be a whole number from 1 up (without quotes), not '2'"),
        ({"count": "0"}, [], "count must be a whole number from 1 up, not '0'"),
        ({"count": "["}, [], "count must be a whole number from 1 up, not '['"),
        ({"count": "2001-13-13"}, [], "count must be a whole number from 1 up, not '2001-13-13'"),
        ({"model": 3}, [], "model must be the folder of a model, not 3"),
        ({"whitelist": "/no/such.txt"}, [], "whitelist: /no/such.txt cannot be read"),
    ],
)
def test_nonsense_is_one_clear_line(library, config, options, message):
    library.configure(**config)
    with pytest.raises(ui.UserError) as caught:
        library.beet("agfgenre", *options)
    (text,) = caught.value.args
    assert message in text
    assert text.startswith("agfgenre: ")
    assert "\n" not in text


def test_threads_are_handed_on(library):
    library.configure(threads=3)
    library.beet("agfgenre")
    assert library.settings.threads == 3
    library.beet("agfgenre", "--threads", "2")
    assert library.settings.threads == 2


def test_options_of_one_run_do_not_outlive_it(library):
    library.track("a", genres=["Jazz"])
    library.beet("agfgenre", "-f", "-p")
    library.beet("agfgenre")
    assert library.genres("a") == ["Jazz"]


# Progress


def test_progress_off_a_terminal_is_a_line_now_and_then(library, tagger, monkeypatch):
    monkeypatch.setattr(report, "SECONDS_BETWEEN_LINES", 0.0)
    for title in "ab":
        library.track(title)
    library.beet("agfgenre")
    assert len(library.log.having("of 2 tracks")) == 2
    assert library.log.having("0:00:00 left")
    tagger.model_id = "fake-2"
    library.beet("agfgenre", "-q", "-f")
    assert tagger.listened == ["a", "b", "a", "b"]
    assert len(library.log.having(" tracks, ")) == 2


def test_progress_on_a_terminal_is_a_bar_that_goes_away(library, monkeypatch, capsys):
    for title in "ab":
        library.track(title)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    library.beet("agfgenre")
    output = capsys.readouterr()
    assert "Listening" in output.err
    assert "2" in output.err
    assert output.out.count("+ Rock") == 2


# Loading


def test_loading_the_plugin_imports_nothing_heavy(tmp_path):
    (tmp_path / "config.yaml").write_text("plugins: [agfgenre]\nagfgenre:\n  auto: yes\n")
    code = """
import sys
from beets import ui
ui.main(["ls"])
heavy = {"torch", "librosa", "onnxruntime", "av", "tqdm", "onnx", "agf_core.tagger"}
sys.exit(f"imported: {heavy & set(sys.modules)}" if heavy & set(sys.modules) else 0)
"""
    environment = {**os.environ, "BEETSDIR": str(tmp_path), "HOME": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert (run.returncode, run.stderr) == (0, b"")


@pytest.fixture
def real_library(monkeypatch):
    yield from open_library(monkeypatch, None)


def test_missing_model_is_one_clear_line(real_library, tmp_path):
    real_library.track("a")
    real_library.configure(model=str(tmp_path / "nowhere"))
    with pytest.raises(ui.UserError, match="nowhere") as caught:
        real_library.beet("agfgenre")
    assert "\n" not in str(caught.value)


def test_broken_installation_is_one_clear_line(real_library, monkeypatch):
    monkeypatch.setitem(sys.modules, "agf_core.listener", None)
    with pytest.raises(ui.UserError, match="pip install"):
        real_library.beet("agfgenre")


# The whole way, with the model that ships


def test_clips_of_every_format_are_tagged(real_library, clips):
    library = real_library
    clips = [clip for clip in clips if clip.suffix not in {".tta", ".oga"}]  # as beets knows
    for clip in clips:
        item = Item.from_path(shutil.copy(clip, library.lib_path))
        item.genres = []
        library.lib.add(item)
    library.configure(min_confidence=0)
    library.beet("agfgenre", "-q")
    for item in library.lib.items():
        assert len(item.genres) == 1
        assert item.genres == list(item.agf_genres[:1]) == MediaFile(item.path).genres
        assert 0 < item.agf_confidence <= 1
        assert item.agf_model
    assert f"tagged {len(clips)} tracks" in summary(library)


def test_bad_files_do_not_stop_a_run(real_library, clips):
    library = real_library
    good = library.lib_path / clips[0].name
    shutil.copy(clips[0], good)
    bad = {"text.mp3": b"no audio", "empty.flac": b"", "half.wav": b"RIFF", "gone.ogg": None}
    for name, content in bad.items():
        if content is not None:
            (library.lib_path / name).write_bytes(content)
        library.add_item(title=name, path=library.lib_path / name)
    silent_wav(library.lib_path / "short.wav", 0.5)
    silent_wav(library.lib_path / "silent.wav", 5)
    for name in ("short.wav", "silent.wav", good.name):
        library.lib.add(Item.from_path(library.lib_path / name))
    library.beet("agfgenre")
    for name in (*bad, "short.wav", "silent.wav"):
        assert len(library.log.having(name)) == 1
    assert "failed: 6 tracks (" in summary(library)
    assert "1 silent" in summary(library)
    assert "1 shorter than one second" in summary(library)
