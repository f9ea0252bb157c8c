"""Trained networks to the files of a model."""

import logging
import warnings

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from agf_core import bundle
from agf_core.network import GenreNet, MultiTaskNet, TransferMLP
from agf_core.spectrogram import InputSpec

INPUT_NAME, OUTPUT_NAME = "log_mel", "logits"


def network_to_onnx(network: GenreNet, spec: InputSpec) -> bytes:
    """Return the network as ONNX: (windows, 1, frames, mels) -> (windows, genres)."""
    network = network.eval().to("cpu")
    example = torch.zeros(2, 1, spec.segment_frames, spec.n_mels)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            network,
            (example,),
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_shapes=({0: torch.export.Dim("windows", min=1)},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto.SerializeToString()


def network_to_safetensors(network: GenreNet) -> bytes:
    """Return the weights, by the names of `GenreNet`'s state."""
    return save_tensors({k: v.cpu().contiguous() for k, v in network.state_dict().items()})


def network_from_bundle(model: bundle.Bundle) -> GenreNet:
    """Build the network of a model again, to learn further from.

    Raises
    ------
    bundle.BundleError
        When the weights do not fit what the model says of itself.
    """
    architecture = model.metadata.architecture
    try:
        networks = [
            MultiTaskNet(
                {task: model.metadata.tasks[task] for task in tasks}, architecture["width"]
            )
            for tasks in architecture["networks"]
        ]
        mlp = TransferMLP(sum(n.n_features for n in networks), len(model.metadata.labels))
        network = GenreNet(networks, mlp)
        network.load_state_dict(load_tensors((model.folder / bundle.WEIGHTS).read_bytes()))
    except (KeyError, TypeError, RuntimeError, OSError) as error:
        raise bundle.BundleError(
            f"the weights of the model in {model.folder} do not fit its description; "
            "choose another model or make it again"
        ) from error
    return network.eval()
