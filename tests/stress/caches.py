"""Damages what is kept of music between two `beet agftrain`, and asks for it again.

python -m tests.stress.caches [--files 500] [--seed 0]

One after the other, a file of the cache (which sound a file holds, spectrograms, features, MFCCs)
is cut off, changed, blanked, exchanged with another, missing, a folder, a pipe, a link elsewhere, a
pickle that would run code, an archive, an array of another shape or dtype or of NaN, or one that
says it is of absurd size; in half of the cases with its checksum made right again, as somebody
would who means harm. All that is kept must then be what it was, or be refused in one line; with a
right checksum it may be other numbers, but finite ones of the same shape and dtype. No code in it
may run, and nothing outside the cache may change.
"""

import argparse
import io
import os
import pickle
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.lib import format as npy

from agf_core.bundle import format as bundle_format
from agf_core.errors import CacheError
from agf_core.features import descriptors, spectrogram_cache
from agf_core.features.cache import FeatureCache
from agf_core.features.spectrogram_cache import CachedSpectrograms
from agf_core.finetune.frozen_features import frozen_features
from agf_core.train.export import network_from_bundle
from agf_core.utils import atomic
from tests.stress.damage import blank, cut, empty, exaggerate, flip, flip_head, shuffle
from tests.stress.training import small_model
from tests.stress.workplace import versions, write_noise

SOUNDS = 6
SECONDS = 1.5


class _Code:
    """What a pickle would run."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable, tuple]:
        return os.mkdir, (os.fspath(self.trace),)


def _saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def _absurd(rng: random.Random) -> bytes:
    """Return an array that says it is far larger than its file."""
    buffer = io.BytesIO()
    shape = rng.choice(((2**40, 32), (2**62, 2**62), (-1, 32), (10**30,), (0, 2**62)))
    npy.write_array_header_1_0(buffer, {"descr": "<f2", "fortran_order": False, "shape": shape})
    return buffer.getvalue() + bytes(1000)


def _header(text: bytes) -> bytes:
    """Return a file with anything where the description of the array stands."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def contents(array: np.ndarray, trace: Path, rng: random.Random) -> dict[str, bytes]:
    """Return what may stand in a file instead of an array."""
    archive = io.BytesIO()
    np.savez(archive, array)
    nothing = np.array(array)
    if nothing.dtype.kind == "f":
        nothing[rng.randrange(len(nothing))] = rng.choice((np.nan, np.inf))
    return {
        "pickle": pickle.dumps(_Code(trace)),
        "array of objects": _saved(np.array([_Code(trace)], object)),
        "archive": archive.getvalue(),
        "NaN": _saved(nothing),
        "other shape": _saved(array[:1]),
        "other columns": _saved(array[..., :-1]),
        "one row of all": _saved(array.ravel()),
        "other dtype": _saved(array.astype(rng.choice(("f8", "i2", "c8", "U4", "bool", "S3")))),
        "absurd size": _absurd(rng),
        "header without end": _header(b"(" * 9000),
        "header of nonsense": _header(rng.randbytes(80)),
        "header that would run": _header(b"__import__('os').mkdir('%b')" % os.fsencode(trace)),
        "none": _saved(array[:0]),
    }


def damage(path: Path, others: list[Path], elsewhere: Path, rng: random.Random) -> str:
    """Damage a file of the cache; return how."""
    stored = np.load(path)
    trace = elsewhere / "code has run"
    instead = contents(stored, trace, rng)
    bytewise = (blank, cut, empty, exaggerate, flip, flip_head, shuffle)
    strange = ("missing", "folder", "pipe", "link", "endless", "huge", "exchanged")
    how = rng.choice((*bytewise, *instead, *strange))
    if callable(how):
        path.write_bytes(how(bytearray(path.read_bytes()), b"", rng))
        return how.__name__
    if how in instead:
        path.write_bytes(instead[how])
        return how
    if how == "exchanged":
        other = rng.choice([other for other in others if other.parent == path.parent])
        content = path.read_bytes()
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)
        return how
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "link":
        path.symlink_to(elsewhere / "outside")
    elif how == "endless":
        path.symlink_to("/dev/zero")
    elif how == "huge":
        path.touch()
        os.truncate(path, 2**40)
    return how


