"""Audio files: opening them safely, decoding, mixing down."""

import warnings
from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """Return a name that stood here in the last release, with a warning."""
    if name.startswith("__") or name in ("container", "decode", "downmix"):
        raise AttributeError(name)
    decode = import_module("agf_core.audio.decode")
    if not hasattr(decode, name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        f"agf_core.audio.{name} has moved: errors are in agf_core.errors, the rest is in "
        "agf_core.audio.decode",
        DeprecationWarning,
        stacklevel=2,
    )
    return getattr(decode, name)
