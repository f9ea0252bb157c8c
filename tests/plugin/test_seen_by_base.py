"""Artists that the base model was trained on do not count when it is compared with a new one."""

from types import SimpleNamespace

import numpy as np
import pytest

from agf_core.bundle.seen_artists import ARTIST_HASHES, hash_artists
from agf_core.data.tracks import Track
from agf_core.finetune.held_out import HeldOut
from beetsplug.agfgenre.train.report import compare_with_previous, report_lines, training_report

N = 40  # tracks, each by an artist of its own; the base model was trained on the first half


def tuner(trained_on: dict) -> SimpleNamespace:
    tracks = [Track(f"t{i}", None, f"artist {i}", "ab"[i % 2]) for i in range(N)]
    metadata = SimpleNamespace(name="base", trained_on=trained_on)
    return SimpleNamespace(
        model=SimpleNamespace(metadata=metadata, model_id="base-1"),
        data=SimpleNamespace(tracks=tracks, genres=("a", "b")),
        config=SimpleNamespace(networks=None),
    )


def held_out() -> HeldOut:
    """The base is right about all it has seen and nothing else; the new one about 70 % of all."""
    truth = np.arange(N) % 2
    right = np.eye(2)[truth]
    base = np.where((np.arange(N) < N // 2)[:, None], right, 1 - right)
    fine_tuned = np.where((np.arange(N) % 10 < 7)[:, None], right, 1 - right)
    return HeldOut(np.arange(N), truth, fine_tuned, fine_tuned, base, right, epochs=(1, 1))


def compared(trained_on: dict):
    store = SimpleNamespace(active="shipped")
    one = tuner(trained_on)
    comparisons = compare_with_previous(one, held_out(), store, "", None)
    report = training_report(one, held_out(), comparisons, [])
    return comparisons["base"], report, report_lines(report)


def test_a_better_model_is_not_refused_because_the_base_knew_the_artists():
    unfair, report, lines = compared({})
    assert (unfair.tracks, report["seen_by_base"]) == (N, {"tracks": 0, "artists": 0})
    assert "trained on" not in lines[-1]
    hashes = hash_artists(f"Artist {i}" for i in range(N // 2))
    fair, report, lines = compared({ARTIST_HASHES: hashes})
    assert (fair.tracks, fair.better) == (N // 2, True)
    of_these = "on 20 tracks that base predicted without being trained on their artists"
    (line,) = [line for line in lines if line.startswith("this model against base")]
    assert "accuracy +70.0 points [" in line
    assert of_these in line
    assert fair.difference.value == pytest.approx(0.7)
    assert unfair.difference.value == pytest.approx(0.2)
    assert report["seen_by_base"] == {"tracks": N // 2, "artists": N // 2}
    assert lines[-1].startswith("base was trained on 20 artists (20 tracks), which the comparison")


def test_where_the_base_knows_everybody_it_is_compared_all_the_same():
    fair, _, lines = compared({ARTIST_HASHES: hash_artists(f"artist {i}" for i in range(N))})
    assert fair.tracks == N
    assert lines[-1].startswith("base was trained on all 40 artists (40 tracks), which favours it")
