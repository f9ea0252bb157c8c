"""Convert trained networks to the files of a model, and back."""

import logging
import warnings
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import torch
from onnx import GraphProto, TensorProto, helper, numpy_helper
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from agf_core import errors
from agf_core.bundle import format as bundle_format
from agf_core.features.spectrogram import InputSpec
from agf_core.groups.lda import ArtistGroups
from agf_core.train.class_head import ClassHead, head_of
from agf_core.train.networks import BRANCH_POOLS, GenreNet, MultiTaskNet

INPUT_NAME = "log_mel"
LOGITS, EMBEDDING, STYLES = "logits", "embedding", "styles"  # outputs
GROUPS = "groups/"  # prefix of the arrays of artist groups among the weights


class _Outputs(nn.Module):
    """All that a model predicts of a window: genre logits, the embedding, and styles if any."""

    def __init__(self, network: GenreNet) -> None:
        super().__init__()
        self.network = network

    @property
    def names(self) -> list[str]:
        """Those of the outputs."""
        return [LOGITS, EMBEDDING, STYLES][: 3 if isinstance(self.network.mlp, ClassHead) else 2]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs in the order of `names`."""
        head, embedding = self.network.mlp, self.network.features(x)
        if not isinstance(head, ClassHead):
            return head(embedding), embedding
        classes = head.classes(embedding)
        return head.genres(classes), embedding, head.styles(classes)


def network_to_onnx(network: GenreNet, spec: InputSpec) -> bytes:
    """Return the network as ONNX, (windows, 1, frames, mels) in.

    Out come ``logits`` (windows, genres), ``embedding`` (windows, n_features), and of a model that
    predicts classes ``styles`` (windows, styles), probabilities.
    """
    outputs = _Outputs(network.eval().to("cpu"))
    example = torch.zeros(2, 1, spec.segment_frames, spec.n_mels)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the exporter
        program = torch.onnx.export(
            outputs,
            (example,),
            input_names=[INPUT_NAME],
            output_names=outputs.names,
            dynamic_shapes=({0: torch.export.Dim("windows", min=1)},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for part in (model.graph, *model.graph.node, *model.graph.value_info):
        del part.metadata_props[:]  # source positions of layers
    _halve(model.graph)
    return bytes(model.SerializeToString())


def _halve(graph: GraphProto) -> None:
    """Store weights in half precision; the network computes in single precision as before."""
    casts = []
    for tensor in graph.initializer:
        weights = numpy_helper.to_array(tensor)
        if weights.dtype != np.float32 or weights.ndim < 2:  # the rest is small
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(weights.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    computing = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *computing])


def weights_to_safetensors(network: GenreNet, groups: Mapping[str, ArtistGroups]) -> bytes:
    """Return the weights of a model, for further training.

    The network's weights by the names of `GenreNet`'s state, in half precision but for what is
    small, and the artist groups that its tasks are about, as ``groups/<task>/<array>``.
    """
    tensors = {
        name: (tensor.half() if tensor.ndim > 1 else tensor).cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    for task, found in groups.items():
        for name, array in found.to_arrays().items():
            tensors[f"{GROUPS}{task}/{name}"] = torch.from_numpy(np.array(array))
    return save_tensors(tensors)


def network_from_bundle(model: bundle_format.Bundle) -> GenreNet:
    """Rebuild the network of a model, for further training.

    Raises
    ------
    bundle.BundleError
        When the weights do not fit the metadata of the model.
    """
    try:
        weights = {name: t for name, t in _tensors(model).items() if not name.startswith(GROUPS)}
        networks = model.metadata.architecture["networks"]
        if len(weights) < sum(1 + len(tasks) for tasks in networks):
            raise ValueError("too few weights for so many networks")
        with torch.device("meta"):  # where networks take no memory
            shapes = {name: t.shape for name, t in _blank(model.metadata).state_dict().items()}
        if shapes != {name: t.shape for name, t in weights.items()}:
            raise ValueError("weights of other shapes")
        network = _blank(model.metadata)
        network.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise _unfitting(model) from error
    return network.eval()


def _blank(metadata: bundle_format.Metadata) -> GenreNet:
    """Build the network that a model describes, with random weights."""
    width = metadata.architecture["width"]
    frames_pooled = metadata.architecture.get("frames_pooled", 1)  # missing in older models
    most = max(1, metadata.input.segment_frames // BRANCH_POOLS)
    if type(frames_pooled) is not int or not 1 <= frames_pooled <= most:
        raise ValueError("no frame would be left for the branches")
    networks = [
        MultiTaskNet({task: metadata.tasks[task] for task in tasks}, width, frames_pooled)
        for tasks in metadata.architecture["networks"]
    ]
    n_features = sum(n.n_features for n in networks)
    return GenreNet(networks, head_of(metadata.architecture, n_features, len(metadata.labels)))


def groups_from_bundle(model: bundle_format.Bundle) -> dict[str, ArtistGroups]:
    """Read the artist groups of a model, by task.

    Raises
    ------
    bundle.BundleError
        When they are damaged or do not fit the model's tasks.
    """
    arrays: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for name, tensor in _tensors(model).items():
        if name.startswith(GROUPS):
            task, _, array = name.removeprefix(GROUPS).partition("/")
            arrays[task][array] = tensor.numpy()
    try:
        groups = {task: ArtistGroups.from_arrays(given) for task, given in arrays.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise _unfitting(model) from error
    if any(model.metadata.tasks.get(task) != found.n_groups for task, found in groups.items()):
        raise _unfitting(model)
    return groups


def _tensors(model: bundle_format.Bundle) -> dict[str, Tensor]:
    try:
        return load_tensors((model.folder / bundle_format.WEIGHTS).read_bytes())
    except (OSError, SafetensorError) as error:
        raise _unfitting(model) from error


def _unfitting(model: bundle_format.Bundle) -> errors.BundleError:
    return errors.BundleError(
        f"the weights of the model in {model.folder} do not fit its description; "
        "choose another model or make it again"
    )
