"""Tags that have room are written in place, and a write that was killed is rolled back."""

import errno
import fcntl
import io
import json
import os
import random
import shutil
from contextlib import suppress
from io import RawIOBase
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from beets import plugins
from beets.library import Item
from beets_helpers import FakeTagger, open_library
from mediafile import MediaFile

from agf_core.audio import decode
from agf_core.utils import atomic
from beetsplug.agfgenre.database import folder_beside
from beetsplug.agfgenre.tag import file_writer, rollback
from beetsplug.agfgenre.tag.file_writer import write
from beetsplug.agfgenre.tag.overlay import Overlay, Patch

KNOWN = {".mp3", ".flac", ".m4a", ".ogg", ".opus", ".wma", ".wav", ".aiff", ".wv", ".mpc", ".ape"}


class KilledError(BaseException):
    """Stands for SIGKILL: nothing is done after it."""


@pytest.fixture
def library(monkeypatch):
    yield from open_library(monkeypatch, FakeTagger(), on_disk=True)


def add(library, clip: Path) -> tuple[Item, Path]:
    """Put a copy of a clip into the library, with tags as beets writes them and room for more."""
    path = Path(shutil.copy(clip, library.lib_path))
    item = Item.from_path(os.fsencode(path))
    library.lib.add(item)
    item.genres = ["Some Genre"]
    write(item, "run")
    return item, path


@pytest.fixture
def mp3(library, clips):
    (clip,) = (clip for clip in clips if clip.suffix == ".mp3")
    return add(library, clip)


def journal(library) -> Path:
    return folder_beside(library.lib) / rollback.ROLLBACK_RECORD


def tag(item: Item, path: Path, genres: list[str]) -> bool:
    """Write genres; return whether the file is still the same one."""
    before = path.stat().st_ino
    item.genres = genres
    write(item, "run")
    assert MediaFile(path).genres == genres
    assert item.mtime == int(path.stat().st_mtime)
    return path.stat().st_ino == before


# What is written


def test_every_format_is_written_in_place_once_there_is_room(library, clips):
    for clip in clips:
        if clip.suffix in KNOWN and clip.name != "zhelanov.oga":
            item, path = add(library, clip)
            os.utime(path, (1e9, 1e9))
            for genres in (["Rock"], ["Rock", "Electronic"], ["Pop"]):
                assert tag(item, path, genres), clip.name
                assert path.stat().st_mtime > 1e9
            assert not journal(library).exists()
            assert (decode.read(path).samples == decode.read(clip).samples).all(), clip.name


def test_all_of_the_padding_stays(library, clips):
    """`mutagen` cuts off what it finds too much, and so would move all of the sound."""
    (clip,) = (clip for clip in clips if clip.suffix == ".flac")
    item, path = add(library, clip)
    file = MediaFile(path)
    file.mgfile.save(padding=lambda info: 1_000_000)
    size = path.stat().st_size
    assert tag(item, path, ["Rock"])
    assert path.stat().st_size == size


def test_little_is_written(library, clips, monkeypatch):
    (clip,) = (clip for clip in clips if clip.suffix == ".flac")
    item, path = add(library, clip)
    written = []
    pwrite = os.pwrite

    def counted(number, content, offset):
        written.append(len(content))
        return pwrite(number, content, offset)

    monkeypatch.setattr(os, "pwrite", counted)
    assert tag(item, path, ["Rock"])
    assert 0 < sum(written) <= 8192
    written.clear()
    assert tag(item, path, ["Rock"])  # which is there already
    assert written == []


def test_tags_without_room_are_copied_with_room_for_the_next_ones(mp3):
    item, path = mp3
    item.lyrics = "la " * 10_000
    assert not tag(item, path, ["Rock"])
    assert tag(item, path, ["Electronic", "Pop"])


