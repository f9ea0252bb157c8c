"""Spectrograms of excerpts of many tracks, each computed once and cached.

The key is the audio itself (`agf_core.audio.decode.content_key`): entries stay valid when tags or
names change, and of two files with the same audio only one is analysed. The content key of a file
is cached as well, until its size or modification time changes.

Files are analysed in worker processes, see `agf_core.utils.workers`: a file that crashes the
decoder is reported, and the others go on.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from agf_core.audio import decode
from agf_core.errors import naming, why_not_opened
from agf_core.features.cache import FeatureCache
from agf_core.features.preprocessing import load_log_mel
from agf_core.features.spectrogram import InputSpec
from agf_core.utils.lazy import OnDemand
from agf_core.utils.workers import in_processes, processes_for

KEY_KIND = "content-key"


class CachedSpectrograms(OnDemand[np.ndarray]):
    """Spectrograms in a cache, each read on access: a corpus need not fit in memory.

    Items are np.ndarray [shape=(frames, n_mels), dtype=float16], decibels, of at least one segment:
    a shorter excerpt is repeated, as in a prediction.

    Parameters
    ----------
    keys : sequence of str
        Content keys of tracks that have been analysed.
    """

    def __init__(self, keys: Sequence[str], spec: InputSpec, cache: FeatureCache) -> None:
        self.keys, self.cache, self.kind = keys, cache, _kind(spec)
        self.fits = partial(_fits, spec)

    def __len__(self) -> int:
        return len(self.keys)

    def item(self, index: int) -> np.ndarray:
        """Return the spectrogram of one track."""
        return self.cache.stored(self.kind, self.keys[index], self.fits)


def cache_spectrograms(
    paths: Sequence[Path], spec: InputSpec, cache: FeatureCache, *, processes: int | None = None
) -> Iterator[tuple[Path, str, str]]:
    """Put the spectrogram of the excerpt of every file into the cache.

    Parameters
    ----------
    processes : int, optional
        Number of worker processes; by default one per core.

    Yields
    ------
    path, key, error
        The content key, or a sentence on why there is none. Files whose spectrogram is in the cache
        come first.
    """
    kind = _kind(spec)
    wanted = []
    for path in paths:
        try:
            file = _file_id(path)
            key = _stored_key(cache, file)
        except OSError as problem:
            yield path, "", why_not_opened(path, problem)
            continue
        except KeyError:
            wanted.append((file, path))
            continue
        try:
            cache.stored(kind, key, partial(_fits, spec))
            yield path, key, ""
        except KeyError:
            wanted.append((file, path))
    n_processes = processes_for(processes, len(wanted))
    for (file, path), error in in_processes(partial(_analyse, cache, spec), wanted, n_processes):
        if error:
            yield path, "", naming(path, error)
        else:
            yield path, _stored_key(cache, file), ""


def _analyse(cache: FeatureCache, spec: InputSpec, job: tuple[str, Path]) -> None:
    """Put the key and the spectrogram of a file into the cache."""
    file, path = job

    def identify() -> np.ndarray:
        return np.frombuffer(decode.content_key(path).encode(), np.uint8)

    def compute() -> np.ndarray:
        rows = load_log_mel(path, spec)[0].astype(np.float16)
        return np.tile(rows, (-(-spec.segment_frames // len(rows)), 1))

    key = cache.get(KEY_KIND, file, identify, _is_key).tobytes().decode()
    cache.get(_kind(spec), key, compute, partial(_fits, spec))


def _stored_key(cache: FeatureCache, file: str) -> str:
    return cache.stored(KEY_KIND, file, _is_key).tobytes().decode()


def _is_key(stored: np.ndarray) -> bool:
    return stored.dtype == np.uint8 and re.fullmatch(rb"[0-9a-f]{32}", stored.tobytes()) is not None


def _fits(spec: InputSpec, stored: np.ndarray) -> bool:
    """Whether an array can be the spectrogram of an excerpt."""
    return (
        stored.dtype == np.float16
        and stored.ndim == 2
        and spec.segment_frames <= len(stored)
        and stored.shape[1] == spec.n_mels
        and bool(np.isfinite(stored).all())
    )


def _file_id(path: Path) -> str:
    """Return an identity of a file that changes when the file does."""
    status = path.stat()
    facts = f"{os.fspath(path)}\0{status.st_size}\0{status.st_mtime_ns}"
    return hashlib.sha256(os.fsencode(facts)).hexdigest()[:32]


def _kind(spec: InputSpec) -> str:
    what = {name: size for name, size in spec.to_dict().items() if name != "window_hop"}
    return "-".join(["excerpt", *(f"{size:g}" for size in what.values())])
