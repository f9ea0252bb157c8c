"""Genres from audio by transfer learning of artist group factors.

The method of "Transfer Learning of Artist Group Factors to Musical Genre Classification"
(Kim et al., The Web Conference 2018), usable without beets. Importing the package loads nothing
else; each public name is imported when it is first used.

>>> import agf_core as agf
>>> tagger = agf.load()
>>> tagger.predict_file("song.flac").top(3)  # doctest: +SKIP
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agf_core.errors import AgfError, AudioError, BundleError
    from agf_core.features.descriptors import mfcc
    from agf_core.features.spectrogram import log_mel
    from agf_core.finetune.finetuner import FineTuner
    from agf_core.groups.lda import ArtistGroups
    from agf_core.inference.tagger import GenreTagger, load
    from agf_core.metrics import evaluate
    from agf_core.train.loop import train_networks, train_transfer

__all__ = [
    "AgfError",
    "ArtistGroups",
    "AudioError",
    "BundleError",
    "FineTuner",
    "GenreTagger",
    "evaluate",
    "load",
    "log_mel",
    "mfcc",
    "train_networks",
    "train_transfer",
]

_HOME = {
    "AgfError": "errors",
    "ArtistGroups": "groups.lda",
    "AudioError": "errors",
    "BundleError": "errors",
    "FineTuner": "finetune.finetuner",
    "GenreTagger": "inference.tagger",
    "evaluate": "metrics",
    "load": "inference.tagger",
    "log_mel": "features.spectrogram",
    "mfcc": "features.descriptors",
    "train_networks": "train.loop",
    "train_transfer": "train.loop",
}

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
)  # and Essentia, without which task e is left out


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def missing_for_learning() -> str:
    """Return one line on missing packages for training and how to get them, or ""."""
    missing = [name for name in TRAIN_PACKAGES if find_spec(name) is None]
    if not missing:
        return ""
    return f"training needs {', '.join(missing)}: pip install 'beets-agf[train]'"
