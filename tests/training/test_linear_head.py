"""The linear head beside the transfer MLP: fitted, saved in a model, and fine-tuned."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from starting_model import metadata_of

from agf_core.bundle import format as bundle_format
from agf_core.features.spectrogram import InputSpec
from agf_core.finetune.heads import network_with_heads
from agf_core.inference.tagger import GenreTagger
from agf_core.train.dataset import FeatureDataset, SegmentDataset
from agf_core.train.export import network_from_bundle, network_to_onnx, weights_to_safetensors
from agf_core.train.loop import predict
from agf_core.train.networks import GenreNet, MultiTaskNet, TransferMLP
from training.pretrained.linear_head import UNKNOWN, LinearHead, add_linear_head, track_means
from training.pretrained.soft_labels import fit_on_teachers
from training.pretrained.wccn import whitening, within_artists
from training.teachers.features import TEACHERS

SPEC = InputSpec(n_mels=32, segment_frames=32, window_hop=16)
LABELS = ("Rock", "Jazz", "Polka")


def whole(direct: bool = True) -> GenreNet:
    torch.manual_seed(0)
    network = MultiTaskNet({"g": 3}, width=0.25)
    return GenreNet([network], TransferMLP(network.n_features, 3, direct=direct)).eval()


def test_a_head_has_the_logits_of_a_regression_over_tracks():
    rng = np.random.default_rng(0)
    rows = rng.normal(np.arange(40)[:, None] % 2, 1, (40, 5))
    genres = [2 * (i % 2) for i in range(40)]  # of three, one has no track
    head = LinearHead.fit(rows, genres, 3, 0.5)
    scaler = StandardScaler().fit(rows)
    regression = LogisticRegression(C=0.5).fit(scaler.transform(rows), genres)
    logits = head.logits(rows)
    # Of two genres scikit-learn gives one logit: how much more the second has than the first.
    expected = regression.decision_function(scaler.transform(rows))
    np.testing.assert_allclose(logits[:, 2] - logits[:, 0], expected, atol=1e-6)
    np.testing.assert_allclose(logits[:, 1], UNKNOWN, atol=1e-6)


def by_artists(n_artists=40, each=4):
    """Features: the first depends on the genre, the second differs between an artist's tracks."""
    rng = np.random.default_rng(0)
    artists = np.repeat([f"artist {i}" for i in range(n_artists)], each)
    genres = np.repeat(np.arange(n_artists) % 4 == 0, each).astype(int)  # three to one
    rows = rng.normal(0, [0.5, 3.0, 1.0], (len(genres), 3))
    rows[:, 0] += genres
    rows[:, 2] += 2 * np.repeat(rng.normal(size=n_artists), each)
    return rows, genres, artists


def test_the_spread_within_artists_leaves_out_what_differs_between_them():
    rows, _, artists = by_artists()
    spread = within_artists(rows, artists)
    assert np.sqrt(np.diag(spread)[1:]) == pytest.approx([3, 1], rel=0.2)
    assert rows[:, 2].std() > 1.8
    moved = rows + np.unique(artists, return_inverse=True)[1][:, None]
    np.testing.assert_allclose(within_artists(moved, artists), spread, atol=1e-9)
    alone = within_artists(rows, [str(i) for i in range(len(rows))])
    np.testing.assert_allclose(alone, np.cov(rows, rowvar=False, ddof=0))


def test_whitened_features_spread_alike_in_every_direction():
    rows, _, artists = by_artists()
    spread = within_artists(rows, artists)
    whole = within_artists(rows @ whitening(spread, 1.0), artists)
    np.testing.assert_allclose(whole, np.eye(3), atol=1e-9)
    none = whitening(spread, 0.0)
    np.testing.assert_allclose(none, none[0, 0] * np.eye(3), atol=1e-9)
    half = np.linalg.eigvalsh(within_artists(rows @ whitening(spread, 0.5), artists))
    assert 1 < half[-1] / half[0] < np.divide(*np.linalg.eigvalsh(spread)[[-1, 0]])
    assert np.isfinite(whitening(np.zeros((2, 2)), 0.5)).all()


def test_a_head_fitted_on_whitened_features_is_applied_to_plain_ones():
    rows, genres, artists = by_artists()
    spread = within_artists(rows, artists)
    head = LinearHead.fit(rows, genres, 2, 0.01, wccn=0.5, spread=spread)
    plain = LinearHead.fit(rows, genres, 2, 0.01)
    scaler = StandardScaler().fit(rows)
    scaled = scaler.transform(rows)
    changed = whitening(spread / np.outer(scaler.scale_, scaler.scale_), 0.5)
    changed /= (scaled @ changed).std()
    regression = LogisticRegression(C=0.01, max_iter=1_000).fit(scaled @ changed, genres)
    logits = head.logits(rows)
    expected = regression.decision_function(scaled @ changed)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], expected, atol=1e-6)
    # A feature in which an artist's own tracks differ gets less weight.
    assert abs(head.weights[1, 1] / head.weights[1, 0]) < abs(
        plain.weights[1, 1] / plain.weights[1, 0]
    )


