"""The direct path beside the transfer MLP: learnt, kept in a model, and gone on from."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from starting_model import metadata_of

from agf_core import bundle
from agf_core.examples import Features, Segments
from agf_core.export import network_from_bundle, network_to_onnx, weights_to_safetensors
from agf_core.learning import predict
from agf_core.network import GenreNet, MultiTaskNet, TransferMLP
from agf_core.new_heads import personal_network
from agf_core.spectrogram import InputSpec
from agf_core.tagger import GenreTagger
from training.direct import UNKNOWN, add_direct_path

SPEC = InputSpec(n_mels=32, segment_frames=32, window_hop=16)
LABELS = ("Rock", "Jazz", "Polka")


def whole(direct: bool = True) -> GenreNet:
    torch.manual_seed(0)
    network = MultiTaskNet({"g": 3}, width=0.25)
    return GenreNet([network], TransferMLP(network.n_features, 3, direct=direct)).eval()


def test_it_says_what_mlp_and_regression_over_tracks_say_half_each():
    rng = np.random.default_rng(0)
    rows = [rng.normal(i % 2, 1, (2 + i % 3, 5)).astype(np.float32) for i in range(40)]
    genres = [2 * (i % 2) for i in range(40)]  # of three, one has no track
    torch.manual_seed(0)
    mlp = TransferMLP(5, 3).eval()
    both = add_direct_path(mlp, Features(rows), genres, 0.5)
    means = np.stack([r.mean(axis=0) for r in rows])
    scaler = StandardScaler().fit(means)
    regression = LogisticRegression(C=0.5).fit(scaler.transform(means), genres)
    x = torch.from_numpy(means)
    with torch.no_grad():
        told = 2 * both(x) - mlp(x)
    # Of two genres scikit-learn gives one logit: how much more the second has than the first.
    expected = regression.decision_function(scaler.transform(means))
    np.testing.assert_allclose(told[:, 2] - told[:, 0], expected, atol=1e-4)
    np.testing.assert_allclose(told[:, 1], UNKNOWN, atol=1e-5)


def test_a_model_keeps_it(tmp_path):
    network = whole()
    metadata = metadata_of(network, SPEC, LABELS)
    files = {
        bundle.NETWORK: network_to_onnx(network, SPEC),
        bundle.WEIGHTS: weights_to_safetensors(network, {}),
        bundle.CARD: b"# card\n",
    }
    kept = bundle.save(tmp_path / "model", metadata, files)
    x = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(network_from_bundle(kept)(x), network(x), atol=2e-3, rtol=2e-3)

    # A track of several windows is the softmax of their mean logits, for learning and listening.
    rng = np.random.default_rng(0)
    spectrogram = rng.normal(-40, 20, (90, 32)).astype(np.float32)
    heard = GenreTagger(kept).predict_log_mel(spectrogram).probabilities
    segments = Segments([spectrogram], SPEC, metadata.mean, metadata.std)
    with torch.no_grad():
        features = Features([network.features(segments.windows(0)).numpy()])
        expected = network(segments.windows(0)).mean(dim=0).softmax(dim=0).numpy()
    np.testing.assert_allclose(heard, expected, atol=1e-3)
    np.testing.assert_allclose(predict(network.mlp, features, [0])[0], expected, atol=1e-5)


@pytest.mark.parametrize("direct", [True, False])
def test_a_personal_model_goes_on_with_it_if_there_is_one(direct):
    before = whole(direct)
    after = personal_network(before, LABELS, ("Jazz", "Bebop", "rock"), {"m": 4}).eval()
    assert (after.mlp.direct is not None) == direct
    x = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(after(x)[:, [0, 2]], before(x)[:, [1, 0]])
