"""Genres from audio by transfer learning of artist group factors.

The method of "Transfer Learning of Artist Group Factors to Musical Genre Classification"
(Kim et al., The Web Conference 2018), usable without beets: see `agf_core.inference.tagger`.
Importing the package itself loads nothing heavy.
"""

import os
from importlib.util import find_spec

# Since 1.29 ONNX Runtime tells its makers about its use, unless it finds this when it starts.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

TRAIN_PACKAGES = (
    "filelock",
    "librosa",
    "matplotlib",
    "onnx",
    "onnxscript",
    "safetensors",
    "scipy",
    "sklearn",
    "threadpoolctl",
    "torch",
)  # and Essentia, without which its task is left out


def missing_for_learning() -> str:
    """Say in a line what learning lacks here and how to get it; empty where it lacks nothing."""
    missing = [name for name in TRAIN_PACKAGES if find_spec(name) is None]
    if not missing:
        return ""
    return f"learning needs {', '.join(missing)}: pip install 'beets-agf[train]'"
