"""The commands of tests/stress that back docs/development/reliability.md, with small numbers."""

import signal
import socket
import sys

import pytest
from beets_helpers import open_library

from tests.stress import (
    caches,
    damage,
    fixes,
    imports,
    kills,
    maps,
    models,
    store,
    training,
    world,
    writing,
)
from tests.stress.workplace import CLIPS, workplace


def test_a_run_that_is_killed_or_stopped():
    counts = kills.run(kills=2, interrupts=1, undos=3, tracks=11, folder=CLIPS)
    assert (counts["runs ended by SIGKILL"], counts["runs ended by SIGINT"]) == (2, 1)
    assert (counts["undos ended by SIGKILL"], counts["undos ended by SIGINT"]) == (2, 1)


def test_writing_that_is_killed():
    counts = writing.main_on("here", kills=4)
    assert counts["kills"] == counts["last file new"] + counts["last file old"] == 4


def test_what_is_to_be_interrupted_can_be_from_a_shell_in_the_background_too():
    asked = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    with workplace() as place:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            said, _ = place.start(under=(sys.executable, "-c", asked)).communicate()
        finally:
            signal.signal(signal.SIGINT, before)
    assert said == "True\n"


def test_training_that_is_killed_or_stopped():
    counts = training.run(kills=1, interrupts=1, whole=0)
    assert counts["finished by a second run"] == 1


def test_corrections_that_are_killed():
    counts = fixes.run(kills=2, tracks=24)
    assert counts["runs ended by SIGKILL"] == counts["finished by the next run"] == 2


def test_maps_that_are_killed():
    counts = maps.run(kills=2, tracks=24)
    assert counts["runs ended by SIGKILL"] == counts["finished by the next run"] == 2


def test_stored_features():
    counts = store.run(kills=2)
    assert counts["processes ended by SIGKILL"] == 2
    assert counts["tracks stored by them, all found"] >= 2 * store.BATCH
    assert counts["tracks stored by two at once, all found"] >= 2 * store.BATCH
    assert counts["read-only stores that are read all the same"] == 1


def test_damaged_caches():
    assert caches.run(files=48, seed=0).total() == 48


def test_damaged_files():
    verdict = damage.run(files=78, seed=1, seconds=60)
    assert verdict.outcomes.total() == 78
    assert verdict.ended == []


def test_damaged_models():
    counts, _ = models.run(models=16, seed=1)
    assert counts.total() == 16


def test_an_import_with_damaged_files():
    for counts in imports.run(files=22, damaged=5).values():
        assert counts["with genres"] >= 17


@pytest.mark.parametrize(
    "name",
    [
        *("music_that_is_not_mounted", "links", "id3v23", "odd_paths", "read_only_cache"),
        *("light_training_hostile_files", "fix_hostile_files", "fix_two_at_once"),
        "map_read_only_folder",
    ],
)
def test_the_world_around(name):
    with workplace(options=world.OPTIONS) as place:
        world.SITUATIONS[name](place)


def test_no_network_is_used(monkeypatch, clips):
    """Not by the worker process either: `sitecustomize` takes its sockets away, too."""
    from agf_core.inference import worker

    def refuse(*_, **__):
        raise AssertionError("somebody wants a network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    without = "import socket; del socket.socket, socket.getaddrinfo, socket.create_connection; "
    monkeypatch.setattr(worker, "WORKER_PROGRAM", without + worker.WORKER_PROGRAM)
    for library in open_library(monkeypatch, None):
        library.configure(min_confidence=0)
        item = library.add_item(title="a", path=clips[0], genres=[])
        library.beet("agfgenre", "-W")
        item.load()
        assert item.genres
        for command in (["agfsimilar", "title:a"], ["agfmodels"], ["agfgenre", "--undo", "-W"]):
            library.beet(*command)
