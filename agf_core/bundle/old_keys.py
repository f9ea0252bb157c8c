"""Keys that former versions wrote into JSON files: models, reports, estimates of a prior."""

from collections.abc import Mapping
from typing import Any

PRESENT_KEYS = {
    "artists_learnt_from": "training_artists",
    "begun_with": "base_model",
    "heard": "predictions",
    "kept_back": "validation_folds",
    "not_learnt": "left_out",
    "parts": "folds",
    "validated_on": "validation_thinning",
    "variation": "augmentation",
}
"""Former keys and the present ones. Only present keys are written."""


def with_present_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a JSON object under their present keys."""
    return {PRESENT_KEYS.get(key, key): value for key, value in dict(values).items()}
