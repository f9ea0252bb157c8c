"""Former place of `agf_core.inference.tagger`, kept for one release."""

import warnings

from agf_core.inference.tagger import GenreTagger

__all__ = ["GenreTagger"]

warnings.warn(
    "agf_core.tagger has moved: use agf_core.load() or agf_core.inference.tagger",
    DeprecationWarning,
    stacklevel=2,
)
