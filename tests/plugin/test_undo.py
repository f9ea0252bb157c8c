"""What a run replaced is restored, also when the run was killed; what changed since is not."""

import json
import os
import signal
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from beets import ui
from beets_helpers import ELECTRONIC, FakeTagger, open_library
from mediafile import MediaFile

from beetsplug.agfgenre.tag import journal, undo
from beetsplug.agfgenre.tag.file_writer import copy_beside
from beetsplug.agfgenre.tag.journal import Journal


@pytest.fixture
def library(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda number: None)  # no power fails here
    for library in open_library(monkeypatch, FakeTagger(), on_disk=True):
        library.lib._connection().execute("PRAGMA synchronous = OFF")
        for title in "abc":
            item = library.track(title, genres=["Jazz", "Soul"] if title == "b" else [])
            item.write()
        yield library


def journals(library) -> list[Path]:
    return sorted(Path(os.fsdecode(library.lib.path) + "-agfgenre").iterdir())


def genres(library) -> list[list[str]]:
    """Genres of all tracks, that the library and the files must agree on."""
    for title in "abc":
        assert library.genres(title) == library.file_genres(title)
    return [library.genres(title) for title in "abc"]


def told(library) -> str:
    return library.log.lines_at("INFO")[-1]


OLD, NEW = [[], ["Jazz", "Soul"], []], [["Rock"]] * 3


def test_the_last_run_is_restored_in_library_and_files(library, capsys):
    library.beet("agfgenre", "-f")
    assert genres(library) == NEW
    capsys.readouterr()
    library.beet("agfgenre", "--undo")
    assert genres(library) == OLD
    assert capsys.readouterr().out.count("- Rock") == 3
    assert "restored 3 tracks" in told(library)
    assert library.get("a").agf_genres == ["Rock"]  # the prediction still holds
    assert journals(library) == []
    library.beet("agfgenre", "--undo")
    assert "there is nothing to restore" in told(library)


def test_what_the_user_tags_after_an_undo_is_the_users(library):
    library.beet("agfgenre")
    assert library.get("a").agf_set == ["Rock"]
    library.beet("agfgenre", "--undo")
    assert "agf_set" not in library.get("a")
    item = library.get("a")
    item.genres = ["Rock"]
    item.store()
    library.configure(min_confidence=1)
    library.beet("agfgenre", "-r")
    assert library.genres("a") == ["Rock"]


def test_what_an_earlier_run_has_set_is_still_ours_after_an_undo(library):
    library.beet("agfgenre")
    library.tagger.sounds["a"] = ELECTRONIC
    library.beet("modify", "-y", "-M", "-W", "agf_model!")
    library.beet("agfgenre", "-f")
    assert library.get("a").agf_set == ["Electronic"]
    library.beet("agfgenre", "--undo")
    assert (library.genres("a"), library.get("a").agf_set) == (["Rock"], ["Rock"])


def test_journals_of_an_older_release_are_restored_too(library):
    library.beet("agfgenre")
    (path,) = journals(library)
    notes = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(
        "".join(json.dumps({k: v for k, v in n.items() if k != "ours"}) + "\n" for n in notes)
    )
    library.beet("agfgenre", "--undo")
    assert genres(library) == OLD
    assert library.get("a").agf_set == ["Rock"]


def press_ctrl_c(monkeypatch, owner, name: str) -> None:
    """Send the signal of Ctrl-C whenever a function ends."""
    function = getattr(owner, name)

    def pressed(*arguments):
        result = function(*arguments)
        os.kill(os.getpid(), signal.SIGINT)
        return result

    monkeypatch.setattr(owner, name, pressed)


def tag_twice(library) -> None:
    library.beet("agfgenre")
    library.tagger.model_id = "fake-2"
    library.tagger.sounds = dict.fromkeys("abc", ELECTRONIC)
    library.beet("agfgenre", "-f")
    assert genres(library) == [["Electronic"]] * 3


BEFORE = [["Rock"], ["Jazz", "Soul"], ["Rock"]]


