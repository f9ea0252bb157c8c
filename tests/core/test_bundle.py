import json
import os
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save

from agf_core import errors
from agf_core.bundle import format as bundle_format
from agf_core.errors import BundleError
from agf_core.inference.tagger import GenreTagger
from agf_core.train.export import network_from_bundle, network_to_onnx, weights_to_safetensors
from agf_core.train.networks import GenreNet, MultiTaskNet, TransferMLP, count_parameters

FILES = (bundle_format.METADATA, bundle_format.NETWORK, bundle_format.WEIGHTS, bundle_format.CARD)


def rewrite(folder, **changes):
    path = folder / bundle_format.METADATA
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_saved_is_loaded(tiny_folder, tiny_parts):
    metadata, files = tiny_parts
    loaded = bundle_format.load(tiny_folder)
    assert loaded.metadata.to_dict() == metadata.to_dict()
    assert loaded.network == files[bundle_format.NETWORK]
    assert loaded.model_id.startswith("tiny-")
    assert sorted(p.name for p in tiny_folder.iterdir()) == sorted(FILES)
    assert [p.name for p in tiny_folder.parent.iterdir()] == ["tiny"]


def test_a_prior_is_part_of_a_model_and_older_models_have_none(tiny_folder, tiny_parts, tmp_path):
    metadata, files = tiny_parts
    shares = np.array([0.1, 0.2, 0.7])
    model = bundle_format.save(tmp_path / "new", replace(metadata, prior=shares), files)
    assert model.metadata.prior.tolist() == shares.tolist()
    path = tiny_folder / bundle_format.METADATA
    values = json.loads(path.read_text())
    del values["prior"]
    path.write_text(json.dumps(values))
    assert GenreTagger.load(tiny_folder).prior is None


def test_another_model_has_another_id(tiny_folder, tiny_parts, tmp_path):
    metadata, files = tiny_parts
    same = bundle_format.save(tmp_path / "same", metadata, files)
    other = bundle_format.save(
        tmp_path / "other", metadata, files | {bundle_format.CARD: b"# Other"}
    )
    assert bundle_format.load(tiny_folder).model_id == same.model_id != other.model_id


def test_torch_and_onnx_agree(tiny_folder, tiny_network, tiny_spec):
    tagger = GenreTagger.load(tiny_folder)
    rng = np.random.default_rng(0)
    for n in (1, 2, 57):
        x = rng.normal(size=(n, 1, tiny_spec.segment_frames, tiny_spec.n_mels)).astype(np.float32)
        with torch.inference_mode():
            expected = tiny_network(torch.from_numpy(x)).numpy()
            again = network_from_bundle(bundle_format.load(tiny_folder))(
                torch.from_numpy(x)
            ).numpy()
        (logits, *_) = tagger._session.run(None, {tagger._input: x})
        np.testing.assert_allclose(logits, expected, atol=1e-4)
        np.testing.assert_array_equal(again, expected)


def test_a_trunk_that_pools_frames_is_built_again(tiny_spec, tiny_parts, tmp_path):
    torch.manual_seed(2)
    network = MultiTaskNet({"g": 3}, width=0.25, frames_pooled=2)
    whole = GenreNet([network], TransferMLP(network.n_features, 3)).eval().half().float()
    metadata, files = tiny_parts
    described = replace(
        metadata,
        tasks={"g": 3},
        architecture={"networks": [["g"]], "width": 0.25, "frames_pooled": 2},
    )
    files |= {
        bundle_format.NETWORK: network_to_onnx(whole, tiny_spec),
        bundle_format.WEIGHTS: weights_to_safetensors(whole, {}),
    }
    model = bundle_format.save(tmp_path / "pooled", described, files)
    x = torch.randn(3, 1, tiny_spec.segment_frames, tiny_spec.n_mels)
    with torch.inference_mode():
        expected = whole(x)
        torch.testing.assert_close(network_from_bundle(model)(x), expected, rtol=0, atol=0)
    tagger = GenreTagger.load(model.folder)
    (logits, *_) = tagger._session.run(None, {tagger._input: x.numpy()})
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-4)
    rewrite(model.folder, architecture={"networks": [["g"]], "width": 0.25})
    with torch.inference_mode():  # older models have the trunk of the paper
        plain = network_from_bundle(bundle_format.load(model.folder))(x)
    assert not torch.allclose(plain, expected, atol=1e-3)