def seal(path: Path) -> None:
    """Make the checksum right again, if there is a file to have one."""
    if path.is_file() and not path.is_symlink() and path.stat().st_size < 2**30:
        content = path.read_bytes()
        size = -32 if len(content) > 32 else None
        path.write_bytes(atomic.sealed(content[:size], f"{path.parent.name}/{path.name}"))


class Memory:
    """Sounds, and all that is kept of them."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        self.model = bundle_format.load(small_model(folder))
        self.network = network_from_bundle(self.model)
        self.cache = FeatureCache(folder / "cache")
        self.paths = [folder / f"{number}.flac" for number in range(SOUNDS)]
        for number, path in enumerate(self.paths):
            write_noise(path, SECONDS, low=number % 2 == 0, rng=rng)
        self.kept = self.ask()
        self.files = sorted(self.cache.folder.rglob("*.npy"))

    def ask(self) -> dict[str, list[np.ndarray]]:
        """Return all that is kept, made again where needed."""
        spec = self.model.metadata.input
        for path in self.paths:
            spectrogram_cache._analyse(self.cache, spec, (spectrogram_cache._file_id(path), path))
        keys = [
            spectrogram_cache._stored_key(self.cache, spectrogram_cache._file_id(path))
            for path in self.paths
        ]
        spectrograms = CachedSpectrograms(keys, spec, self.cache)
        features = frozen_features(self.model, self.network, spectrograms)
        for key, path in zip(keys, self.paths, strict=True):
            descriptors.describe_track(self.cache, "m", (key, path), fmax=22_050)
        kind = descriptors.kind_of("m", fmax=22_050)
        described = descriptors.Stored(self.cache, kind, keys, "m")
        return {
            "spectrograms": list(spectrograms),
            "features": list(features.rows.numpy().reshape(SOUNDS, -1)),
            "MFCCs": list(described),
        }


def _same(one: dict[str, list[np.ndarray]], other: dict[str, list[np.ndarray]]) -> bool:
    return all(
        np.array_equal(a, b) for kind in one for a, b in zip(one[kind], other[kind], strict=True)
    )


def run(files: int, seed: int) -> Counter[str]:
    """Do all of it; `AssertionError` says what was wrong."""
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    with TemporaryDirectory() as scratch:
        elsewhere = Path(scratch, "elsewhere")
        elsewhere.mkdir()
        (elsewhere / "outside").write_bytes(b"outside")
        memory = Memory(Path(scratch))
        copy = Path(scratch, "copy")
        shutil.copytree(memory.cache.folder, copy)
        for number in range(files):
            path = memory.files[number % len(memory.files)]
            how = damage(path, memory.files, elsewhere, rng)
            sealed = number // len(memory.files) % 2 == 1
            if sealed:
                seal(path)
            start = time.monotonic()
            try:
                now = memory.ask()
                outcome = "the same" if _same(now, memory.kept) else "taken for true"
            except CacheError as error:
                now, outcome = {}, "refused"
                if how != "folder":  # whatever is a file can be replaced
                    raise AssertionError(how) from error
            assert time.monotonic() - start < 60, f"{how} took too long"
            assert [p.name for p in elsewhere.iterdir()] == ["outside"], f"{how} has run code"
            assert (elsewhere / "outside").read_bytes() == b"outside"
            assert outcome != "taken for true" or sealed, f"{how} of {path.parent.name}"
            for kind, arrays in now.items():
                for array, before in zip(arrays, memory.kept[kind], strict=True):
                    assert array.dtype == before.dtype, f"{how}: {kind} of {array.dtype}"
                    assert array.shape[1:] == before.shape[1:], f"{how}: {kind} of {array.shape}"
                    assert np.isfinite(array).all(), f"{how}: {kind} holds no numbers"
            counts[outcome + ", checksum made right" * sealed] += 1
            shutil.rmtree(memory.cache.folder)
            shutil.copytree(copy, memory.cache.folder)
    return counts


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    counts = run(**vars(parser.parse_args()))
    print(versions())
    for outcome, count in counts.most_common():
        print(f"{count:7} {outcome}")


if __name__ == "__main__":
    main()