def test_an_undo_that_is_stopped_goes_on_with_the_same_run(library, monkeypatch):
    tag_twice(library)
    monkeypatch.setattr(undo, "BATCH_SIZE", 1)
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, undo._Undo, "_restore")
        with pytest.raises(SystemExit, match="130"):
            library.beet("agfgenre", "--undo")
    assert "restored 1 track; stopped, run again to continue" in told(library)
    library.beet("agfgenre", "--undo")
    assert "restored 2 tracks; already right: 1 track" in told(library)
    assert genres(library) == BEFORE
    library.beet("agfgenre", "--undo")
    assert genres(library) == OLD


@pytest.mark.parametrize("step", ["_restore", "replace_changes"])
def test_an_undo_that_is_all_but_done_is_not_stopped(library, monkeypatch, step):
    tag_twice(library)
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, undo._Undo if step == "_restore" else undo, step)
        library.beet("agfgenre", "--undo")
    assert told(library) == "INFO: restored 3 tracks"  # and nothing invites to run it again
    assert genres(library) == BEFORE
    assert len(journals(library)) == 1


def test_the_run_that_is_undone_is_told_by_its_date(library):
    library.beet("agfgenre", "-f")
    (path,) = journals(library)
    path.rename(path.with_name("r00000001-20250309T073000-000000-1.jsonl"))
    local = datetime(2025, 3, 9, 7, 30, tzinfo=UTC).astimezone()
    library.beet("agfgenre", "--undo", "-p")
    assert library.log.having(f"restoring what the run of {local:%Y-%m-%d %H:%M} replaced")


def test_removed_genres_are_restored(library):
    library.beet("agfgenre")
    library.configure(min_confidence=0.95)
    library.beet("agfgenre", "-r")
    assert genres(library) == OLD
    library.beet("agfgenre", "--undo")
    assert genres(library) == [["Rock"], ["Jazz", "Soul"], ["Rock"]]


def test_undoing_goes_with_no_other_wish(library):
    library.beet("agfgenre", "-f")
    for option in ("-f", "-k", "-r", "-a", "--explain"):
        with pytest.raises(ui.UserError, match="--undo cannot be combined with --"):
            library.beet("agfgenre", "--undo", option)
    assert genres(library) == NEW


def test_pretending_changes_nothing(library, capsys):
    library.beet("agfgenre", "-f")
    library.beet("agfgenre", "--undo", "-p")
    assert "- Rock" in capsys.readouterr().out
    assert "would restore 3 tracks" in told(library)
    assert genres(library) == NEW
    library.beet("agfgenre", "--undo", "-q")
    assert genres(library) == OLD
    assert capsys.readouterr().out == ""


def test_again_and_again_goes_further_back(library):
    library.beet("agfgenre")
    library.tagger.model_id, library.tagger.sounds["a"] = "fake-2", ELECTRONIC
    library.beet("agfgenre", "-f")
    assert genres(library) == [["Electronic"], ["Rock"], ["Rock"]]
    library.beet("agfgenre", "--undo")
    assert genres(library) == [["Rock"], ["Jazz", "Soul"], ["Rock"]]
    library.beet("agfgenre", "--undo")
    assert genres(library) == OLD


def test_a_query_puts_back_what_matches_and_leaves_the_rest_for_later(library):
    library.beet("agfgenre", "-f")
    library.beet("agfgenre", "--undo", "title:b")
    assert genres(library) == [["Rock"], ["Jazz", "Soul"], ["Rock"]]
    library.beet("agfgenre", "--undo", "title:b")
    assert "there is nothing to restore" in told(library)
    library.beet("agfgenre", "--undo")
    assert genres(library) == OLD


@pytest.mark.parametrize("where", ["library", "file"])
def test_what_was_changed_since_is_skipped_and_reported(library, where):
    library.beet("agfgenre", "-f")
    if where == "library":
        library.beet("modify", "-y", "title:a", "genres=Folk")
    else:
        file = MediaFile(library.get("a").path)
        file.genres = ["Folk"]
        file.save()
    library.beet("agfgenre", "--undo")
    assert library.file_genres("a") == ["Folk"]
    assert library.genres("a") == (["Folk"] if where == "library" else ["Rock"])
    assert [library.genres(title) for title in "bc"] == OLD[1:]
    (line,) = library.log.having("skipped, its genres have changed since that run")
    assert " - a: " in line
    assert "restored 2 tracks; skipped because changed since that run: 1 track" in told(library)