def test_what_would_move_is_not_tried_in_memory_first(mp3, monkeypatch):
    item, path = mp3
    item.lyrics = "la " * 10_000
    monkeypatch.setattr(file_writer, "FEW_CHANGED", 8_192)
    tried = []
    keep = Overlay.write
    monkeypatch.setattr(Overlay, "write", lambda *args: tried.append(args[1]) or keep(*args))
    assert not tag(item, path, ["Rock"])
    assert not any(tried)  # of no bytes, by which `mutagen` checks a file
    monkeypatch.setattr(file_writer, "FEW_CHANGED", 1 << 20)
    assert tag(item, path, ["Pop"])
    assert any(tried)


def test_links_of_both_kinds_are_written_in_place(mp3, tmp_path):
    item, path = mp3
    os.link(path, tmp_path / "hard.mp3")
    target = tmp_path / "target.mp3"
    path.rename(target)
    path.symlink_to(target)
    assert tag(item, path, ["Rock"])
    assert path.is_symlink()
    assert target.samefile(tmp_path / "hard.mp3")


def test_a_plugin_that_changes_the_file_before_it_is_written_is_followed(mp3, monkeypatch):
    item, path = mp3
    send = plugins.send

    def sent(event, **details):
        if event == "write":
            file = MediaFile(path)
            file.lyrics = "by a plugin"
            file.save()
        return send(event, **details)

    monkeypatch.setattr(plugins, "send", sent)
    del item["lyrics"]
    item.genres = ["Rock"]
    with monkeypatch.context():
        write(item, "run")
    assert MediaFile(path).genres == ["Rock"]


def test_tags_are_read_once(library, monkeypatch):
    library.track("a")
    library.beet("agfgenre", "-f")
    opened = []
    init = MediaFile.__init__

    def counted(self, *arguments, **options):
        opened.append(arguments)
        init(self, *arguments, **options)

    library.tagger.sounds["a"] = {"Electronic": 0.9, "Rock": 0.1}
    library.tagger.model_id = "fake-2"
    monkeypatch.setattr(MediaFile, "__init__", counted)
    library.beet("agfgenre", "-f", "-q")
    assert len(opened) == 1
    monkeypatch.undo()
    assert library.file_genres("a") == ["Electronic"]


# What fails


def killed(item: Item, monkeypatch, after: int) -> bool:
    """Write genres and end after some bytes, as if by SIGKILL; return whether there are so many."""
    left = after
    pwrite = os.pwrite

    def partly(number, content, offset):
        nonlocal left
        if left <= 0:
            raise KilledError
        written = pwrite(number, content[:left], offset)
        left -= written
        return written

    def nothing_more(*_):
        raise KilledError

    item.genres = ["Rock", "Electronic"]
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", partly)
        patch.setattr(rollback.Entry, "revert", nothing_more)
        with suppress(KilledError):
            write(item, "run")
            return False
    return True


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".ape", ".m4a", ".opus", ".wav"])
def test_a_write_that_was_killed_is_rolled_back(library, clips, monkeypatch, suffix):
    item, path = add(library, next(clip for clip in clips if clip.suffix == suffix))
    samples = decode.read(path).samples
    os.utime(path, (1e9, 1e9))
    old = path.read_bytes()
    rolled_back = 0
    for after in range(1, 4096, 128):
        if not killed(item, monkeypatch, after):
            break
        torn = path.read_bytes()
        rollback.repair(library.lib)
        assert not journal(library).exists()
        if path.read_bytes() == old:
            assert path.stat().st_mtime == 1e9
            rolled_back += torn != old
        else:  # the rest is as it was
            assert path.read_bytes() == torn
            assert MediaFile(path).genres == item.genres
            break
    assert rolled_back
    assert (decode.read(path).samples == samples).all()
    assert tag(item, path, ["Pop"])


@pytest.mark.parametrize(
    "command", [("ls",), ("agfgenre", "-p"), ("agfgenre", "--undo"), ("write",)]
)
def test_every_command_repairs_first(library, monkeypatch, command):
    item = library.track("a")
    path = Path(os.fsdecode(item.path))
    old = path.read_bytes()
    killed(item, monkeypatch, 700)
    assert path.read_bytes() != old
    library.beet(*command)
    assert MediaFile(path).genres in (None, [], ["Rock"])
    assert len(library.log.having("it is what it was before")) == 1
    if command[0] != "write":
        assert path.read_bytes() == old
    assert not journal(library).exists()


