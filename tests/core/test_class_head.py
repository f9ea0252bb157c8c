"""The head of the pretrained model: classes to genres and styles, kept in a bundle, fine-tuned."""

import numpy as np
import pytest
import torch
from starting_model import metadata_of

from agf_core.bundle import format as bundle_format
from agf_core.errors import BundleError
from agf_core.features.spectrogram import InputSpec
from agf_core.finetune.heads import network_with_heads
from agf_core.inference.tagger import GenreTagger
from agf_core.train.class_head import EVIDENCE_FLOOR, ClassHead, CorrectedHead, HeadSizes, head_of
from agf_core.train.export import network_from_bundle, network_to_onnx, weights_to_safetensors
from agf_core.train.networks import GenreNet, MultiTaskNet, TransferMLP

LABELS = ("Blues", "Jazz", "Rock")
STYLES = (bundle_format.Style("swing", "Jazz"), bundle_format.Style("blues rock", "Blues"))
SPEC = InputSpec(n_mels=32, segment_frames=43, window_hop=43, excerpt_seconds=5.0)


def head():
    """Four classes of two teachers: blues and rock by one, jazz and swing by the other."""
    torch.manual_seed(0)
    made = ClassHead(64, HeadSizes(classes=4, teachers=2, genres=3, styles=2, terms=1))
    for row, (teacher, genre) in enumerate(((0, 0), (0, 2), (1, 1), (1, 1))):
        made.table[row, teacher * 3 + genre] = 1
    made.teacher_weights.copy_(torch.tensor([1.0, 2.0]))
    made.genre_bias.copy_(torch.tensor([0.5, 0.0, -0.5]))
    made.terms.copy_(torch.tensor([3, 3, 0, 1]))
    return made


def save(network, folder):
    metadata = metadata_of(network, SPEC, LABELS)
    metadata.architecture.update(network.mlp.architecture())
    if isinstance(network.mlp, ClassHead):
        object.__setattr__(metadata, "styles", STYLES)
    files = {
        bundle_format.NETWORK: network_to_onnx(network, SPEC),
        bundle_format.WEIGHTS: weights_to_safetensors(network, {}),
        bundle_format.CARD: b"# A model\n",
    }
    return bundle_format.save(folder, metadata, files)


@pytest.fixture
def network():
    torch.manual_seed(0)
    net = GenreNet([MultiTaskNet({"g": 3}, 0.25)], head())
    return net.half().float().eval()


def test_evidence_is_summed_in_a_genre_and_weighted_by_teacher():
    logits = torch.tensor([[2.0, -1.0, 0.0, 1.0]])
    blues, rock, jazz, swing = torch.sigmoid(logits)[0].tolist()
    nothing = np.log(EVIDENCE_FLOOR)
    expected = [
        np.log(blues + EVIDENCE_FLOOR) + 2 * nothing + 0.5,
        nothing + 2 * np.log(jazz + swing + EVIDENCE_FLOOR),
        np.log(rock + EVIDENCE_FLOOR) + 2 * nothing - 0.5,
    ]
    np.testing.assert_allclose(head().genres(logits)[0], expected, rtol=1e-3)


def test_what_is_no_music_has_no_genre():
    made = head()
    made.music_weights[0] = -100.0
    logits = torch.tensor([[2.0, -1.0, 0.0, 1.0]])
    np.testing.assert_allclose(made.genres(logits), np.zeros((1, 3)), atol=1e-6)


def test_a_style_of_two_classes_is_as_probable_as_the_less_probable_one():
    swing, blues_rock = head().styles(torch.tensor([[2.0, -1.0, 0.0, 1.0]]))[0].tolist()
    assert swing == pytest.approx(1 / (1 + np.exp(-1)))
    assert blues_rock == pytest.approx(1 / (1 + np.exp(1)))


def test_a_bundle_predicts_what_its_network_does(network, tmp_path):
    tagger = GenreTagger(save(network, tmp_path / "model"))
    spectrogram = np.random.default_rng(0).normal(-40, 10, (86, 32)).astype(np.float32)
    windows = torch.from_numpy((spectrogram.reshape(2, 1, 43, 32) + 40) / 10)
    with torch.inference_mode():
        embedding = network.features(windows)
        logits = network(windows).mean(dim=0)
        styles = network.mlp.styles(network.mlp.classes(embedding)).mean(dim=0)
    prediction = tagger.predict_log_mel(spectrogram)
    np.testing.assert_allclose(prediction.probabilities, logits.softmax(0), atol=1e-3)
    np.testing.assert_allclose(prediction.style_probabilities, styles, atol=1e-3)
    assert prediction.top_styles("Jazz") == [("swing", pytest.approx(float(styles[0]), abs=1e-3))]
    np.testing.assert_allclose(tagger.embed_log_mel(spectrogram), embedding.mean(dim=0), atol=2e-3)


def test_a_network_read_from_its_bundle_predicts_the_same(network, tmp_path):
    again = network_from_bundle(save(network, tmp_path / "model"))
    x = torch.randn(2, 1, 43, 32)
    with torch.inference_mode():
        np.testing.assert_allclose(again(x), network(x), atol=1e-5)


def test_fine_tuning_begins_with_what_the_model_predicts(network, tmp_path):
    own = network_with_heads(network, LABELS, ["rock", "Polka", "Jazz"])
    assert isinstance(own.mlp, CorrectedHead)
    x = torch.randn(2, 1, 43, 32)
    with torch.inference_mode():
        before, after = network(x).log_softmax(1), own.eval()(x)
        np.testing.assert_allclose(after[:, [0, 2]], before[:, [2, 1]], atol=1e-5)
        own.mlp.correction.direct.bias.data += torch.tensor([0.0, 5.0, 0.0])
        metadata = save(own.half().float(), tmp_path / "own")
        again = network_from_bundle(metadata)
        np.testing.assert_allclose(again(x), own(x), atol=1e-5)
        twice = network_with_heads(again, ["rock", "Polka", "Jazz"], ["Polka", "Blues"])
        np.testing.assert_allclose(twice.eval()(x)[:, 0], own(x)[:, 1], atol=1e-4)


def test_fine_tuning_leaves_the_base_as_it_is(network):
    own = network_with_heads(network, LABELS, ["Rock", "Polka"])
    trained = {id(p) for p in own.mlp.task_parameters("g")}
    assert not any(id(p) in trained for p in own.mlp.base.parameters())


@pytest.mark.parametrize(
    "architecture",
    [
        {"head": "unheard of"},
        {"head": "classes", "sizes": {"classes": 4}},
        {"head": "classes", "sizes": vars(head().sizes) | {"classes": -1}},
        {"head": "corrected", "rows": [5, 0, 1], "sizes": vars(head().sizes)},
    ],
)
def test_an_impossible_head_is_refused(architecture):
    with pytest.raises((KeyError, TypeError, ValueError)):
        head_of(architecture, 64, 3)


def test_older_models_have_an_mlp():
    made = head_of({"direct": True}, 64, 3)
    assert isinstance(made, TransferMLP)
    assert made.averages_logits


def test_a_model_without_embedding_says_so(tmp_path, network):
    model = save(network, tmp_path / "model")
    tagger = GenreTagger(model)
    tagger._outputs = {"logits": 0}
    with pytest.raises(BundleError, match="older than embeddings"):
        tagger.embed_log_mel(np.zeros((43, 32), np.float32))