def test_half_precision_takes_half_the_space_and_changes_little(tiny_spec):
    torch.manual_seed(3)
    network = MultiTaskNet({"g": 3}, width=0.5)
    whole = GenreNet([network], TransferMLP(network.n_features, 3)).eval()
    stored = network_to_onnx(whole, tiny_spec)
    session = onnxruntime.InferenceSession(stored)
    x = torch.randn(5, 1, tiny_spec.segment_frames, tiny_spec.n_mels)
    (logits, *_) = session.run(None, {"log_mel": x.numpy()})
    with torch.inference_mode():
        np.testing.assert_allclose(logits, whole(x).numpy(), atol=2e-3)
    assert len(stored) < 2.5 * count_parameters(whole)
    assert len(weights_to_safetensors(whole, {})) < 2.5 * count_parameters(whole)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", ["missing", "truncated", "flipped", "empty", "directory"])
def test_every_damaged_file_is_one_clear_line(tiny_folder, name, harm):
    path = tiny_folder / name
    content = path.read_bytes()
    path.unlink()
    if harm == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif harm == "flipped":
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 0xFF]) + content[-8:])
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "directory":
        path.mkdir()
    with pytest.raises(BundleError) as caught:
        bundle_format.load(tiny_folder)
    message = str(caught.value)
    assert str(tiny_folder) in message
    assert "\n" not in message
    assert "choose another model or make it again" in message


def test_no_folder_at_all(tmp_path):
    with pytest.raises(BundleError, match="no model in"):
        bundle_format.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 3}, "newer version of beets-agf .* upgrade"),
        ({"format": "x"}, "unknown format"),
        ({"format": 0}, "unknown format"),
        ({"labels": ["Rock"]}, "labels"),
        ({"labels": ["Rock", "Rock"]}, "labels"),
        ({"labels": [1, 2]}, "labels"),
        ({"name": ""}, "no name"),
        ({"name": 7}, "no name"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"prior": [0.5, 0.5]}, "prior has another size"),
        ({"prior": 1}, "prior has another size"),
        ({"prior": []}, "prior has another size"),
        ({"prior": [0.5, 0.5, 0]}, "prior is not made of shares"),
        ({"prior": [0.7, 0.7, -0.4]}, "prior is not made of shares"),
        ({"prior": [0.3, 0.3, 0.3]}, "prior is not made of shares"),
        ({"prior": [0.5, 0.5, float("nan")]}, "prior is not made of shares"),
        ({"prior": [0.5, 0.5, float("inf")]}, "prior is not made of shares"),
        ({"prior": ["much", 0.5, 0.5]}, "damaged"),
        ({"prior": {"Ambient": 1}}, "damaged"),
        ({"normaliser": {"mean": [0], "std": [1]}}, "normaliser"),
        ({"normaliser": {"mean": [0] * 64, "std": [0] * 64}}, "normaliser"),
        ({"normaliser": None}, "damaged"),
        ({"input": {}}, "damaged"),
        ({"input": True}, "damaged"),
        ({"sha256": {}}, "not the file it was made with"),
        ({"sha256": 5}, "damaged"),
    ],
)
def test_nonsense_in_the_description(tiny_folder, changes, words):
    rewrite(tiny_folder, **changes)
    with pytest.raises(BundleError, match=words):
        bundle_format.load(tiny_folder)


def test_an_input_of_absurd_size(tiny_folder, tiny_spec):
    rewrite(tiny_folder, input=tiny_spec.to_dict() | {"n_fft": 2**40})
    with pytest.raises(BundleError, match="n_fft"):
        bundle_format.load(tiny_folder)


def test_not_even_json(tiny_folder):
    for text in ("", "[]", "nonsense", '{"format": 1}', "[" * 100_000):
        (tiny_folder / bundle_format.METADATA).write_text(text)
        with pytest.raises(BundleError, match="damaged"):
            bundle_format.load(tiny_folder)


