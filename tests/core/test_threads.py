"""No more threads and processes are started than help."""

import pytest

from agf_core.inference import tagger as tagger_module
from agf_core.inference.tagger import GenreTagger
from agf_core.utils import workers


@pytest.mark.parametrize(
    ("cores", "asked", "threads"),
    [(2, None, 2), (2, 3, 3), (2, 64, 4), (64, None, 32), (64, 64, 32), (1, 1, 1), (64, 8, 8)],
)
def test_threads_that_would_only_take_memory_are_not_started(
    tiny_folder, monkeypatch, cores, asked, threads
):
    monkeypatch.setattr(tagger_module, "available_cores", lambda: cores)
    assert GenreTagger.load(tiny_folder, threads=asked).threads == threads


@pytest.mark.parametrize(("asked", "processes"), [(64, 2), (None, 2), (1, 1)])
def test_there_are_no_more_processes_than_cores(monkeypatch, asked, processes):
    monkeypatch.setattr(workers, "available_cores", lambda: 2)
    assert workers.processes_for(asked, 1_000) == processes
    assert workers.processes_for(asked, 1) == 1
    assert workers.processes_for(asked, 0) == 1
