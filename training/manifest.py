"""What is kept between runs belongs to what it was made by, and to nothing else."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from agf_core.data.tracks import Track
from agf_core.utils import atomic
from training.errors import RunError
from training.recipes import Recipe


def claim(path: Path, facts: Mapping[str, Any], way_out: str) -> None:
    """Make sure that what lies beside a file of facts was made by just these.

    Parameters
    ----------
    path : Path
        Written where it is not there yet.
    facts : mapping
        As JSON can hold them.
    way_out : str
        What the user can do where others are there.

    Raises
    ------
    RunError
        When it was made by others.
    """
    ours = json.loads(json.dumps(facts))
    if path.exists():
        theirs = json.loads(path.read_text(encoding="utf-8"))
        if changed := _differences(theirs, ours):
            raise RunError(
                f"{path.parent} was made by another recipe ({'; '.join(changed)}); {way_out}"
            )
        return
    with atomic.written(path) as file:
        file.write(f"{json.dumps(ours, indent=1)}\n".encode())


def facts_of(recipe: Recipe, tracks: Iterable[Track]) -> dict[str, Any]:
    """Return what tells one learning from another: its recipe, and the tracks it learns from."""
    ids = [track.track_id for track in tracks]
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
    return recipe.to_dict() | {"tracks": f"{len(ids)} ({digest})"}


def _differences(theirs: dict[str, Any], ours: dict[str, Any], prefix: str = "") -> list[str]:
    """Say which entries differ."""
    found = []
    for key in theirs.keys() | ours.keys():
        old, new = theirs.get(key), ours.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key} was {old} and is {new}")
    return sorted(found)