def test_a_network_of_other_sizes_is_refused_at_once(tiny_parts, tmp_path):
    metadata, files = tiny_parts
    values = metadata.to_dict() | {"labels": ["Jazz", "Rock"]}
    bundle_format.save(tmp_path / "two", bundle_format.Metadata.from_dict(values), files)
    with pytest.raises(BundleError, match="cannot be run"):
        GenreTagger.load(tmp_path / "two")
    bundle_format.save(
        tmp_path / "junk", metadata, files | {bundle_format.NETWORK: b"not a network"}
    )
    with pytest.raises(BundleError, match="cannot be run"):
        GenreTagger.load(tmp_path / "junk")


def test_weights_that_do_not_fit_are_refused(tiny_parts, tmp_path):
    metadata, files = tiny_parts
    other = save({"mlp.layers.1.weight": torch.zeros(2, 2)})
    model = bundle_format.save(tmp_path / "odd", metadata, files | {bundle_format.WEIGHTS: other})
    with pytest.raises(BundleError, match="do not fit"):
        network_from_bundle(model)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("tasks", {"g": 2**40, "s": 5}),
        ("tasks", {"g": 1e308, "s": 5}),
        ("architecture", {"networks": [["g", "s"]], "width": 1e6}),
        ("architecture", {"networks": [["g", "s"]], "width": float("nan")}),
        ("architecture", {"networks": [["g"]] * 1_000_000, "width": 0.25}),
        ("architecture", {"networks": 5, "width": 0.25}),
        ("architecture", {"networks": [["g", "s"]], "width": 0.25, "frames_pooled": 0}),
        ("architecture", {"networks": [["g", "s"]], "width": 0.25, "frames_pooled": 3}),
        ("architecture", {"networks": [["g", "s"]], "width": 0.25, "frames_pooled": "2"}),
    ],
)
def test_a_network_of_absurd_size_is_refused_before_it_is_built(tiny_folder, part, value):
    rewrite(tiny_folder, **{part: value})
    with pytest.raises(BundleError, match="do not fit"):
        network_from_bundle(bundle_format.load(tiny_folder))


def test_whatever_a_model_says_of_itself_an_error_is_one_short_printable_line(tiny_folder):
    for version in ("\x1b[2J", "x" * 10**6, 10**4000, ["a\nb\u2028"]):
        rewrite(tiny_folder, format=version)
        with pytest.raises(BundleError) as caught:
            bundle_format.load(tiny_folder)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) <= errors.LONGEST_MESSAGE
        assert str(tiny_folder) in str(caught.value)


def test_saving_replaces_whole_or_not_at_all(tiny_folder, tiny_parts, monkeypatch):
    metadata, files = tiny_parts
    bundle_format.save(tiny_folder, metadata, files | {bundle_format.CARD: b"# New"})
    assert (tiny_folder / bundle_format.CARD).read_bytes() == b"# New"

    before = bundle_format.load(tiny_folder).model_id
    rename = type(tiny_folder).rename

    def failing(self, target):
        if self.name == "new":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(type(tiny_folder), "rename", failing)
    with pytest.raises(BundleError, match="No space left"):
        bundle_format.save(tiny_folder, metadata, files)
    monkeypatch.undo()
    assert bundle_format.load(tiny_folder).model_id == before
    assert os.listdir(tiny_folder.parent) == ["tiny"]


def test_saving_below_a_file_is_an_error(tmp_path, tiny_parts):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot be written"):
        bundle_format.save(tmp_path / "file" / "model", *tiny_parts)


def test_saving_takes_exactly_its_files(tmp_path, tiny_parts):
    metadata, files = tiny_parts
    with pytest.raises(ValueError, match="consists of"):
        bundle_format.save(tmp_path / "m", metadata, files | {"../evil": b""})


def test_keys_of_former_versions_are_read_as_the_present_ones(tiny_folder):
    rewrite(tiny_folder, scores={"parts": 5}, recipe={"begun_with": "a", "kept_back": 3})
    metadata = bundle_format.load(tiny_folder).metadata
    assert metadata.scores == {"folds": 5}
    assert metadata.recipe == {"base_model": "a", "validation_folds": 3}
