"""Unreadable and unwritable files and libraries cost nothing else."""

import errno
import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from beets import ui
from beets.library import Item
from beets_helpers import FakeTagger, open_library, silent_wav, summary
from mutagen import MutagenError

from agf_core.audio.decode import SilentAudioError, UnreadableAudioError
from beetsplug.agfgenre.tag import setup

# What can go wrong with a file


def test_failed_files_are_reported_counted_and_tried_again(library, tagger):
    tagger.sounds["a"] = UnreadableAudioError("a.wav cannot be read")
    tagger.sounds["b"] = SilentAudioError("b.wav is silent")
    for title in "abc":
        library.track(title)
    library.beet("agfgenre")
    assert [len(library.log.having(f"WARNING: {t}.wav")) for t in "ab"] == [1, 1]
    assert "tagged 1 track; failed: 2 tracks (1 unreadable, 1 silent)" in summary(library)
    assert "agf_model" not in library.get("a")
    library.beet("agfgenre")
    assert tagger.analysed == ["a", "b", "c", "a", "b"]


def test_nothing_but_failures_is_an_error(library, tagger):
    tagger.sounds["a"] = UnreadableAudioError("a.wav cannot be read")
    library.track("a")
    with pytest.raises(ui.UserError, match="none of the files could be analysed"):
        library.beet("agfgenre")


def test_file_that_cannot_be_written_is_reported_and_stored_in_the_library(library, tagger):
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
        "of these, 1 file could not be found (see `beet update`)"
    ) in summary(library)


def test_the_copy_that_is_written_is_not_reported(library):
    path = Path(os.fsdecode(library.track("a").path))
    path.write_bytes((Path(__file__).parents[1] / "data" / "savino.ogg").read_bytes()[:3000])
    library.beet("agfgenre")
    (line,) = library.log.lines_at("ERROR")
    assert str(path) in line
    assert ".agfgenre-" not in line


def test_forbidden_file_is_reported_once(library, monkeypatch):
    item = library.track("a")
    error = PermissionError(errno.EPERM, "Operation not permitted", os.fsdecode(item.path))

    def save(*arguments, **options):
        raise MutagenError(error) from error

    monkeypatch.setattr("mutagen.wave.WAVE.save", save)
    library.beet("agfgenre")
    (line,) = library.log.lines_at("ERROR")
    assert line.endswith(
        "a.wav cannot be written (Operation not permitted; allow writing to it and its "
        "folder); the library is changed, the file is not"
    )
    assert line.count("a.wav") == 1


def during(tagger, action):
    """Do something to the library while the tagger predicts."""
    predict = tagger._result

    def result(path):
        action()
        return predict(path)

    tagger._result = result


def test_track_removed_from_the_library_meanwhile_is_passed_over(library, tagger):
    library.track("a")
    during(tagger, lambda: library.get("a").remove())
    library.beet("agfgenre")
    assert "tagged 0 tracks" in summary(library)


def test_damage_that_was_passed_over_is_reported(library, tagger):
    library.track("a")
    predict = tagger._result
    tagger._result = lambda path: replace(predict(path), lost=2.5, seconds=27.5)
    library.beet("agfgenre")
    told = "a.wav: 2.5 s of the part to analyse are damaged or missing, and 27.5 s were analysed"
    assert library.log.having(told)
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
    with pytest.raises(ui.UserError, match=r"library .*\.(db|blb) cannot be written \(.*locked"):
        library.beet("agfgenre")
    library.beet("agfgenre", "-p")
    other.close()
    assert library.tagger.analysed == ["a"]  # by the second
    assert library.file_genres("a") == []
    library.beet("agfgenre")
    assert library.genres("a") == library.file_genres("a") == ["Rock"]


def test_read_only_library_is_one_clear_line_before_anything_is_done(disk_library):
    disk_library.track("a")
    disk_library.lib._connection().execute("PRAGMA query_only = 1")
    with pytest.raises(ui.UserError, match="cannot be written \\(attempt to write a readonly"):
        disk_library.beet("agfgenre")
    assert disk_library.tagger.analysed == disk_library.file_genres("a") == []


def test_looking_whether_a_library_can_be_written_changes_nothing(disk_library):
    disk_library.track("a")
    path = Path(os.fsdecode(disk_library.lib.path))
    before = path.read_bytes(), path.stat().st_mtime_ns
    setup.check_writable(disk_library.lib)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_library_that_is_locked_later_is_one_clear_line(disk_library):
    disk_library.track("a")
    others = []
    during(disk_library.tagger, lambda: others.append(lock(disk_library)))
    with pytest.raises(ui.UserError, match=r"cannot be written \(.*locked"):
        disk_library.beet("agfgenre")
    others[0].close()
