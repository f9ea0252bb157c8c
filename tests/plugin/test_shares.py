"""Tags are written wherever beets itself can write them: shares, other owners, other systems."""

import errno
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest
from beets.library import Item
from beets_helpers import FakeTagger, open_library
from mediafile import MediaFile

from agf_core.utils import atomic
from beetsplug.agfgenre.database import folder_beside
from beetsplug.agfgenre.tag import journal
from beetsplug.agfgenre.tag.file_writer import COPY_PREFIX, REPLACING_FORBIDDEN, write

AS_ROOT = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away"
)


@pytest.fixture
def track(library, clips):
    """A track with a file of two sorts of attributes, and its path."""
    (clip,) = (clip for clip in clips if clip.suffix == ".mp3")
    path = Path(shutil.copy(clip, library.lib_path))
    item = Item.from_path(os.fsencode(path))
    item.genres = ["Rock"]
    library.lib.add(item)
    return item, path


def tagged(item: Item, path: Path) -> os.stat_result:
    """Write a track's tags, and see that the file has them and nothing lies beside it."""
    write(item, "run")
    assert MediaFile(path).genres == ["Rock"]
    assert not list(path.parent.glob(f"{COPY_PREFIX}*"))
    return path.stat()


def refuse(monkeypatch, call: str, number: int) -> None:
    def refused(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, refused)


CALLS = ("utime", "chmod", "chown", "setxattr", "getxattr", "listxattr", "removexattr")


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EACCES, errno.EINVAL])
@pytest.mark.parametrize("calls", [*((call,) for call in CALLS), CALLS])
def test_what_a_share_refuses_to_carry_over_does_not_keep_tags_from_being_written(
    track, monkeypatch, calls, number
):
    for call in calls:
        refuse(monkeypatch, call, number)
    tagged(*track)


@pytest.mark.parametrize("refused", CALLS)
def test_what_is_refused_takes_nothing_else_along(track, monkeypatch, refused):
    item, path = track
    os.chmod(path, 0o640)
    os.setxattr(path, "user.mood", b"blue")
    refuse(monkeypatch, refused, errno.EPERM)
    after = tagged(item, path)
    monkeypatch.undo()
    assert refused == "chmod" or stat.S_IMODE(after.st_mode) == 0o640
    assert "xattr" in refused or os.getxattr(path, "user.mood") == b"blue"


def test_one_attribute_that_is_refused_leaves_the_others(track, monkeypatch):
    item, path = track
    for name in ("user.a", "user.b", "user.c"):
        os.setxattr(path, name, b"x")
    setxattr = os.setxattr

    def chosen(copy, name, value):
        if name == "user.b":
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        setxattr(copy, name, value)

    monkeypatch.setattr(os, "setxattr", chosen)
    tagged(item, path)
    assert set(os.listxattr(path)) == {"user.a", "user.c"}


@pytest.mark.parametrize("call", CALLS)
def test_what_a_system_lacks_is_not_needed(track, monkeypatch, call):
    monkeypatch.delattr(os, call)
    tagged(*track)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_that_cannot_sync_is_written_to_all_the_same(track, monkeypatch, number):
    refuse(monkeypatch, "fsync", number)
    tagged(*track)


# Owner and group


@AS_ROOT
def test_root_keeps_owner_group_and_mode(track):
    item, path = track
    os.chown(path, 2001, 3000)
    os.chmod(path, 0o664)
    after = tagged(item, path)
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (2001, 3000, 0o664)


def written_by_a_member(item: Item, path: Path, mode: int, folder_mode: int) -> bool:
    """Whether user 2002 of group 3000 can write tags to a file of user 2001 and that group."""
    os.chown(path, 2001, 3000)
    os.chmod(path, mode)
    os.chown(path.parent, 2001, 3000)
    os.chmod(path.parent, folder_mode)
    for folder in path.parent.parents[:-2]:
        os.chmod(folder, folder.stat().st_mode | 0o011)
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([3000])
            os.setgid(2002)
            os.setuid(2002)
            write(item, "run")
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@AS_ROOT
def test_a_member_of_the_group_keeps_the_group(track):
    """Another user of the group writes a file: the owner cannot be kept, but the group can."""
    item, path = track
    assert written_by_a_member(item, path, 0o664, 0o775)
    after = path.stat()
    assert MediaFile(path).genres == ["Rock"]
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (2002, 3000, 0o664)


@AS_ROOT
@pytest.mark.parametrize("folder_mode", [0o755, 0o1777])
def test_a_folder_that_forbids_to_replace_a_file_does_not_keep_it_from_being_written(
    track, monkeypatch, folder_mode
):
    """A folder of another user that is read-only, or sticky, in which `beet write` can write."""
    monkeypatch.setattr(atomic, "RETRY_PAUSES", ())
    item, path = track
    assert written_by_a_member(item, path, 0o664, folder_mode)
    after = path.stat()
    assert MediaFile(path).genres == ["Rock"]
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (2001, 3000, 0o664)
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("call", ["shutil.copyfile", "os.replace"])
@pytest.mark.parametrize("number", REPLACING_FORBIDDEN)
def test_a_share_that_takes_no_copy_does_not_keep_tags_from_being_written(
    track, monkeypatch, number, call
):
    def refused(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic, "RETRY_PAUSES", ())
    monkeypatch.setattr(call, refused)
    tagged(*track)


@AS_ROOT
def test_who_may_not_write_a_file_does_not_replace_it_either(track):
    item, path = track
    before = path.read_bytes()
    assert not written_by_a_member(item, path, 0o640, 0o775)
    after = path.stat()
    assert (after.st_uid, after.st_gid, path.read_bytes()) == (2001, 3000, before)
    assert os.listdir(path.parent) == [path.name]


