"""Peak memory of `beet agftrain` on a library of 10,000 analysed tracks.

python benchmarks/fine_tuning_memory.py [--tracks 10000] [--folder DIR]

The library's files are empty, and the plugin's cache of their features is random (3.6 GB, in a
temporary folder), so that nothing is analysed. What takes time and no memory is cut short: the
networks are trained for one epoch, and features of the trained networks are made of every
twentieth track and copied for the others. All arrays are as large as they would be.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from beets.library import Item, Library
from machine import describe

from agf_core.bundle import format as bundle_format
from agf_core.features import spectrogram_cache
from agf_core.features.cache import FeatureCache

SOUNDS = 32
GENRES = ("Rumble", "Hiss", "Drone", "Chirp")
COMPUTED = 20  # one track in so many

SHORTENED = f"""
import sys
from dataclasses import replace
from functools import partial

import numpy as np
from beets.ui import main

from agf_core.finetune import finetuner
from agf_core.train.dataset import FeatureDataset
from beetsplug.agfgenre.train import run

whole = finetuner.extract_features


def extract_features(networks, segments, **options):
    made = whole(networks, segments.subset(np.arange(0, len(segments), {COMPUTED})), **options)
    parts = [made.windows(i).numpy() for i in range(len(made))]
    return FeatureDataset([parts[i // {COMPUTED}].copy() for i in range(len(segments))])


config = finetuner.FineTuneConfig()
short = replace(config, networks=replace(config.networks, epochs=1, validate_every=1))
finetuner.extract_features = extract_features
run.FineTuneConfig = partial(replace, short)
main(sys.argv[1:])
"""


def fill(home: Path, tracks: int) -> dict[str, str]:
    """Make a library and a full cache; return the environment to run beets in."""
    model = bundle_format.load()
    spec = model.metadata.input
    cache = FeatureCache(home / "cache" / "beets-agf" / "features")
    rng = np.random.default_rng(0)
    frames = 1 + int(spec.excerpt_seconds * spec.sample_rate) // spec.hop_length
    n_features = 256 * sum(map(len, model.metadata.architecture["networks"]))
    shapes = {
        spectrogram_cache._kind(spec): (frames, spec.n_mels),
        f"features-{model.model_id}": (frames // spec.segment_frames, n_features),
    }
    sounds = [
        {k: rng.normal(i % len(GENRES), 1, s).astype(np.float16) for k, s in shapes.items()}
        for i in range(SOUNDS)
    ]
    music = home / "music"
    music.mkdir()
    library = Library(str(home / "library.db"), str(music))
    with library.transaction():
        for i in range(tracks):
            path, key = music / f"{i}.mp3", f"{i:032x}"
            path.touch()
            for kind, values in sounds[i % SOUNDS].items():
                cache.get(kind, key, lambda values=values: values)
            name = np.frombuffer(key.encode(), np.uint8)
            cache.get(
                spectrogram_cache.KEY_KIND, spectrogram_cache._file_id(path), lambda name=name: name
            )
            genre, artist = GENRES[i % len(GENRES)], f"Artist {i % (tracks // 4)}"
            library.add(Item(path=os.fsencode(path), title=str(i), artist=artist, genres=[genre]))
    (home / "config.yaml").write_text(
        f"directory: {music}\nlibrary: {home}/library.db\nplugins: agfgenre\n"
    )
    return os.environ | {"BEETSDIR": str(home), "XDG_CACHE_HOME": str(home / "cache")}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tracks", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="for the library while it runs")
    arguments = parser.parse_args()
    print(f"{describe()}; {arguments.tracks} tracks", flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        environment = fill(Path(folder).resolve(), arguments.tracks)
        command = [sys.executable, "-c", SHORTENED, "agftrain"]
        status = subprocess.run(command, env=environment, check=False).returncode
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # GiB, on Linux
    print(f"exit {status}; peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main()
