"""Distillation: losses, soft labels, augmentation, the learning rate."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from agf_core.features.spectrogram import InputSpec
from agf_core.train.config import TrainConfig
from agf_core.train.dataset import SegmentDataset, SpectrogramAugmentation
from training.pretrained.distillation import PIECES, DistilledNet, cut, train_distilled
from training.pretrained.soft_labels import predict_soft_labels
from training.teachers.features import STRETCH_SECONDS, TEACHERS, Scale

SPEC = InputSpec(n_mels=32, segment_frames=32, window_hop=16)


@pytest.mark.parametrize("teachers", [[5], [1, 4]])
def test_the_loss_is_that_of_each_task_and_leaves_out_unknown_targets(teachers):
    torch.manual_seed(0)
    model = DistilledNet({"g": 3, "s": 4, "t": 5}, width=0.25, teachers=teachers).eval()
    x = torch.randn(6, 1, 32, 32)
    genres = torch.eye(3)[[0, 1, 2, 0, 1, 2]]
    genres[4:] = 0  # two tracks without a genre
    groups, features = torch.softmax(torch.randn(6, 4), 1), torch.randn(6, 5)
    predicted = model(x, "gst")
    assert predicted.shape == (6, 12)
    loss = model.loss(x, torch.cat([genres, groups, features], 1), "gst")
    expected = (
        F.cross_entropy(predicted[:4, :3], genres[:4])
        + F.cross_entropy(predicted[:, 3:7], groups)
        + sum(
            F.mse_loss(*one)
            for one in zip(
                predicted[:, 7:].split(teachers, 1), features.split(teachers, 1), strict=True
            )
        )
    )
    torch.testing.assert_close(loss, expected)
    kept = model.network(x, "g")
    torch.testing.assert_close(predicted[:, :3], kept)


def test_the_target_of_a_piece_is_the_teachers_feature_there():
    frames = SPEC.sample_rate / SPEC.hop_length
    stretch = STRETCH_SECONDS * frames
    rows = [  # the value of a frame is its time, in stretches
        np.repeat(np.arange(n)[:, None] / stretch, 32, axis=1).astype(np.float32)
        for n in (round(7 * stretch), 40, round(30 * stretch))
    ]
    segments = SegmentDataset(rows, SPEC, np.zeros(32), np.ones(32))
    features = [np.arange(n)[:, None] + 0.5 for n in (7, 1, 30)]
    pieces, owners, targets = cut(segments, SPEC, features, [0, 1, 2])
    assert owners.tolist() == [0] * PIECES + [1] * PIECES + [2] * PIECES
    assert targets[:PIECES].min() == 0.5
    assert targets[:PIECES].max() == 6.5
    assert targets[-1] == 29.5
    starts = pieces.starts(torch.arange(len(owners)), torch.Generator().manual_seed(0))
    middle = pieces.at(starts)[:, 0, SPEC.segment_frames // 2, 0].numpy()
    off = np.abs(middle - targets[:, 0])[owners != 1] * STRETCH_SECONDS
    assert 0.1 < off.max() < 0.6  # seconds
    short = pieces.at(starts)[owners == 1, 0, :, 0]
    assert short.max() * stretch <= 40  # nothing of the neighbours


def test_a_network_starts_from_another_but_for_heads_of_genres_and_groups():
    torch.manual_seed(0)
    before = DistilledNet({"g": 1, "t": 5}, width=0.25)
    after = DistilledNet({"g": 3, "s": 4, "t": 5}, width=0.25)
    head = after.network.branch("g").head[1].weight.clone()
    after.go_on_from(before)
    for layer in ("trunk", "branches.g.transfer"):
        one, other = (net.network.get_submodule(layer).state_dict() for net in (before, after))
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(before.heads["t"].weight, after.heads["t"].weight)
    assert torch.equal(after.network.branch("g").head[1].weight, head)


def test_training_needs_no_genre_beside_the_teacher():
    rng = np.random.default_rng(0)
    loud = rng.integers(0, 2, 24)
    rows = [rng.normal(-40 + 20 * k, 1, (150, 32)).astype(np.float32) for k in loud]
    mean, std = np.full(32, -30, np.float32), np.full(32, 10, np.float32)
    features = [np.full((1, 3), k, np.float32) for k in loud]
    model = train_distilled(
        SegmentDataset(rows, SPEC, mean, std),
        SPEC,
        {"g": np.full((24, 1), np.nan)},
        features,
        Scale.fit(features),
        TrainConfig(epochs=4, batch_size=16, learning_rate=2e-3, one_cycle=True),
        train=np.arange(20),
        width=0.25,
    )
    segments = SegmentDataset(rows, SPEC, mean, std)
    with torch.no_grad():
        predicted = model(segments.windows(*range(20, 24)), "gt")[:, 1:]
    predicted = predicted.unflatten(0, (4, -1)).mean(dim=(1, 2))
    assert (predicted > 0).int().tolist() == loud[20:].tolist()


def teacher_rows(genres: np.ndarray) -> np.ndarray:
    """Return features of teachers that have each genre, and some noise, in the first columns."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(len(genres), 4)) + 4 * np.eye(4)[genres]
    parts = [np.pad(first, ((0, 0), (0, one.n_features - 4))) for one in TEACHERS]
    return np.concatenate(parts, axis=1)


