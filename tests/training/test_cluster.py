"""Workers that run elsewhere, and what may go wrong on them."""

import errno
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from distributed import Client, LocalCluster

from agf_core.audio import container
from agf_core.errors import SilentAudioError
from agf_core.features.cache import FeatureCache
from agf_core.utils import atomic
from training import features
from training.datasets.collection import read_csv
from training.manifest import versions
from training.paper import cluster, groups, prepare, progress

CLONE = Path(prepare.__file__).parents[2]
DASK = Path(sys.executable).with_name("dask")


@pytest.fixture
def table(tmp_path, write_wav):
    """Six short clips by three artists."""
    rng = np.random.default_rng(0)
    rows = ["path,artist,album,genre,genres,split"]
    for i in range(6):
        write_wav(f"{i}.wav", 0.1 * rng.normal(size=88_200))
        rows.append(f"{i}.wav,artist {i // 2},,Doom,Doom; Metal,{'train' if i < 4 else 'test'}")
    (tmp_path / "mine.csv").write_text("\n".join(rows))
    return tmp_path / "mine.csv"


@contextmanager
def started(*command, cwd):
    """Start a process as from a terminal in a folder, without the paths of these tests."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    with subprocess.Popen(
        [*map(str, command)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_workers_started_anywhere_find_the_code(table, tmp_path):
    """Started as the documentation says; the second worker begins when the command has begun."""
    file = tmp_path / "scheduler.json"
    away = tmp_path / "away"
    away.mkdir()
    scheduler = (DASK, "scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", file)
    with started(*scheduler, cwd=away):
        until(file.exists)
        address = json.loads(file.read_text())["address"]
        worker = (DASK, "worker", address, "--nthreads", 1, "--no-dashboard")
        work = os.path.relpath(tmp_path / "work", CLONE)
        common = ["--work", work, "--scheduler", address]
        with started(*worker, cwd=CLONE), started(*worker, cwd=away):
            mine = os.path.relpath(table, CLONE)
            command("prepare", "--table", mine, "--sources", "", *common)
            command("groups", "--splits", "given", "--sources", "s", *common)
        with cluster.connect(address, 1) as client:
            later = client.submit(versions, torch.device("cpu"), pure=False)
            with started(*worker, cwd=away):
                assert later.result(timeout=120)["device"] == "cpu"
    assert len(read_csv(tmp_path / "work" / "tracks.csv").tracks) == 6
    made = list((tmp_path / "work").glob("groups-*/given/seed-0/s.npz"))
    assert len(made) == 1


def until(condition):
    """Wait for something that another process does."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def command(name, *arguments):
    """Run a command in the clone, as from a terminal."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-m", f"training.paper.{name}", *map(str, arguments)],
        cwd=CLONE,
        env=environment,
        check=True,
        timeout=900,
    )


@pytest.fixture
def here(monkeypatch):
    """Let jobs run in this process, where their surroundings can be spoilt."""

    @contextmanager
    def connect(scheduler, workers):
        with Client(
            processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None
        ) as client:
            yield client

    monkeypatch.setattr(cluster, "connect", connect)


def run_prepare(table, work, monkeypatch):
    """Run the command, which ends with a line; return it."""
    arguments = ["prepare", "--table", table, "--work", work, "--sources", ""]
    monkeypatch.setattr(sys, "argv", [*map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        prepare.main()
    message = str(ended.value)
    assert "\n" not in message
    assert not (work / "tracks.csv").exists()
    assert not (work / "prepared.json").exists()
    return message


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ModuleNotFoundError("No module named 'training'"), "ModuleNotFoundError No module named"),
        (MemoryError("no memory"), "MemoryError no memory; what is finished is kept"),
        (ValueError("two\nlines"), "ValueError two lines"),
        (OSError(errno.EIO, "Input/output error", "x.wav"), "x.wav: Input/output error; mend that"),
        (OSError(errno.ENOSPC, "No space left on device"), "(the disk is full); make room there"),
    ],
)
def test_what_is_not_the_sounds_fault_leaves_no_track_out(
    table, tmp_path, here, monkeypatch, error, line
):
    real = features.spectrogram

    def failing(track, spec, cache):
        if track.track_id == "3.wav":
            raise error
        return real(track, spec, cache)

    monkeypatch.setattr(features, "spectrogram", failing)
    message = run_prepare(table, tmp_path / "work", monkeypatch)
    assert message.startswith("track 3.wav (")
    assert line in message


class FailingDisk(container._File):
    """A file on a disk that fails while it is read."""

    def read(self, size=-1):
        self.failure = OSError(errno.EIO, "Input/output error")
        return b""


class Forbidden(container._File):
    """A file that may not be opened."""

    def __init__(self, path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))


class TooLarge(container._File):
    """A file that there is no memory for."""

    def read(self, size=-1):
        raise MemoryError


@pytest.mark.parametrize(
    ("file", "line"),
    [
        (None, "3.wav does not exist. What is finished is kept"),
        (FailingDisk, "cannot be read (Input/output error); check the disk"),
        (Forbidden, "may not be read by you. What is finished is kept"),
        (TooLarge, "Memory ran out while a file was read. What is finished is kept"),
    ],
)
def test_a_file_that_cannot_be_reached_leaves_no_track_out(
    table, tmp_path, here, monkeypatch, file, line
):
    """Shares of a network come and go: what is not there now need not be damaged."""
    real = features.spectrogram

    def failing(track, spec, cache):
        with monkeypatch.context() as patch:
            if track.track_id == "3.wav" and file:
                patch.setattr(container, "_File", file)
            elif track.track_id == "3.wav":
                track.path.unlink()
            return real(track, spec, cache)

    monkeypatch.setattr(features, "spectrogram", failing)
    assert line in run_prepare(table, tmp_path / "work", monkeypatch)


def test_a_track_without_sound_is_left_out(table, tmp_path, here, monkeypatch, capsys):
    (tmp_path / "3.wav").write_bytes(b"no sound")
    made = prepare.prepare(table, tmp_path / "work", groups.InputSpec(), sources="")
    assert [track.track_id for track in made.collection.tracks] == [
        f"{i}.wav" for i in (0, 1, 2, 4, 5)
    ]
    assert "left out: " in capsys.readouterr().out


@pytest.mark.parametrize("which", [".npy", "tracks.csv", "prepared.json", ".json"])
def test_a_full_disk_is_one_line(table, tmp_path, here, monkeypatch, which):
    """Whatever is being written: features, all spectrograms in one file, tables."""
    real = atomic.replace

    def full(source, target):
        if str(target).endswith(which) and "work" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr(atomic, "replace", full)
    arguments = ["prepare", "--table", table, "--work", tmp_path / "work", "--sources", ""]
    monkeypatch.setattr(sys, "argv", [*map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        prepare.main()
    message = str(ended.value)
    assert "\n" not in message
    assert "make room there" in message
    assert which in message
    monkeypatch.setattr(atomic, "replace", real)
    prepare.main()  # goes on
    assert len(read_csv(tmp_path / "work" / "tracks.csv").tracks) == 6
    assert not list(tmp_path.rglob("*.partial"))


def test_what_killed_four_workers_is_named():
    from distributed import KilledWorker

    with suppress(TypeError):  # its arguments differ between versions
        error = KilledWorker("make", None, 4)
        assert cluster.reason(error, "track 7").startswith("track 7: four processes died of it")
    assert cluster.reason(SilentAudioError("x is silent."), "track 7") == "x is silent."


@pytest.mark.parametrize(
    ("visible", "n", "device"),
    [("", 4, "cuda:2"), ("0,1,2,3", 4, "cuda:2"), ("0,1", 2, "cuda:0"), ("3", 1, "cuda:0"),
     ("2,3,0,1", 4, "cuda:0"), ("8,9,10,11", 4, "cuda:2"), ("10,11,8,9", 4, "cuda:0"),
     ("0, 1, 2, 3", 4, "cuda:2")],
)  # fmt: skip
def test_workers_on_one_machine_share_its_gpus_out(monkeypatch, visible, n, device):
    """Whatever the workers are called; who was given a GPU of its own takes that."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n)
    monkeypatch.setattr(cluster, "place_here", lambda: 2)
    assert cluster.device_here() == device


