"""Features of tracks, kept between runs."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np


class FeatureCache:
    """One ``.npy`` file per track and kind of feature below a folder.

    A file is written whole or not at all; one that cannot be read is made again.

    Parameters
    ----------
    folder : Path
        Made when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, kind: str, track_id: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the stored feature, or compute and store it; errors of `compute` pass through."""
        path = self._path(kind, track_id)
        try:
            stored: np.ndarray = np.load(path, allow_pickle=False)
            return stored
        except (OSError, ValueError, EOFError):
            pass
        value = compute()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.save(file, value, allow_pickle=False)
        partial.replace(path)
        return value

    def __contains__(self, item: tuple[str, str]) -> bool:
        """Tell whether a feature, given by kind and track, is stored."""
        return self._path(*item).exists()

    def _path(self, kind: str, track_id: str) -> Path:
        safe = re.sub(r"[^\w.-]", lambda m: f"%{ord(m[0]):02x}", track_id)
        return self.folder / kind / f"{safe}.npy"
