"""The bar over many trainings, and the curves of one."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agf_core.data.tracks import Track
from agf_core.train.config import TrainConfig
from agf_core.train.dataset import FeatureDataset, PackedRows
from agf_core.train.loop import train_transfer
from training.datasets.collection import Collection
from training.paper import progress, run, workload
from training.paper.cases import Case
from training.paper.prepare import Prepared
from training.paper.progress import Bar, Follower
from training.recipes import PAPER, SMALL

N_EPOCHS, BATCH, N_TRACKS = 6, 4, 12
CONFIG = TrainConfig(epochs=N_EPOCHS, batch_size=BATCH, validate_every=2)


@pytest.fixture
def reports(monkeypatch):
    """What a training reports, however soon one report follows another."""
    found = []
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_REPORTS", 0.0)
    monkeypatch.setattr(progress, "report", lambda key, share: found.append((key, share)))
    return found


def train(checkpoint, epochs=N_EPOCHS):
    """Train an MLP, followed."""
    rng = np.random.default_rng(0)
    features = FeatureDataset([rng.normal(size=(3, 4)).astype(np.float32)] * N_TRACKS)
    train_transfer(
        features,
        np.eye(3, dtype=np.float32)[np.arange(N_TRACKS) % 3],
        CONFIG,
        train=np.arange(N_TRACKS),
        checkpoint=checkpoint,
        progress=False,
        watch=Follower(checkpoint, "transfer", N_EPOCHS),
    )


def curve(folder):
    return [
        (e.step, e.value) for e in EventAccumulator(str(folder)).Reload().Scalars("transfer/loss")
    ]


def test_a_training_reports_every_step(reports, tmp_path):
    checkpoint = tmp_path / "mlp.safetensors"
    train(checkpoint)
    assert {key for key, _ in reports} == {str(checkpoint)}
    shares = [share for _, share in reports]
    assert shares == sorted(shares)
    steps = N_EPOCHS * N_TRACKS // BATCH
    assert sorted(set(shares)) == pytest.approx([step / steps for step in range(steps + 1)])
    assert [step for step, _ in curve(tmp_path / "mlp")] == [2, 4, 6]


def test_curves_are_there_as_soon_as_they_are_made(monkeypatch, tmp_path):
    checkpoint = tmp_path / "mlp.safetensors"

    def stopped(key, share):
        if share > 5 / 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(progress, "SECONDS_BETWEEN_REPORTS", 0.0)
    monkeypatch.setattr(progress, "report", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(checkpoint)
    before = curve(tmp_path / "mlp")
    assert [step for step, _ in before] == [2, 4]
    monkeypatch.setattr(progress, "report", lambda key, share: None)
    train(checkpoint)  # goes on: the curves are those of one training
    after = curve(tmp_path / "mlp")
    assert after[:2] == before
    assert [step for step, _ in after] == [2, 4, 6]
    train(checkpoint)  # is only read
    assert curve(tmp_path / "mlp") == after


@pytest.fixture
def client():
    """A client whose events a test makes."""
    client = SimpleNamespace(handlers={})
    client.subscribe_topic = client.handlers.__setitem__
    client.unsubscribe_topic = client.handlers.pop
    return client


def test_the_bar_moves_by_work_and_leaves_out_what_an_earlier_run_did(client):
    with Bar(client, {"a": 1_000.0, "b": 3_000.0, "mlp": 10.0}, n_cases=3) as bar:

        def event(key, share):
            client.handlers[progress.TOPIC]((0.0, {"key": key, "share": share, "worker": "tcp"}))

        assert (bar.bar.n, bar.bar.total) == (0, 4_010)
        event("a", 0.5)  # what the earlier run left
        assert (bar.bar.n, bar.bar.initial) == (500, 500)
        event("a", 0.6)
        event("b", 0.0)
        event("b", 0.1)
        assert (bar.bar.n, bar.bar.initial) == (900, 500)
        event("b", 0.05)  # another worker begins anew from the checkpoint
        assert bar.bar.n == 900
        event("unknown", 1.0)
        bar.ended({"a": 1_000.0, "mlp": 10.0}, 2)
        assert bar.bar.n == 1_310
        assert "2 of 3 cases" in bar.bar.postfix
        made = bar.bar.format_dict
        left = (made["total"] - made["n"]) / ((made["n"] - made["initial"]) / made["elapsed"])
        assert left == pytest.approx(2_700 / 810 * made["elapsed"])
    assert not client.handlers


def test_work_is_counted_by_multiplications():
    assert workload.steps(130, 64, epochs=10) == 30
    assert 0.005 < workload.mlp_share(256, PAPER) < 0.01
    # Half the width, half the mel bands, every second frame and a quarter of the batch.
    assert workload.mlp_share(256, SMALL) == pytest.approx(64 * workload.mlp_share(256, PAPER))


def test_tracks_without_a_genre_are_work_for_groups_alone(tmp_path):
    tracks = [Track(str(i), Path(f"{i}.wav"), f"a{i}", "AB"[i % 2] * (i < 20)) for i in range(60)]
    parts = tuple("train" if i < 18 or i >= 20 else "test" for i in range(60))
    counts = [SMALL.input.segment_frames] * 60  # one window each
    rows = PackedRows(torch.zeros(sum(counts), 64), counts)
    prepared = Prepared(tmp_path, Collection("c", tuple(tracks), {"x": parts}), rows, SMALL.input)
    setting = run.Setting(tmp_path, "small", SMALL, "x", 0)
    work = workload.work_of(setting, [Case("gs", shared=True)], prepared)
    network = next(work[key] for key in work if key.endswith("network-gs.safetensors"))
    assert network == 60 * (2 + 4)  # epochs times batches of 16 of 18 and of 58 tracks
