"""Cache of features of tracks, kept on disk between runs."""

import io
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from agf_core.errors import CacheError, why_not_written
from agf_core.utils import atomic

LARGEST_ENTRY = 2**30  # bytes of an entry; ten hours of MFCCs are a tenth of that


def anything(feature: np.ndarray) -> bool:
    """Accept any feature."""
    return True


class FeatureCache:
    """Cache with one file per track and kind of feature, below a folder.

    A file is written whole or not at all, in numpy's format, followed by a checksum of content and
    name. A file that is damaged, renamed, or does not fit the requested feature is computed again.
    No pickle is read.

    Parameters
    ----------
    folder : Path
        Created when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(
        self,
        kind: str,
        track_id: str,
        compute: Callable[[], np.ndarray],
        fits: Callable[[np.ndarray], bool] = anything,
    ) -> np.ndarray:
        """Return the stored feature, or compute and store it; errors of `compute` pass through.

        Parameters
        ----------
        fits : callable
            Whether a stored array can be the feature, by shape, dtype and values.

        Raises
        ------
        CacheError
            When the feature cannot be stored.
        """
        with suppress(KeyError):
            return self.stored(kind, track_id, fits)
        value = compute()
        self.put(kind, track_id, value)
        return value

    def put(self, kind: str, track_id: str, value: np.ndarray) -> None:
        """Store a feature, in the place of one that is there; raise `CacheError` where it fails."""
        path = self._path(kind, track_id)
        try:
            with atomic.written(path, durable=False) as file:
                file.write(atomic.sealed(_encoded(value), _name(path)))
        except OSError as error:
            raise CacheError(why_not_written(path, error)) from error

    def stored(
        self, kind: str, track_id: str, fits: Callable[[np.ndarray], bool] = anything
    ) -> np.ndarray:
        """Return the stored feature; raise `KeyError` where there is none that fits (see `get`)."""
        found = _stored(self._path(kind, track_id))
        if found is None or not fits(found):
            raise KeyError(str(self._path(kind, track_id)))
        return found

    def __contains__(self, item: tuple[str, str]) -> bool:
        """Whether a feature, given by kind and track, is stored and intact."""
        return _stored(self._path(*item)) is not None

    def has_file(self, kind: str, track_id: str) -> bool:
        """Return whether a feature is stored, without reading it: it may be damaged."""
        return self._path(kind, track_id).is_file()

    def _path(self, kind: str, track_id: str) -> Path:
        safe = re.sub(r"[^\w.-]", lambda m: f"%{ord(m[0]):02x}", track_id)
        return self.folder / kind / f"{safe}.npy"


def _stored(path: Path) -> np.ndarray | None:
    """Return the feature in a file, or None where there is none."""
    try:
        return _decoded(atomic.unsealed(atomic.read(path, LARGEST_ENTRY), _name(path)))
    except Exception:  # a damaged file can raise anything
        return None


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _encoded(value: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    npy.write_array(buffer, value, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _decoded(content: bytes) -> np.ndarray:
    """Return the array in a file; raise any exception where it holds none."""
    buffer = io.BytesIO(content)
    if npy.read_magic(buffer) != (1, 0):
        raise ValueError("of another version")
    shape, fortran, dtype = npy.read_array_header_1_0(buffer)
    # Not `read_array`, which allocates whatever size the header claims.
    flat = np.frombuffer(content[buffer.tell() :], dtype).copy()
    return flat.reshape(shape, order="F" if fortran else "C")
