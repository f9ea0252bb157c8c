"""A library of generated music to train on, and short settings of `beet agftrain --deep`."""

import os
from pathlib import Path

import numpy as np
from beets import ui
from beets.library import Item
from sounds import coloured_noise, write_wav

from agf_core.finetune.config import FineTuneConfig
from agf_core.train.config import TrainConfig

RATE = 8_000  # hertz
PLAN = FineTuneConfig(
    networks=TrainConfig(epochs=4, batch_size=8, learning_rate=3e-3, validate_every=2),
    transfer=TrainConfig(epochs=20, batch_size=8, learning_rate=3e-3, validate_every=5),
    folds=3,
)


def add(library, title, genre, artist, seed, **fields) -> Item:
    """Add a track of noise: low for names that begin with L, white with M, high otherwise."""
    kind = title[0] if title[0] in "LM" else "H"
    noise = coloured_noise(kind, 2 * RATE, np.random.default_rng(seed))
    path = Path(os.fsdecode(library.lib.directory)) / f"{title}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(path, noise, RATE)
    item = Item.from_path(os.fsencode(path))
    item.update({"title": title, "artist": artist, "genres": [genre] if genre else [], **fields})
    library.lib.add(item)
    return item


def fill(library, n=24, low="Блюз", high="🎹"):
    """Add low and high tracks, two by each artist, in genres the model to begin with lacks."""
    for i in range(n):
        kind, genre = ("L", low) if i % 2 else ("H", high)
        add(library, f"{kind}{i}", genre, f"Artist {i // 4} {kind}", i)


def everything(library) -> dict[str, bytes]:
    """Return all files below the library's home but the log and the cache."""
    home = Path(os.fsdecode(library.lib.directory)).parent
    return {
        str(path): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and "cache" not in path.parts
    }


def train(library, *options) -> int:
    """Run `beet agftrain` and return its exit status; what makes it fail is in the log."""
    try:
        library.beet("agftrain", *options)
    except SystemExit as exit_:
        return exit_.code
    except ui.UserError as error:
        library.log.lines.append(str(error))
        return 1
    return 0


def models(library) -> Path:
    return Path(os.fsdecode(library.lib.directory)).parent / "agfgenre"