def test_a_write_that_was_complete_stays(mp3, library, monkeypatch):
    item, path = mp3
    with monkeypatch.context() as patch:
        patch.setattr(rollback.RollbackJournal, "_clear", lambda self: None)
        assert tag(item, path, ["Rock"])
    assert journal(library).stat().st_size
    new = path.read_bytes()
    rollback.repair(library.lib)
    assert path.read_bytes() == new
    assert not journal(library).exists()
    assert not library.log.lines_at("WARNING")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_an_error_restores_the_old_file_which_is_then_copied(mp3, library, monkeypatch, number):
    item, path = mp3
    old = path.read_bytes()
    copied = []
    copy = file_writer._write_copy

    def copy_of_the_old(item, path, *arguments):
        copied.append(Path(path).read_bytes())
        copy(item, path, *arguments)

    monkeypatch.setattr(file_writer, "_write_copy", copy_of_the_old)
    pwrite, calls = os.pwrite, []

    def fails_once(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            pwrite(arguments[0], arguments[1][:100], arguments[2])
            raise OSError(number, os.strerror(number))
        return pwrite(*arguments)

    monkeypatch.setattr(os, "pwrite", fails_once)
    assert not tag(item, path, ["Rock"])
    assert copied == [old]
    assert not journal(library).exists()


def test_a_file_that_takes_no_byte_is_copied_and_leaves_no_record(mp3, library, monkeypatch):
    def refused(*_):
        raise OSError(errno.EIO, "Input/output error")

    item, path = mp3
    monkeypatch.setattr(os, "pwrite", refused)
    assert not tag(item, path, ["Rock"])
    assert not journal(library).exists()
    assert not library.log.lines_at("WARNING")


def test_what_another_program_has_changed_since_is_left_alone(mp3, library, monkeypatch):
    item, path = mp3
    killed(item, monkeypatch, 200)
    file = MediaFile(path)
    file.title = "another program"
    file.save()
    content = path.read_bytes()
    rollback.repair(library.lib)
    assert path.read_bytes() == content
    (line,) = library.log.lines_at("WARNING")
    assert "another program has changed it since; it is left as it is" in line
    assert path.name in line
    assert not journal(library).exists()


def test_a_file_that_is_away_is_repaired_once_it_is_back(mp3, library, monkeypatch):
    item, path = mp3
    old = path.read_bytes()
    killed(item, monkeypatch, 200)
    path.rename(path.with_suffix(".away"))
    other, there = add(library, Path(__file__).parents[1] / "data" / "zeropage.flac")
    assert not tag(other, there, ["Rock"])  # by a copy
    assert all(
        "cannot be repaired now (No such file or directory)" in s
        for s in library.log.lines_at("WARNING")
    )
    path.with_suffix(".away").rename(path)
    assert tag(other, there, ["Pop"])
    assert path.read_bytes() == old


# The journal


def test_without_a_journal_files_are_copied(mp3, library, monkeypatch):
    item, path = mp3

    def refused(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refused)
        assert not tag(item, path, ["Rock"])
    with monkeypatch.context() as patch:
        patch.setattr(rollback.Entry, "to_bytes", refused)  # a full disk
        assert not tag(item, path, ["Pop"])
    journal(library).mkdir()
    assert not tag(item, path, ["Soul"])
    journal(library).rmdir()
    assert tag(item, path, ["Jazz"])


def test_a_journal_that_another_process_has_locked_is_left_to_it(mp3, library, monkeypatch):
    item, path = mp3
    killed(item, monkeypatch, 200)
    half = path.read_bytes()
    with journal(library).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        rollback.repair(library.lib)
        assert path.read_bytes() == half
    rollback.repair(library.lib)
    assert path.read_bytes() != half


def test_a_journal_that_was_not_finished_means_that_no_file_was_touched(mp3, library, monkeypatch):
    item, path = mp3
    old = path.read_bytes()
    killed(item, monkeypatch, 0)
    whole = journal(library).read_bytes()
    for length in (0, 1, 30, 200, len(whole) - 1):
        journal(library).write_bytes(whole[:length])
        rollback.repair(library.lib)
        assert not journal(library).exists()
    assert path.read_bytes() == old
    assert not library.log.lines_at("WARNING")


@pytest.mark.parametrize("damage", ["a line\n", '{"format": "x"}\n', "[]\n", "flipped"])
def test_a_damaged_journal_is_one_line_and_kept(mp3, library, monkeypatch, damage):
    item, path = mp3
    killed(item, monkeypatch, 200)
    content = bytearray(journal(library).read_bytes())
    content[-50] ^= 1
    damaged = bytes(content) if damage == "flipped" else damage.encode()
    journal(library).write_bytes(damaged)
    for _ in range(2):
        rollback.repair(library.lib)
    (line,) = library.log.lines_at("WARNING")
    assert "damaged; the record is kept as" in line
    assert journal(library).with_name("write.rollback.damaged").read_bytes() == damaged
    assert tag(item, path, ["Rock"])


def test_a_journal_of_a_newer_version_is_one_line_and_kept(mp3, library, monkeypatch):
    item, path = mp3
    content = atomic.sealed(json.dumps({"format": 2}).encode() + b"\n", "other")
    journal(library).write_bytes(content)
    rollback.repair(library.lib)
    (line,) = library.log.lines_at("WARNING")
    assert "a newer version of beets-agf was killed while it wrote a file" in line
    assert not tag(item, path, ["Rock"])
    assert journal(library).read_bytes() == content


# The overlay


def test_an_overlay_is_as_a_file_and_its_patch_makes_one(tmp_path):
    rng = random.Random(0)
    for _ in range(60):
        path = tmp_path / "file"
        old = rng.randbytes(rng.choice([0, 1, 4096, 10_000, 40_000]))
        path.write_bytes(old)
        with path.open("r+b", buffering=0) as file, TemporaryFile(buffering=0) as model:
            model.write(old)
            overlay = Overlay(file, 1 << 20)
            for _ in range(rng.randrange(30)):
                act(rng, overlay, model)
            patch: Patch = overlay.patch()
            number = file.fileno()
            assert patch.is_old(number)
            assert patch.is_partly_applied(number)
            patch.apply(number)
            assert path.read_bytes() == contents(model)
            assert patch.is_new(number)
            assert patch.is_partly_applied(number)
            patch.revert(number)
            assert path.read_bytes() == old


def contents(file: RawIOBase) -> bytes:
    file.seek(0)
    return file.read()


def act(rng: random.Random, overlay: Overlay, model: RawIOBase) -> None:
    """Do the same to both, and see that the same comes of it."""
    size = len(contents(model))
    place = rng.randrange(size + 5000)
    assert overlay.seek(place) == model.seek(place)
    kind = rng.randrange(5)
    if kind == 0:
        length = rng.choice([None, 0, 5, 9000])
        assert overlay.read(length) == model.read(-1 if length is None else length)
    elif kind < 3:
        data = rng.randbytes(rng.randrange(9000))
        assert overlay.write(data) == model.write(data)
    elif kind == 3:
        assert overlay.truncate() == place
        model.truncate()
    else:
        assert overlay.seek(-min(size, 7), io.SEEK_END) == model.seek(-min(size, 7), io.SEEK_END)
        assert overlay.read() == model.read()
    assert overlay.tell() == model.tell()


def test_an_overlay_keeps_no_more_than_it_may(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(100_000))
    with path.open("rb") as file:
        overlay = Overlay(file, 8192)
        with pytest.raises(OSError, match="more than"):
            overlay.write(bytes(20_000))
        assert overlay.is_full
        short = Overlay(file, 8192)
        short.truncate(1000)
        with pytest.raises(OSError, match="more than"):
            short.patch()
