"""The model that ships: whole, small, described, and hearing what it heard when it was made."""

import json

import numpy as np
import pytest

from agf_core import bundle
from agf_core.tagger import GenreTagger


@pytest.fixture(scope="module")
def shipped():
    return bundle.load()


def test_it_is_whole_and_small(shipped):
    assert len(shipped.metadata.labels) == 14
    assert shipped.metadata.input.fmax == 8_000
    size = sum(path.stat().st_size for path in shipped.folder.iterdir())
    assert size < 10e6
    for name in (bundle.METADATA, bundle.CARD):
        assert "/home" not in (shipped.folder / name).read_text()


def test_its_card_gives_its_scores(shipped):
    card = (shipped.folder / bundle.CARD).read_text()
    scores = shipped.metadata.scores
    for value, low, high in scores["overall"].values():
        assert f"{value:.3f} [{low:.3f}, {high:.3f}]" in card
    for genre, row in scores["genres"].items():
        assert f"| {genre} | {row['tracks']} | {row['artists']} |" in card


def test_it_beats_the_most_common_genre_on_its_folds(shipped):
    scores = shipped.metadata.scores
    assert scores["overall"]["accuracy"][1] > scores["most_common_genre_accuracy"]


def test_torch_and_onnx_agree_on_music(shipped, clips):
    import torch

    from agf_core import audio
    from agf_core.export import network_from_bundle
    from agf_core.spectrogram import log_mel, windows

    spec, metadata = shipped.metadata.input, shipped.metadata
    tagger = GenreTagger(shipped)
    heard = audio.read(clips[0], sample_rate=spec.sample_rate)
    normalised = (log_mel(heard.samples, spec) - metadata.mean) / metadata.std
    x = np.array(windows(normalised, spec)[:, None], dtype=np.float32)
    with torch.inference_mode():
        p = network_from_bundle(shipped)(torch.from_numpy(x)).mean(dim=0).softmax(dim=0)
    expected = p ** (1 / metadata.temperature)
    # Both keep weights in half precision, but ONNX what normalisation has made of them.
    np.testing.assert_allclose(
        tagger.predict_file(clips[0]).probabilities, expected / expected.sum(), atol=1e-3
    )


def test_it_hears_what_it_heard(shipped, clips, request):
    """Pinned when the model was made; another decoder or spectrogram would show."""
    golden = json.loads((request.path.parent / "golden.json").read_text())
    assert golden["model_id"] == shipped.model_id
    tagger = GenreTagger(shipped)
    for clip in clips:
        heard = dict(tagger.predict_file(clip).top(3))
        assert heard == pytest.approx(golden["clips"][clip.name], abs=0.01), clip.name