def test_soft_labels_come_from_other_artists():
    genres = np.arange(60) % 3
    features = teacher_rows(genres)
    genres[50:] = -1  # unknown
    artists = [f"artist {i // 3}" for i in range(60)]
    genres[0] = 1  # a wrong label
    predicted = predict_soft_labels(features, genres, 5, artists)
    assert predicted.shape == (60, 5)
    np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-5)
    assert predicted[0].argmax() == 0
    assert (predicted.argmax(axis=1) == np.arange(60) % 3).mean() > 0.9
    assert (predicted[:, 3:] == 0).all()
    again = genres.copy()
    again[3:6] = [1, 2, 0]  # what an artist's own tracks are called
    np.testing.assert_allclose(
        predict_soft_labels(features, again, 5, artists)[3:6], predicted[3:6]
    )


def test_soft_labels_of_unlabelled_tracks_come_from_other_artists_too():
    genres = np.arange(60) % 3
    features = teacher_rows(genres)
    artists = [f"artist {i // 3}" for i in range(60)]
    genres[2::3] = -1  # such as copies of the two before
    predicted = predict_soft_labels(features, genres, 3, artists)
    again = genres.copy()
    again[:2] = [1, 0]  # what the first artist's other tracks are called
    changed = predict_soft_labels(features, again, 3, artists)
    np.testing.assert_allclose(changed[:3], predicted[:3])
    assert not np.allclose(changed[3:], predicted[3:])


def test_segments_are_augmented_only_in_training():
    rows = [np.full((40, 32), -30, np.float32), np.full((40, 32), -99, np.float32)]
    mean, std = np.zeros(32), np.ones(32)
    segments = SegmentDataset(
        rows, SPEC, mean, std, augmentation=SpectrogramAugmentation(loudness=4.0, equaliser=2.0)
    )
    plain = SegmentDataset(rows, SPEC, mean, std)
    starts = torch.tensor([0, 0, 40])
    assert torch.equal(segments.at(starts), plain.augmented(starts))
    torch.manual_seed(3)
    varied = segments.augmented(starts)
    torch.manual_seed(3)
    assert torch.equal(varied, segments.augmented(starts))
    gains = (varied[:2] + 30)[:, 0]
    assert torch.allclose(gains, gains[:, :1].expand_as(gains))  # the same in every frame
    assert not torch.allclose(gains[0], gains[1])
    assert 0 < gains.diff(dim=2).abs().max() < 3  # smooth from band to band
    assert varied.min() >= -100  # as quiet as a spectrogram gets
    torch.manual_seed(0)
    many = SpectrogramAugmentation(loudness=4.0).gains(4_000, 8)
    assert many.std() == pytest.approx(4.0, rel=0.05)


def test_one_cycle_rises_then_falls_to_nothing():
    schedule = TrainConfig(one_cycle=True)
    shares = [schedule.share(done) for done in np.linspace(0, 1, 101)]
    assert shares[0] < 0.1
    assert int(np.argmax(shares)) == 10
    assert max(shares) == pytest.approx(1, rel=0.01)
    assert (np.diff(shares[10:]) <= 0).all()
    assert shares[-1] == pytest.approx(0, abs=1e-9)
    assert TrainConfig().share(0.9) == 1


def test_the_teachers_features_are_scaled_by_the_training_tracks():
    features = np.random.default_rng(0).normal(5, 3, (20, 4)).astype(np.float32)
    features[:, 2] = 7  # constant
    features[19] = 1e6
    targets = Scale.fit(features[:10, None]).apply(features)
    np.testing.assert_allclose(targets[:10].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(targets[:10].std(axis=0)[[0, 1, 3]], 1, atol=1e-5)
    assert (targets[:10, 2] == 0).all()
    assert targets.max() == 4
