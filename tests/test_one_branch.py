"""What teaches one branch from several sources: losses, variations, the learning rate."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from agf_core.examples import Segments, Variation
from agf_core.learning import Schedule
from agf_core.spectrogram import InputSpec
from training.one_branch import OneBranchNet
from training.teacher import teacher_targets

SPEC = InputSpec(n_mels=32, segment_frames=32, window_hop=16)


def test_the_loss_is_that_of_each_source_and_passes_over_what_is_not_known():
    torch.manual_seed(0)
    model = OneBranchNet({"g": 3, "s": 4, "t": 5}, width=0.25).eval()
    x = torch.randn(6, 1, 32, 32)
    genres = torch.eye(3)[[0, 1, 2, 0, 1, 2]]
    genres[4:] = 0  # two tracks whose genre nobody knows
    groups, features = torch.softmax(torch.randn(6, 4), 1), torch.randn(6, 5)
    said = model(x, "gst")
    assert said.shape == (6, 12)
    loss = model.loss(x, torch.cat([genres, groups, features], 1), "gst")
    expected = (
        F.cross_entropy(said[:4, :3], genres[:4])
        + F.cross_entropy(said[:, 3:7], groups)
        + ((said[:, 7:] - features) ** 2).mean()
    )
    torch.testing.assert_close(loss, expected)
    kept = model.network(x, "g")
    torch.testing.assert_close(said[:, :3], kept)


def test_segments_are_varied_only_while_they_teach():
    rows = [np.full((40, 32), -30, np.float32), np.full((40, 32), -99, np.float32)]
    mean, std = np.zeros(32), np.ones(32)
    segments = Segments(rows, SPEC, mean, std, variation=Variation(loudness=4.0, equaliser=2.0))
    plain = Segments(rows, SPEC, mean, std)
    starts = torch.tensor([0, 0, 40])
    assert torch.equal(segments.at(starts), plain.varied(starts))
    torch.manual_seed(3)
    varied = segments.varied(starts)
    torch.manual_seed(3)
    assert torch.equal(varied, segments.varied(starts))
    gains = (varied[:2] + 30)[:, 0]
    assert torch.allclose(gains, gains[:, :1].expand_as(gains))  # the same in every frame
    assert not torch.allclose(gains[0], gains[1])
    assert 0 < gains.diff(dim=2).abs().max() < 3  # smooth from band to band
    assert varied.min() >= -100  # as quiet as a spectrogram gets
    torch.manual_seed(0)
    many = Variation(loudness=4.0).gains(4_000, 8)
    assert many.std() == pytest.approx(4.0, rel=0.05)


def test_one_cycle_rises_then_falls_to_nothing():
    schedule = Schedule(learning_rate=0.01, one_cycle=True)
    rates = [schedule.rate(done) for done in np.linspace(0, 1, 101)]
    assert rates[0] < 0.1 * max(rates)
    assert int(np.argmax(rates)) == 10
    assert max(rates) == pytest.approx(0.01, rel=0.01)
    assert (np.diff(rates[10:]) <= 0).all()
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert Schedule(learning_rate=0.01).rate(0.9) == 0.01


def test_the_teachers_features_are_scaled_by_the_training_tracks():
    features = np.random.default_rng(0).normal(5, 3, (20, 4)).astype(np.float32)
    features[:, 2] = 7  # says nothing
    features[19] = 1e6
    targets = teacher_targets(list(features), np.arange(10))
    np.testing.assert_allclose(targets[:10].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(targets[:10].std(axis=0)[[0, 1, 3]], 1, atol=1e-5)
    assert (targets[:10, 2] == 0).all()
    assert targets.max() == 4