def test_each_worker_has_a_place_of_its_own():
    """Two that have no numbers for names, as of `dask worker --nworkers 2`."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=":0"
        ) as local,
        Client(local) as client,
    ):
        addresses = sorted(client.nthreads())
        places = [
            client.submit(cluster.place_here, workers=[address], pure=False).result()
            for address in addresses
        ]
    assert places == [0, 1]


def test_workers_tell_the_bar_how_far_they_are():
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, memory_limit=0, dashboard_address=":0"
        ) as local,
        Client(local) as client,
        progress.Bar(client, {"network": 100.0, "mlp": 10.0}, n_cases=1) as bar,
    ):
        for share in (0.0, 0.25, 0.5):
            client.submit(progress.report, "network", share, pure=False).result()
        until(lambda: bar.bar.n == 50)
        client.submit(progress.report, "mlp", 0.1, pure=False).result()
        until(lambda: bar.bar.n == 51)


def test_a_restart_reads_no_feature_before_it_goes_on(table, tmp_path, here, monkeypatch):
    work = tmp_path / "work"
    prepare.prepare(table, work, groups.InputSpec(), sources="")
    kept = sorted(work.glob("features/logmel*/*.npy"))
    kept[0].unlink()
    kept[1].write_bytes(b"damaged")
    (work / "tracks.csv").unlink()
    for path in work.glob("spectrograms/*"):
        path.unlink()
    made, looked = [], []
    real = features.spectrogram

    def counted(track, spec, cache):
        made.append(track.track_id)
        return real(track, spec, cache)

    monkeypatch.setattr(features, "spectrogram", counted)
    monkeypatch.setattr(FeatureCache, "__contains__", lambda self, item: looked.append(item))
    again = prepare.prepare(table, work, groups.InputSpec(), sources="")
    assert made == ["0.wav"]
    assert not looked
    assert len(again.collection.tracks) == len(again.spectrograms) == 6
    for i, path in enumerate(sorted(work.glob("features/logmel*/*.npy"))):
        stored = FeatureCache(work / "features").stored(path.parent.name, f"{i}.wav")
        np.testing.assert_array_equal(again.spectrograms[i], stored)