def test_what_is_no_longer_there_is_counted_and_its_number_is_not_taken_for_it(library):
    library.beet("agfgenre", "-f")
    library.get("a").remove()
    library.get("c").remove()
    library.track("d", genres=["Rock"])  # with the number of c
    library.beet("agfgenre", "--undo")
    assert "restored 1 track; no longer in the library: 2 tracks" in told(library)
    assert library.genres("d") == ["Rock"]


def test_an_album_that_one_run_has_changed_twice_comes_back(library):
    album = library.album("ab")
    album.genres = ["Jazz"]
    with closing(Journal(library.lib)) as journal:
        for genres in ([], ["Rock"]):
            journal.record(album, genres)
            album.genres = genres
    album.store(inherit=False)
    library.beet("agfgenre", "--undo")
    album.load()
    assert album.genres == ["Jazz"]


def test_albums_are_restored_with_and_without_a_query(library):
    for query in ([], ["title:x"]):
        library.album("xy", name="Untagged" + str(query))
        library.beet("agfgenre", "-a", "-q", "album:Untagged")
        album = library.lib.albums("album:Untagged").get()
        assert album.genres == ["Rock"]
        library.beet("agfgenre", "--undo", *query)
        assert library.lib.get_album(album.id).genres == []
        assert [item.genres for item in album.items()] == (
            [[], []] if not query else [[], ["Rock"]]
        )
        album.remove(delete=True)


def test_files_follow_the_write_option(library):
    library.beet("agfgenre", "-f")
    library.beet("agfgenre", "--undo", "-W")
    assert [library.genres(title) for title in "abc"] == OLD
    assert [library.file_genres(title) for title in "abc"] == NEW


def test_a_file_that_is_gone_is_restored_in_the_library(library):
    library.beet("agfgenre", "-f")
    os.remove(library.get("a").path)
    library.beet("agfgenre", "--undo")
    assert library.genres("a") == []
    assert "restored 3 tracks" in told(library)
    assert library.log.having("its genres are restored in the library only")


# Files that know more than the library


def tag_file(library, title: str, *genres: str) -> None:
    file = MediaFile(library.get(title).path)
    file.genres = genres
    file.save()


@pytest.mark.parametrize("wish", [[], ["-r"], ["-k"]])
def test_genres_that_only_the_file_has_are_skipped_and_reported(library, wish):
    tag_file(library, "a", "Tango")
    library.beet("agfgenre", *wish, "-p")
    assert library.log.having("a: skipped, its file has genres that the library lacks")
    assert "skipped because the file has other genres: 1 track" in told(library)
    library.beet("agfgenre", *wish)
    assert "skipped because the file has other genres: 1 track" in told(library)
    assert library.genres("a") == []
    assert library.file_genres("a") == ["Tango"]
    assert library.genres("c") == library.file_genres("c") == ["Rock"]


def test_genres_of_the_file_that_the_library_knows_under_other_letters_are_no_reason(library):
    tag_file(library, "b", "SOUL; jazz")
    library.beet("agfgenre", "-k")
    assert library.genres("b") == library.file_genres("b") == ["Jazz", "Soul", "Rock"]


def test_what_only_the_file_had_is_restored_there(library):
    tag_file(library, "a", "Tango")
    library.beet("agfgenre", "-f")
    assert library.genres("a") == library.file_genres("a") == ["Rock"]
    library.beet("agfgenre", "--undo")
    assert library.genres("a") == []
    assert library.file_genres("a") == ["Tango"]


def test_where_no_file_is_written_its_genres_do_not_matter(library):
    tag_file(library, "a", "Tango")
    library.beet("agfgenre", "-W")
    assert library.genres("a") == ["Rock"]
    assert library.file_genres("a") == ["Tango"]


# Runs that were killed


class KilledError(BaseException):
    """Stands for SIGKILL: nothing is done after it."""


def kill(library, monkeypatch, when: str) -> None:
    """End a run at a point, as if by SIGKILL."""

    def end(*_, **__):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(f"beetsplug.agfgenre.{when}", end)
        patch.setattr(
            "beetsplug.agfgenre.tag.journal.Journal.close", lambda self: self._file.close()
        )
        patch.setattr("beetsplug.agfgenre.tag.run.Run._store", lambda self, objs: None)
        patch.setattr("beetsplug.agfgenre.tag.file_writer.os.remove", lambda path: None)
        patch.setattr("beetsplug.agfgenre.tag.file_writer._write_in_place", lambda *_: False)
        with pytest.raises(KilledError):
            library.beet("agfgenre", "-f")


