"""A model is numbers: it can neither run code nor reach for other files."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from agf_core.bundle import format as bundle_format
from agf_core.bundle import onnx_safety
from agf_core.errors import BundleError
from agf_core.features.spectrogram import InputSpec
from agf_core.inference.tagger import GenreTagger


def network(tensors=(), nodes=(), domain="", **parts) -> bytes:
    """A small ONNX network with whatever a test wants in it."""
    graph = helper.make_graph(
        [*nodes, helper.make_node("Identity", ["x"], ["y"], domain=domain)],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        list(tensors),
    )
    return helper.make_model(graph, **parts).SerializeToString()


def tensor(external: str = "") -> TensorProto:
    result = numpy_helper.from_array(np.zeros(3, np.float32), "numbers")
    if external:
        result.ClearField("raw_data")
        result.data_location = TensorProto.EXTERNAL
        entry = result.external_data.add()
        entry.key, entry.value = "location", external
    return result


def branch():
    inner = helper.make_graph([], "inner", [], [])
    return helper.make_node("If", ["x"], ["z"], then_branch=inner, else_branch=inner)


def constant(value: TensorProto):
    return helper.make_node("Constant", [], ["c"], value=value)


FUNCTION = helper.make_function("own", "F", ["a"], ["b"], [], [helper.make_opsetid("", 18)])

HOSTILE = {
    "loads numbers from another file": [
        network([tensor("../../../etc/passwd")]),
        network(nodes=[constant(tensor("/etc/passwd"))]),
    ],
    "contains a branch or a loop": [network(nodes=[branch()])],
    "uses operators of b'com.example'": [network(domain="com.example")],
    "defines functions": [network(functions=[FUNCTION])],
    "is not ONNX": [b"", b"\x0f", b"\xff" * 20, b"\x18\x00"],
    "is cut off": [network()[:-1], b"\x3a\xff\xff\xff\xff\x0f", b"\x80"],
}


def test_what_we_make_is_plain(tiny_parts):
    _, files = tiny_parts
    onnx_safety.check(files[bundle_format.NETWORK])
    onnx_safety.check((bundle_format.SHIPPED / bundle_format.NETWORK).read_bytes())
    onnx_safety.check(network([tensor()], [constant(tensor())]))


@pytest.mark.parametrize(
    ("words", "content"), [(words, one) for words, several in HOSTILE.items() for one in several]
)
def test_what_is_more_than_numbers_is_refused(words, content, tiny_parts, tmp_path):
    with pytest.raises(ValueError, match=words):
        onnx_safety.check(content)
    metadata, files = tiny_parts
    bundle_format.save(tmp_path / "m", metadata, files | {bundle_format.NETWORK: content})
    with pytest.raises(BundleError, match=f"cannot be run .*{words}"):
        GenreTagger.load(tmp_path / "m")


def test_external_numbers_are_refused_even_where_the_location_is_empty():
    hidden = tensor()
    hidden.data_location = TensorProto.EXTERNAL
    with pytest.raises(ValueError, match="another file"):
        onnx_safety.check(network([hidden]))


def test_every_cut_is_refused(tiny_parts):
    _, files = tiny_parts
    whole = files[bundle_format.NETWORK]
    rng = np.random.default_rng(0)
    for size in rng.integers(1, len(whole), 50):
        with pytest.raises(ValueError, match="is "):
            onnx_safety.check(whole[:size])


def test_another_format_that_onnxruntime_reads_is_refused(tiny_parts, tmp_path):
    metadata, files = tiny_parts
    content = b"\x20\x00\x00\x00ORTM" + files[bundle_format.NETWORK]
    bundle_format.save(tmp_path / "m", metadata, files | {bundle_format.NETWORK: content})
    with pytest.raises(BundleError, match="cannot be run"):
        GenreTagger.load(tmp_path / "m")


@pytest.mark.parametrize("name", [bundle_format.NETWORK, bundle_format.CARD])
def test_what_has_no_end_is_not_waited_for(tiny_folder, name):
    (tiny_folder / name).unlink()
    (tiny_folder / name).symlink_to("/dev/zero")
    with pytest.raises(BundleError, match="is not a file"):
        bundle_format.load(tiny_folder)


def test_names_that_would_play_with_a_terminal_are_refused(tiny_parts):
    metadata, _ = tiny_parts
    for change in ({"name": "a\x1b[2Jb"}, {"name": "a" * 101}, {"labels": ["Rock", "a\nb", "c"]}):
        with pytest.raises(ValueError, match="name"):
            bundle_format.Metadata.from_dict(metadata.to_dict() | change)


def test_an_input_that_fills_the_memory_is_refused():
    with pytest.raises(ValueError, match="an excerpt would become"):
        InputSpec(hop_length=1, window_hop=1, excerpt_seconds=3600)


def test_onnx_agrees_that_these_are_networks():
    for words in ("contains a branch or a loop", "defines functions"):
        for content in HOSTILE[words]:
            assert onnx.load_from_string(content).graph.node
