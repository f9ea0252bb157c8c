"""Files that are written whole or not at all, and read only if they are what was written."""

import errno
import os
import stat

import pytest

from agf_core.utils import atomic


def test_a_file_takes_its_place_when_it_has_been_written(tmp_path):
    path = tmp_path / "new" / "file"
    with atomic.written(path) as file:
        file.write(b"one")
    with atomic.written(path) as file:
        file.write(b"two")
        assert path.read_bytes() == b"one"
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_goes_wrong_leaves_what_was_there_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail():
        with atomic.written(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_what_killed_processes_have_begun_is_removed_after_an_hour(tmp_path):
    path = tmp_path / "a.html"
    mine = [".a.html.partial", ".a.html.0123456789.partial", ".b.html.01234567.partial", "a.html"]
    abandoned, recent = ".a.html.01234567.partial", ".a.html.89abcdef.partial"
    for name in (*mine, abandoned, recent):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (0, 0))
    os.utime(tmp_path / recent)
    atomic.remove_abandoned(path)
    assert {file.name for file in tmp_path.iterdir()} == {*mine, recent}
    atomic.remove_abandoned(tmp_path / "nowhere" / "a.html")


def test_a_link_is_replaced_and_not_written_through(tmp_path):
    (tmp_path / "outside").write_bytes(b"outside")
    (tmp_path / "file").symlink_to(tmp_path / "outside")
    with atomic.written(tmp_path / "file") as file:
        file.write(b"new")
    assert (tmp_path / "outside").read_bytes() == b"outside"
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_file_that_is_replaced_keeps_mode_owner_and_attributes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.setxattr(path, "user.mood", b"blue")
    owner = (2001, 3000) if os.geteuid() == 0 else (os.getuid(), os.getgid())
    os.chown(path, *owner)
    os.chmod(path, 0o660)
    with atomic.written(path) as file:
        file.write(b"new")
    after = path.stat()
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (*owner, 0o660)
    assert os.getxattr(path, "user.mood") == b"blue"
    assert path.read_bytes() == b"new"


def test_a_file_is_replaced_where_nothing_can_be_carried_over(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    path = tmp_path / "file"
    path.write_bytes(b"old")
    for call in ("chmod", "chown", "setxattr", "getxattr", "listxattr", "removexattr"):
        monkeypatch.setattr(os, call, refused)
    with atomic.written(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_only_what_has_an_end_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(OSError, match="it is not a file"):
            atomic.read(tmp_path / path, 10)
    (tmp_path / "file").write_bytes(bytes(11))
    with pytest.raises(OSError, match="it is too large"):
        atomic.read(tmp_path / "file", 10)
    assert atomic.read(tmp_path / "file", 11) == bytes(11)


def test_a_seal_shows_every_change(tmp_path):
    content = atomic.sealed(b"content", "name")
    assert atomic.unsealed(content, "name") == b"content"
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        with pytest.raises(ValueError, match="its checksum is wrong"):
            atomic.unsealed(bytes(changed), "name")
    for other in (content[:-1], content[1:], content + b"\0", b"", b"content"):
        with pytest.raises(ValueError, match="its checksum is wrong"):
            atomic.unsealed(other, "name")
    with pytest.raises(ValueError, match="its checksum is wrong"):
        atomic.unsealed(content, "another name")