def test_a_file_gets_no_rights_from_its_folder(track, monkeypatch):
    """New files in a folder with a default access control list have one, which the old one lacks.

    An attribute that any file system has stands for it.
    """
    item, path = track
    copyfile = shutil.copyfile

    def copied(source, copy):
        copyfile(source, copy)
        os.setxattr(copy, "user.rights", b"rw")

    os.setxattr(path, "user.mood", b"blue")
    monkeypatch.setattr(shutil, "copyfile", copied)
    tagged(item, path)
    assert os.listxattr(path) == ["user.mood"]


@AS_ROOT
def test_the_owner_is_kept_where_the_group_cannot_be(track, monkeypatch):
    item, path = track
    os.chown(path, 2001, 3000)
    chown = os.chown

    def without_groups(copy, owner, group):
        if group != -1:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        chown(copy, owner, group)

    monkeypatch.setattr(os, "chown", without_groups)
    after = tagged(item, path)
    assert (after.st_uid, after.st_gid) == (2001, 0)


@AS_ROOT
@pytest.mark.parametrize("mode", [0o664, 0o600])
def test_who_may_write_the_library_may_tag_after_somebody_else_has(monkeypatch, mode):
    """Root tags the library of user 2001 and group 3000, which both go on using."""
    for library in open_library(monkeypatch, FakeTagger(), on_disk=True):
        library.track("a")
        database = Path(os.fsdecode(library.lib.path))
        os.chown(database, 2001, 3000)
        os.chmod(database, mode)
        library.beet("agfgenre", "-q")
        folder = folder_beside(library.lib).stat()
        assert (folder.st_uid, folder.st_gid) == (2001, 3000)
        assert folder.st_mode & 0o700 == 0o700
        assert (folder.st_mode & 0o070 == 0o070) == (mode == 0o664)


# Other systems


def is_open(path: str | bytes | Path) -> bool:
    """Whether this process has a file open."""
    wanted = os.path.realpath(os.fsdecode(path))
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return any(os.path.realpath(link) == wanted for link in links if os.path.exists(link))


@pytest.fixture
def windows(monkeypatch):
    """What Windows has that POSIX has not: `fsync` wants to write, open files stay where they are.

    What it lacks is gone.
    """
    fsync = os.fsync

    def fsync_for_writing(number):
        flags = int(Path(f"/proc/self/fdinfo/{number}").read_text().split()[3], 8)
        if flags & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        fsync(number)

    monkeypatch.setattr(os, "fsync", fsync_for_writing)

    def guarded(call):
        def guard(*paths, **options):
            if any(map(is_open, paths)):
                raise PermissionError(errno.EACCES, "The file is used by another process")
            return call(*paths, **options)

        return guard

    for name in ("rename", "replace", "remove", "unlink"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    for name in (*CALLS[2:], "sched_getaffinity"):
        monkeypatch.delattr(os, name)
    for name in ("fcntl", "resource"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("windows")
def test_files_are_written_as_windows_wants_it(track):
    tagged(*track)


@pytest.mark.usefixtures("windows")
def test_a_run_and_its_undo_are_possible_on_windows(monkeypatch):
    monkeypatch.setattr(journal, "fcntl", None)
    for library in open_library(monkeypatch, FakeTagger(), on_disk=True):
        for title in "ab":
            library.track(title)
        library.beet("agfgenre", "-q")
        assert library.file_genres("a") == ["Rock"]
        for query in ("title:a", "title:b"):
            library.beet("agfgenre", "-q", "--undo", query)
        assert library.file_genres("a") == library.file_genres("b") == []
        assert not list(folder_beside(library.lib).iterdir())


def test_a_file_that_another_program_has_open_for_a_moment_is_replaced(track, monkeypatch):
    attempts = []
    replace = os.replace

    def busy_at_first(*paths):
        attempts.append(paths)
        if len(attempts) < 3:
            raise PermissionError(errno.EACCES, "The file is used by another process")
        replace(*paths)

    monkeypatch.setattr(os, "replace", busy_at_first)
    monkeypatch.setattr(atomic, "RETRY_PAUSES", (0, 0, 0, 0))
    tagged(*track)
    assert len(attempts) == 3


def test_a_long_name_and_a_deep_folder_are_written_to(library, clips):
    (clip,) = (clip for clip in clips if clip.suffix == ".flac")
    folder = Path(os.fsdecode(library.lib_path)).joinpath(*["x" * 200] * 15)
    folder.mkdir(parents=True)
    path = Path(shutil.copy(clip, folder / ("ä" * 125 + ".flac")))
    item = Item.from_path(os.fsencode(path))
    item.genres = ["Rock"]
    library.lib.add(item)
    tagged(item, path)


@pytest.mark.parametrize("calls", [*((call,) for call in (*CALLS, "fsync", "ftruncate")), CALLS])
def test_what_a_share_refuses_does_not_keep_tags_from_being_written_in_place(
    monkeypatch, clips, calls
):
    """On disk, so that there is a journal: twice, so that there is room the second time."""
    for library in open_library(monkeypatch, FakeTagger(), on_disk=True):
        for suffix in (".mp3", ".ape"):
            (clip,) = (clip for clip in clips if clip.suffix == suffix)
            path = Path(shutil.copy(clip, library.lib_path))
            item = Item.from_path(os.fsencode(path))
            library.lib.add(item)
            item.genres = ["Rock"]
            tagged(item, path)
            with monkeypatch.context() as patch:
                for call in calls:
                    refuse(patch, call, errno.EINVAL)
                item.genres = ["Electronic", "Pop"]
                write(item, "run")
            assert MediaFile(path).genres == ["Electronic", "Pop"]
            assert not list(folder_beside(library.lib).iterdir())