def test_a_rare_genre_is_predicted_more_often_with_class_balance():
    rows, genres, _ = by_artists()
    found = [
        (
            LinearHead.fit(rows, genres, 2, 0.1, class_balance=b).logits(rows).argmax(axis=1) == 1
        ).sum()
        for b in (0.0, 0.5, 1.0)
    ]
    assert found[0] < found[1] < found[2]


def test_teachers_have_the_same_weight():
    rng = np.random.default_rng(0)
    genres = [i % 3 for i in range(30)]
    parts = [rng.normal(np.array(genres)[:, None], 2, (30, one.n_features)) for one in TEACHERS]
    alone = [
        LinearHead.fit(part, genres, 3, one.regularisation).logits(part)
        for part, one in zip(parts, TEACHERS, strict=True)
    ]
    rows = np.concatenate(parts, axis=1)
    together = fit_on_teachers(rows, genres, 3).logits(rows)
    np.testing.assert_allclose(together, np.mean(alone, axis=0), atol=1e-9)
    spread = within_artists(rows, [str(i // 2) for i in range(30)])
    white = fit_on_teachers(rows, genres, 3, wccn=0.5, spread=spread).logits(rows)
    first, n = TEACHERS[0], TEACHERS[0].n_features
    alone[0] = LinearHead.fit(
        parts[0], genres, 3, first.regularisation, wccn=0.5, spread=spread[:n, :n]
    ).logits(parts[0])
    alone[1] = LinearHead.fit(
        parts[1], genres, 3, TEACHERS[1].regularisation, wccn=0.5, spread=spread[n:, n:]
    ).logits(parts[1])
    np.testing.assert_allclose(white, np.mean(alone, axis=0), atol=1e-9)


def test_an_mlp_and_its_head_are_weighted_by_their_shares():
    rng = np.random.default_rng(0)
    head = LinearHead(rng.normal(size=(3, 5)), rng.normal(size=3))
    torch.manual_seed(0)
    mlp = TransferMLP(5, 3).eval()
    x = torch.randn(4, 5)
    with torch.no_grad():
        own = mlp(x)
        together = add_linear_head(mlp, head, 0.3)(x)
        torch.testing.assert_close(mlp(x), own)  # as it was
    np.testing.assert_allclose(
        together.numpy(), 0.7 * own.numpy() + 0.3 * head.logits(x.numpy()), atol=1e-5
    )


def test_a_track_is_the_mean_of_its_windows():
    rows = [np.full((n, 2), n, np.float32) for n in (1, 3)] + [np.eye(2, dtype=np.float32)]
    np.testing.assert_allclose(track_means(FeatureDataset(rows)), [[1, 1], [3, 3], [0.5, 0.5]])


def test_a_model_keeps_the_head(tmp_path):
    network = whole()
    metadata = metadata_of(network, SPEC, LABELS)
    files = {
        bundle_format.NETWORK: network_to_onnx(network, SPEC),
        bundle_format.WEIGHTS: weights_to_safetensors(network, {}),
        bundle_format.CARD: b"# card\n",
    }
    kept = bundle_format.save(tmp_path / "model", metadata, files)
    x = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(network_from_bundle(kept)(x), network(x), atol=2e-3, rtol=2e-3)

    # A track of several windows is the softmax of their mean logits, for training and prediction.
    rng = np.random.default_rng(0)
    spectrogram = rng.normal(-40, 20, (90, 32)).astype(np.float32)
    predicted = GenreTagger(kept).predict_log_mel(spectrogram).probabilities
    segments = SegmentDataset([spectrogram], SPEC, metadata.mean, metadata.std)
    with torch.no_grad():
        features = FeatureDataset([network.features(segments.windows(0)).numpy()])
        expected = network(segments.windows(0)).mean(dim=0).softmax(dim=0).numpy()
    np.testing.assert_allclose(predicted, expected, atol=1e-3)
    np.testing.assert_allclose(predict(network.mlp, features, [0])[0], expected, atol=1e-5)


@pytest.mark.parametrize("direct", [True, False])
def test_a_fine_tuned_model_keeps_the_head_if_there_is_one(direct):
    before = whole(direct)
    after = network_with_heads(before, LABELS, ("Jazz", "Bebop", "rock"), {"m": 4}).eval()
    assert (after.mlp.direct is not None) == direct
    x = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(after(x)[:, [0, 2]], before(x)[:, [1, 0]])
