"""Runs are ordered by number: a board without a battery has its clock set back."""

from datetime import datetime

import pytest
from beets_helpers import ELECTRONIC, FakeTagger, open_library

from beetsplug.agfgenre.database import folder_beside
from beetsplug.agfgenre.tag import journal


@pytest.fixture
def library(monkeypatch):
    for library in open_library(monkeypatch, FakeTagger(), on_disk=True):
        library.track("a")
        yield library


def at(monkeypatch, year: int) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(year, 1, 1, tzinfo=tz)

    monkeypatch.setattr(journal, "datetime", Clock)


def test_undo_takes_the_run_that_was_last_and_not_the_latest_by_the_clock(library, monkeypatch):
    at(monkeypatch, 2026)
    library.beet("agfgenre", "-q")
    at(monkeypatch, 1970)
    library.tagger.model_id, library.tagger.sounds["a"] = "fake-2", ELECTRONIC
    library.beet("agfgenre", "-q", "-f")
    assert library.genres("a") == ["Electronic"]
    library.beet("agfgenre", "-q", "--undo")
    assert library.genres("a") == ["Rock"]
    library.beet("agfgenre", "-q", "--undo")
    assert library.genres("a") == []


def test_runs_of_older_releases_come_before_all_others(library, monkeypatch):
    library.beet("agfgenre", "-q")
    folder = folder_beside(library.lib)
    (path,) = folder.iterdir()
    path.rename(folder / "20991231T235959-000000-1.jsonl")
    library.tagger.model_id, library.tagger.sounds["a"] = "fake-2", ELECTRONIC
    library.beet("agfgenre", "-q", "-f")
    library.beet("agfgenre", "-q", "--undo")
    assert library.genres("a") == ["Rock"]


def test_the_oldest_runs_go_first_whatever_the_clock_says(library, monkeypatch):
    monkeypatch.setattr(journal, "RUNS_KEPT", 2)
    for year in (2026, 1970, 1980):
        at(monkeypatch, year)
        one = journal.Journal(library.lib)
        one.record(library.get("a"), [str(year)])
        one.close()
    kept = [change.new for _, changes in journal.journals(library.lib) for change in changes]
    assert kept == [["1980"], ["1970"]]
