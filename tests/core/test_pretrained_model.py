"""The model that ships: whole, small, described, and predicting as when it was trained."""

import json

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from agf_core.audio import decode
from agf_core.bundle import format as bundle_format
from agf_core.features.spectrogram import log_mel, windows
from agf_core.inference.tagger import GenreTagger
from agf_core.train.export import network_from_bundle


@pytest.fixture(scope="module")
def shipped():
    return bundle_format.load()


def test_it_is_whole_and_small(shipped):
    assert len(shipped.metadata.labels) == 14
    assert shipped.metadata.input.fmax == 8_000
    size = sum(path.stat().st_size for path in shipped.folder.iterdir())
    assert size < 10e6
    for name in (bundle_format.METADATA, bundle_format.CARD):
        assert "/home" not in (shipped.folder / name).read_text()


def test_its_card_gives_its_scores(shipped):
    card = (shipped.folder / bundle_format.CARD).read_text()
    scores = shipped.metadata.scores
    for value, low, high in scores["overall"].values():
        assert f"{value:.3f} [{low:.3f}, {high:.3f}]" in card
    for genre, row in scores["genres"].items():
        assert f"| {genre} | {row['tracks']} | {row['artists']} |" in card


def test_it_beats_the_most_common_genre_on_its_folds(shipped):
    scores = shipped.metadata.scores
    assert scores["overall"]["accuracy"][1] > scores["most_common_genre_accuracy"]


def with_onnx_weights(network, path):
    """Give a network the weights of its ONNX, into which the exporter folds normalisation."""
    folded = 0
    weights = {
        tensor.name.removesuffix(".half"): torch.from_numpy(
            onnx.numpy_helper.to_array(tensor).astype(np.float32)
        )
        for tensor in onnx.load(path).graph.initializer
    }
    for name, bias in weights.items():
        if name.endswith(".weight_bias"):
            layers, _, place = name.removesuffix(".weight_bias").rpartition(".")
            sequence, i = network.get_submodule(layers), int(place)
            # Half precision rounds by 1 in 2,048 at most; both files have been rounded.
            scale = sequence[i + 1].weight / (sequence[i + 1].running_var + 1e-5).sqrt()
            shape = (-1, *[1] * (sequence[i].weight.ndim - 1))
            torch.testing.assert_close(
                weights[name.removesuffix("_bias")],
                sequence[i].weight * scale.view(shape),
                rtol=2 / 2_048,
                atol=1e-6,
            )
            sequence[i].weight = nn.Parameter(weights[name.removesuffix("_bias")])
            sequence[i].bias = nn.Parameter(bias)
            sequence[i + 1] = nn.Identity()
            folded += 1
    assert folded == 4
    return network


def test_torch_and_onnx_agree_on_music(shipped, clips):
    spec, metadata = shipped.metadata.input, shipped.metadata
    tagger = GenreTagger(shipped)
    network = with_onnx_weights(
        network_from_bundle(shipped), shipped.folder / bundle_format.NETWORK
    )
    for clip in clips:
        excerpt = decode.read_excerpt(clip, spec.excerpt_seconds, sample_rate=spec.sample_rate)
        normalised = (log_mel(excerpt.samples, spec) - metadata.mean) / metadata.std
        x = np.array(windows(normalised, spec)[:, None], dtype=np.float32)
        with torch.inference_mode():
            p = network(torch.from_numpy(x)).mean(dim=0).softmax(dim=0)
        expected = p ** (1 / metadata.temperature)
        np.testing.assert_allclose(
            tagger.predict_file(clip).probabilities, expected / expected.sum(), atol=1e-5
        )


def test_its_predictions_are_those_of_golden_json(shipped, clips, request):
    """Pinned when the model was made; another decoder or spectrogram would show."""
    golden = json.loads((request.path.parents[1] / "golden.json").read_text())
    assert golden["model_id"] == shipped.model_id
    tagger = GenreTagger(shipped)
    for clip in clips:
        found = dict(tagger.predict_file(clip).top(3))
        assert found == pytest.approx(golden["clips"][clip.name], abs=0.01), clip.name