@pytest.mark.parametrize(
    "when", ["tag.file_writer._tag", "tag.file_writer.os.replace", "summary.Summary.add"]
)
@pytest.mark.parametrize("then", ["go on", "undo"])
def test_a_killed_run(library, monkeypatch, when, then):
    kill(library, monkeypatch, when)
    (journal,) = journals(library)
    assert journal.suffix == ".open"
    assert [library.genres(title) for title in "abc"] == OLD
    assert library.file_genres("a") == (["Rock"] if "Summary" in when else [])
    copy = copy_beside(library.get("a").path, journal.stem)
    assert os.path.exists(copy) == ("Summary" not in when)
    library.beet("agfgenre", *(["-f"] if then == "go on" else ["--undo"]))
    assert genres(library) == (NEW if then == "go on" else OLD)
    assert not os.path.exists(copy)
    assert [path.suffix for path in journals(library)] == [".jsonl"] * (2 * (then == "go on"))
    if then == "go on":
        library.beet("agfgenre", "--undo")
        assert genres(library) == OLD


def test_a_line_that_was_not_finished_is_no_change(library):
    library.beet("agfgenre", "-f")
    (journal,) = journals(library)
    text = journal.read_text()
    journal.write_text(text[: text.rindex('"new"')])
    library.beet("agfgenre", "--undo")
    assert [library.genres(title) for title in "abc"] == [*OLD[:2], ["Rock"]]


def test_undoing_that_is_killed_goes_on(library, monkeypatch):
    library.beet("agfgenre", "-f")
    with monkeypatch.context() as patch:
        patch.setattr(undo, "store", lambda model: (_ for _ in ()).throw(KilledError()))
        with pytest.raises(KilledError):
            library.beet("agfgenre", "--undo")
    assert [library.genres(title) for title in "abc"] == NEW
    assert [library.file_genres(title) for title in "abc"] == OLD
    library.beet("agfgenre", "--undo")
    assert genres(library) == OLD


# The notes


def test_the_journal_is_there_before_anything_is_changed(library, monkeypatch):
    monkeypatch.setattr(
        "pathlib.Path.mkdir",
        lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    )
    with pytest.raises(ui.UserError, match=r"journal .*-agfgenre cannot be written \(No space"):
        library.beet("agfgenre", "-f")
    monkeypatch.undo()
    assert genres(library) == OLD


def test_a_run_that_goes_on_is_left_in_peace(library):
    other = journal.Journal(library.lib)
    other.record(library.get("a"), ["Folk"])
    library.beet("agfgenre", "-f")
    assert {path.suffix for path in journals(library)} == {".open", ".jsonl"}
    library.beet("agfgenre", "--undo")
    assert genres(library) == OLD
    other.close()
    (left,) = journals(library)
    assert json.loads(left.read_text())["new"] == ["Folk"]


def test_only_the_last_runs_are_kept(library, monkeypatch):
    monkeypatch.setattr(journal, "RUNS_KEPT", 2)
    for number in range(4):
        notes = journal.Journal(library.lib)
        notes.record(library.get("a"), [str(number)])
        notes.close()
    kept = [json.loads(path.read_text())["new"] for path in journals(library)]
    assert kept == [["2"], ["3"]]


def test_nothing_is_recorded_of_what_does_not_change(library):
    library.beet("agfgenre", "-p", "-f")
    library.configure(min_confidence=1)
    library.beet("agfgenre", "-f")
    assert not Path(os.fsdecode(library.lib.path) + "-agfgenre").exists()


def test_nothing_is_recorded_of_a_library_in_memory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for library in open_library(monkeypatch, FakeTagger()):
        library.track("a")
        library.beet("agfgenre")
        assert library.file_genres("a") == ["Rock"]
        library.beet("agfgenre", "--undo")
        assert "there is nothing to restore" in told(library)
    assert not list(tmp_path.glob("*-agfgenre"))


def test_journals_that_cannot_be_used_are_one_clear_line(library, monkeypatch):
    library.beet("agfgenre", "-f")

    def forbidden(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.rename", forbidden)
        with pytest.raises(ui.UserError, match=r"-agfgenre cannot be used \(Permission denied\)"):
            library.beet("agfgenre", "--undo")
    assert genres(library) == NEW
