"""Manifests: facts about how a folder of checkpoints was made, checked before they are used."""

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from agf_core.data.tracks import Track
from agf_core.utils import atomic
from training.errors import RunError, undamaged
from training.recipes import Recipe, with_present_fields

PACKAGES = ("beets-agf", "torch", "numpy", "scipy", "scikit-learn", "librosa", "essentia")


def check_manifest(path: Path, facts: Mapping[str, Any], hint: str) -> None:
    """Check that the files beside a manifest were made by these facts.

    Parameters
    ----------
    path : Path
        The manifest; written where there is none yet.
    facts : mapping
        As JSON can hold them: a recipe, and more.
    hint : str
        What the user can do where the facts differ.

    Raises
    ------
    RunError
        When they differ.
    """
    ours = json.loads(json.dumps(facts))
    if path.exists():
        with undamaged(path, hint):
            theirs = with_present_fields(json.loads(path.read_text(encoding="utf-8")))
        if changed := _differences(theirs, ours):
            raise RunError(
                f"{path.parent} was made by another recipe ({'; '.join(changed)}); {hint}"
            )
        return
    with atomic.written(path) as file:
        file.write(f"{json.dumps(ours, indent=1)}\n".encode())


def manifest_of(recipe: Recipe, tracks: Iterable[Track]) -> dict[str, Any]:
    """Return the facts that a training run depends on: its recipe and its tracks."""
    ids = [track.track_id for track in tracks]
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
    return recipe.to_dict() | {"tracks": f"{len(ids)} ({digest})"}


def _differences(theirs: dict[str, Any], ours: dict[str, Any], prefix: str = "") -> list[str]:
    """Return a phrase for each entry that differs."""
    found = []
    for key in theirs.keys() | ours.keys():
        old, new = theirs.get(key), ours.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key} was {old} and is {new}")
    return sorted(found)


def versions(device: torch.device) -> dict[str, str]:
    """Return what a result may depend on besides the recipe."""
    found = {"python": platform.python_version(), "machine": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    cuda = device.type == "cuda"
    return found | {"device": torch.cuda.get_device_name(device) if cuda else "cpu"}
