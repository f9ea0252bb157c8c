"""The process that `tests.stress.store` ends."""

import os
import sys
from pathlib import Path

import numpy as np

from agf_core.inference.embeddings import EmbeddingStore
from agf_core.inference.prediction import Features, FileResult
from agf_core.utils.file_identity import file_identity

BATCH = 16  # tracks
MODEL, OTHER = "kept-1", "removed-1"
N_BASE = 14


def track(folder: Path, number: int) -> FileResult:
    """Return what a model makes of a file, all of it given by the number."""
    path = folder / f"{number}.mp3"
    if not path.exists():
        path.touch()
    rng = np.random.default_rng(number)
    features = Features(
        rng.normal(size=256).astype(np.float16),
        np.log(rng.dirichlet(np.ones(N_BASE))),
        rng.random(84).astype(np.float32),
    )
    return FileResult(path, features=features, key=f"{number:032x}")


def write(folder: Path, first: int) -> None:
    """Store tracks from a number on, print each number when it is stored, and never end."""
    store = EmbeddingStore(folder / "embeddings.db")
    while not store.problem:
        batch = [track(folder, number) for number in range(first, first + BATCH)]
        store.add(MODEL, batch)
        moved = Path(batch[0].path)
        before = file_identity(moved)
        os.utime(moved, (first, first))
        store.follow({moved: before})
        first += BATCH
        if not store.problem:
            print(first, flush=True)
        store.add(OTHER, batch)
        store.remove([OTHER])
    sys.exit(store.problem)


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
