"""Tags are written into a copy that takes the file's place: the file is whole at any moment.

The library is in memory, so that nothing is written in place; that is in test_writing_in_place.py.
"""

import errno
import os
import resource
import shutil
import stat
from pathlib import Path

import pytest
from beets import plugins
from beets.library import Item
from mediafile import MediaFile

from agf_core.audio import decode
from beetsplug.agfgenre.tag.file_writer import COPY_PREFIX, write


def add(library, clip: Path) -> tuple[Item, Path]:
    """Put a copy of a clip into the library, without genres."""
    path = Path(shutil.copy(clip, library.lib_path))
    item = Item.from_path(os.fsencode(path))
    item.genres = []
    library.lib.add(item)
    return item, path


@pytest.fixture
def mp3(library, clips):
    (clip,) = (clip for clip in clips if clip.suffix == ".mp3")
    return add(library, clip)


def in_place(item: Item) -> bool:
    """Write genres, and tell whether the file is still the same one (inode)."""
    before = os.stat(item.path).st_ino
    item.genres = ["Rock"]
    write(item, "run")
    assert MediaFile(item.path).genres == ["Rock"]
    assert not list(Path(os.fsdecode(item.path)).parent.glob(f"{COPY_PREFIX}*"))
    return os.stat(item.path).st_ino == before


def test_every_format_keeps_its_sound(library, clips):
    for clip in clips:
        if clip.suffix not in {".tta", ".oga"}:  # which beets does not know
            item, path = add(library, clip)
            item.lyrics = "la " * 50_000  # so that the sound has to move
            assert not in_place(item)
            assert (decode.read(path).samples == decode.read(clip).samples).all()


def test_the_file_keeps_mode_owner_and_attributes(mp3):
    item, path = mp3
    os.chmod(path, 0o640)
    os.setxattr(path, "user.mood", b"blue")
    before = path.stat()
    assert not in_place(item)
    after = path.stat()
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert os.getxattr(path, "user.mood") == b"blue"
    assert item.mtime == int(after.st_mtime)


def test_a_symbolic_link_stays_one(mp3, tmp_path):
    item, path = mp3
    target = tmp_path / "elsewhere" / "target.mp3"
    target.parent.mkdir()
    path.rename(target)
    path.symlink_to(target)
    assert not in_place(item)
    assert path.is_symlink()
    assert MediaFile(target).genres == ["Rock"]
    assert [file.name for file in target.parent.iterdir()] == ["target.mp3"]


def test_hard_links_stay_together(mp3, tmp_path):
    item, path = mp3
    os.link(path, tmp_path / "other.mp3")
    assert in_place(item)
    assert MediaFile(tmp_path / "other.mp3").genres == ["Rock"]


def test_other_plugins_see_what_they_always_see(mp3, monkeypatch):
    item, path = mp3
    seen = []
    send = plugins.send

    def sent(event, **details):
        if event in ("write", "after_write"):
            assert details["item"] is item
            seen.append((event, details["path"], MediaFile(path).genres))
            if event == "write":
                details["tags"]["comments"] = "by a plugin"
        return send(event, **details)

    monkeypatch.setattr(plugins, "send", sent)
    assert not in_place(item)
    assert seen == [("write", item.path, None), ("after_write", item.path, ["Rock"])]
    assert MediaFile(path).comments == "by a plugin"


def test_id3v23_is_followed(mp3, library):
    item, path = mp3
    library.config["id3v23"] = True
    item.genres = ["Rock", "Pop"]
    write(item, "run")
    assert path.read_bytes()[:4] == b"ID3\x03"
    assert MediaFile(path).genres == ["Rock/Pop"]


def fails(item: Item, path: Path, match: str) -> None:
    """Write tags in vain, and see that the file is as it was and nothing lies beside it."""
    before = path.read_bytes()
    item.genres = ["Rock"]
    with pytest.raises(OSError, match=match):
        write(item, "run")
    assert path.read_bytes() == before
    assert not list(path.parent.glob(f"{COPY_PREFIX}*"))


def test_a_full_disk_leaves_the_file_as_it_was(mp3):
    item, path = mp3
    item.lyrics = "la " * 50_000
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size - 1000, limits[1]))
    try:
        fails(item, path, "too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("call", ["shutil.copyfile", "os.fsync", "os.replace"])
def test_whatever_fails_leaves_the_file_as_it_was(mp3, monkeypatch, call):
    def broken(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(call, broken)
    fails(*mp3, match="Input/output error")


def test_what_cannot_be_tagged_is_as_it_was(mp3):
    item, path = mp3
    path.write_bytes(b"no audio")
    with pytest.raises(Exception, match="error reading"):
        write(item, "run")
    assert path.read_bytes() == b"no audio"
    assert os.listdir(path.parent) == [path.name]
