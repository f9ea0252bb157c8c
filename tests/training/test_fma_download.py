"""Fetching and unpacking, from a server on this machine."""

import hashlib
import http.server
import io
import re
import sys
import threading
import zipfile

import miniature_fma
import pytest

from training.datasets import fma, fma_download
from training.datasets.fma_download import CHUNK_BYTES, DownloadError, fetch, unpack


class Server(http.server.ThreadingHTTPServer):
    """Serves bytes by name, and knows whether a file may be requested from the middle.

    Attributes
    ----------
    files : dict of str to bytes
    breaks : list of int
        After how many bytes the next answers break off; what comes after them is sent whole.
    ranges : bool
        Whether it can send the rest of a file.
    requested : list of (str, str or None)
        Paths and their ranges.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.breaks, self.ranges, self.requested = {}, [], True, []

    @property
    def base(self):
        return f"http://127.0.0.1:{self.server_address[1]}/fma/"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        wanted = self.headers["Range"]
        self.server.requested.append((self.path, wanted))
        body = self.server.files.get(self.path.removeprefix("/fma/"))
        if body is None:
            self.send_error(404)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
        if wanted and self.server.ranges:
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            body = body[start:]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.breaks.pop(0)] if self.server.breaks else body)
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def packed(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


NOISE = bytes(range(256)) * 1_000
ARCHIVE = packed({"fma_tiny/README.txt": "tiny", "fma_tiny/000/000002.mp3": NOISE})
SHA1 = hashlib.sha1(ARCHIVE).hexdigest()
NAME = "fma_tiny.zip"


def test_an_archive_is_fetched_once(server, tmp_path):
    server.files[NAME] = ARCHIVE
    folder = tmp_path / "new" / "folder"
    archive = fetch(NAME, folder, SHA1, server.base)
    assert archive.read_bytes() == ARCHIVE
    assert [*folder.iterdir()] == [archive]
    assert fetch(NAME, folder, SHA1, server.base) == archive
    assert server.requested == [(f"/fma/{NAME}", None)]


def test_a_broken_connection_is_taken_up_again(server, tmp_path):
    server.files[NAME] = ARCHIVE
    server.breaks = [100_000, 70_000]
    assert fetch(NAME, tmp_path, SHA1, server.base).read_bytes() == ARCHIVE
    assert [wanted for _, wanted in server.requested] == [
        None,
        f"bytes={CHUNK_BYTES}-",
        f"bytes={2 * CHUNK_BYTES}-",
    ]


def test_what_has_come_is_kept_and_the_next_run_goes_on(server, tmp_path):
    server.files[NAME] = ARCHIVE
    server.breaks = [100_000, 0]
    with pytest.raises(DownloadError) as caught:
        fetch(NAME, tmp_path, SHA1, server.base)
    message = str(caught.value)
    assert message.startswith(f"{NAME} could not be fetched from {server.base} (")
    assert "what has come is kept: run the command again to go on" in message
    assert (tmp_path / f"{NAME}.partial").read_bytes() == ARCHIVE[:CHUNK_BYTES]
    assert fetch(NAME, tmp_path, SHA1, server.base).read_bytes() == ARCHIVE
    assert server.requested[-1][1] == f"bytes={CHUNK_BYTES}-"
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_stopped_between_the_last_byte_and_the_end(server, tmp_path):
    server.files[NAME] = ARCHIVE
    (tmp_path / f"{NAME}.partial").write_bytes(ARCHIVE)
    assert fetch(NAME, tmp_path, SHA1, server.base).read_bytes() == ARCHIVE
    assert len(server.requested) == 1


def test_a_server_that_cannot_resume_sends_all_of_it(server, tmp_path):
    server.files[NAME], server.ranges = ARCHIVE, False
    (tmp_path / f"{NAME}.partial").write_bytes(b"x" * 1_000)
    assert fetch(NAME, tmp_path, SHA1, server.base).read_bytes() == ARCHIVE
    (tmp_path / NAME).unlink()
    server.breaks = [100_000, 100_000]
    with pytest.raises(DownloadError, match="could not be fetched"):
        fetch(NAME, tmp_path, SHA1, server.base)


@pytest.mark.parametrize(
    ("there", "requested"),
    [
        (ARCHIVE[:1_000], ["bytes=1000-"]),  # truncated
        (b"x" * 1_000, ["bytes=1000-", None]),  # another file
        (ARCHIVE + b"x", [f"bytes={len(ARCHIVE) + 1}-", None]),  # too long
    ],
)
@pytest.mark.parametrize("suffix", ["", ".partial"])
def test_an_archive_is_completed_or_replaced(server, tmp_path, there, requested, suffix):
    server.files[NAME] = ARCHIVE
    (tmp_path / f"{NAME}{suffix}").write_bytes(there)
    assert fetch(NAME, tmp_path, SHA1, server.base).read_bytes() == ARCHIVE
    assert [wanted for _, wanted in server.requested] == requested


@pytest.mark.parametrize("served", [ARCHIVE[:50_000], packed({"fma_tiny/a": "other"})])
def test_a_truncated_or_wrong_archive_is_refused(server, tmp_path, served):
    server.files[NAME] = served
    with pytest.raises(DownloadError) as caught:
        fetch(NAME, tmp_path, SHA1, server.base)
    assert str(caught.value) == (
        f"{NAME} as it came from {server.base} is truncated or another file (its SHA-1 is not"
        f" {SHA1}) and was deleted; try again later, or another address with --base"
    )
    assert not [*tmp_path.iterdir()]


def test_no_such_file_and_no_such_server(server, tmp_path):
    with pytest.raises(DownloadError, match="404"):
        fetch(NAME, tmp_path, SHA1, server.base)
    base = server.base
    server.server_close()
    with pytest.raises(DownloadError, match=r"could not be fetched from http://127"):
        fetch(NAME, tmp_path, SHA1, base)


def test_no_room(server, tmp_path, monkeypatch):
    server.files[NAME] = ARCHIVE
    monkeypatch.setattr(fma_download.shutil, "disk_usage", lambda _: type("", (), {"free": 1_000}))
    with pytest.raises(DownloadError, match=r"has 0.0 GiB free, but 0.0 are needed; make room"):
        fetch(NAME, tmp_path, SHA1, server.base)
    (tmp_path / NAME).write_bytes(ARCHIVE)
    with pytest.raises(DownloadError, match="make room"):
        unpack(tmp_path / NAME, tmp_path)


def test_no_folder_to_store_it_in(server, tmp_path):
    server.files[NAME] = ARCHIVE
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=r"fma_tiny.zip could not be stored \(.*with --to$"):
        fetch(NAME, tmp_path / "file", SHA1, server.base)
    archive = tmp_path / NAME
    archive.write_bytes(ARCHIVE)
    (tmp_path / "fma_tiny" / "README.txt").mkdir(parents=True)
    with pytest.raises(DownloadError, match=r"fma_tiny.zip could not be unpacked \(.*again$"):
        unpack(archive, tmp_path)


def test_unpacking_goes_on(tmp_path, monkeypatch):
    archive = tmp_path / NAME
    archive.write_bytes(ARCHIVE)
    readme, clip = tmp_path / "fma_tiny/README.txt", tmp_path / "fma_tiny/000/000002.mp3"
    copy = fma_download.shutil.copyfileobj

    def stop(source, file, _):
        file.write(source.read(3))
        raise KeyboardInterrupt

    monkeypatch.setattr(fma_download.shutil, "copyfileobj", stop)
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, tmp_path)
    assert not readme.exists()
    monkeypatch.setattr(fma_download.shutil, "copyfileobj", copy)
    assert unpack(archive, tmp_path) == tmp_path / "fma_tiny"
    assert (readme.read_bytes(), clip.read_bytes()) == (b"tiny", NOISE)
    assert not [*tmp_path.rglob("*.partial")]
    before = readme.stat().st_mtime_ns
    clip.write_bytes(NOISE[:10])
    unpack(archive, tmp_path)
    assert clip.read_bytes() == NOISE
    assert readme.stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["../evil", "/evil", "fma_tiny/../evil", "other/evil", "fma_tiny"])
def test_no_path_escapes(tmp_path, name):
    archive = tmp_path / "in" / NAME
    archive.parent.mkdir()
    archive.write_bytes(packed({"fma_tiny/good": "good", name: "evil"}))
    with pytest.raises(DownloadError, match=r"would write outside of .*: nothing was unpacked"):
        unpack(archive, archive.parent)
    assert [path.name for path in tmp_path.rglob("*")] == ["in", NAME]


def test_a_link_in_the_folder_leads_nowhere(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in" / "fma_tiny").mkdir(parents=True)
    (tmp_path / "in" / "fma_tiny" / "000").symlink_to(tmp_path / "elsewhere")
    archive = tmp_path / NAME
    archive.write_bytes(ARCHIVE)
    with pytest.raises(DownloadError, match="would write outside"):
        unpack(archive, tmp_path / "in")


@pytest.mark.parametrize("damage", [ARCHIVE[:-30], ARCHIVE[:500] + b"x" + ARCHIVE[501:], b""])
def test_a_damaged_archive(tmp_path, damage):
    archive = tmp_path / NAME
    archive.write_bytes(damage)
    with pytest.raises(DownloadError, match=r"fma_tiny.zip is truncated or damaged \(.*anew$"):
        unpack(archive, tmp_path)
    assert not (tmp_path / "fma_tiny/000/000002.mp3").exists()


def test_from_the_command_to_a_collection(server, tmp_path, monkeypatch, capsys):
    counts = {"train": 2, "valid": 2, "test": 2}
    miniature = miniature_fma.make(tmp_path, ("Folk", "Rock"), counts, odd=False)
    server.files = {path.name: path.read_bytes() for path in (miniature.metadata, miniature.medium)}
    for what in ("metadata", "medium"):
        sha1 = hashlib.sha1(server.files[f"fma_{what}.zip"]).hexdigest()
        monkeypatch.setitem(fma_download.SHA1, what, sha1)
    root = tmp_path / "fma"
    command = ["download", "medium", "--to", str(root), "--base", server.base]
    monkeypatch.setattr(sys, "argv", command)
    server.files["fma_medium.zip"], whole = b"", server.files["fma_medium.zip"]
    with pytest.raises(SystemExit, match=r"fma_medium.zip as it came .* is truncated"):
        fma_download.main()
    server.files["fma_medium.zip"] = whole
    fma_download.main()
    assert f"{root}/fma_medium is complete" in capsys.readouterr().out
    assert [track.track_id for track in fma.read(root).tracks] == miniature.track_ids


def test_the_published_checksums():
    assert fma_download.BASE_URL == "https://os.unil.cloud.switch.ch/fma/"
    assert {what: len(sha1) for what, sha1 in fma_download.SHA1.items()} == dict.fromkeys(
        ("metadata", *fma.SUBSETS), 40
    )
