"""Time of `beet agfaudit`, time and size of `beet agfmap`, and opening it in a headless browser.

python benchmarks/map.py [--tracks 20000]

The tracks are empty files in a library of their own, with generated embeddings: clusters of artists
within clusters of genres. The browser is Chromium, Chrome or Edge without a graphics card.
"""

import argparse
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from beets.library import Item, Library
from machine import cost, describe, make_home, run

from agf_core.bundle import format as bundle_format
from agf_core.inference.embeddings import EmbeddingStore
from agf_core.inference.prediction import Features, FileResult

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
from browser import started

TRACKS_PER_ARTIST = 10
PAN = """async () => {
    const canvas = document.getElementById("canvas"), took = [];
    const frame = () => new Promise(requestAnimationFrame);
    for (let i = 0; i < 20; i++) {
        const began = performance.now();
        canvas.dispatchEvent(new WheelEvent("wheel",
            { deltaY: i % 2 ? 40 : -40, clientX: 300, clientY: 300, cancelable: true }));
        await frame();
        took.push(performance.now() - began);
    }
    return took.sort((a, b) => a - b)[10];
}"""


def fill(home: Path, tracks: int) -> None:
    """Make a library of empty files, and store embeddings of them."""
    metadata, rng = bundle_format.load().metadata, np.random.default_rng(0)
    n_labels = len(metadata.labels)
    centres = rng.normal(size=(n_labels, 256))
    music = home / "music"
    music.mkdir()
    library, results = Library(str(home / "library.db"), str(music)), []
    with library.transaction():
        for i in range(tracks):
            if i % TRACKS_PER_ARTIST == 0:
                genre = int(rng.integers(n_labels))
                artist = centres[genre] + rng.normal(size=256)
            path = music / f"{i}.mp3"
            path.touch()
            name = f"Artist {i // TRACKS_PER_ARTIST}"
            item = Item(path=os.fsencode(path), artist=name, title=f"Title of track {i}")
            item.genres = [metadata.labels[genre]]
            library.add(item)
            shares = rng.dirichlet(0.1 + 3.0 * (np.arange(n_labels) == genre))
            logs = np.log(np.maximum(shares, 1e-6)).astype(np.float32)
            logs -= np.log(np.exp(logs).sum())
            features = Features(
                (artist + 0.7 * rng.normal(size=256)).astype(np.float16),
                logs,
                rng.dirichlet(np.full(len(metadata.styles), 0.05)).astype(np.float32),
            )
            results.append(FileResult(os.fsencode(path), features=features, key=f"{i:032x}"))
    store = EmbeddingStore(home / "cache" / "beets-agf" / "embeddings.db")
    store.add(bundle_format.load().model_id, results)
    store.close()


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tracks", type=int, default=20_000)
    tracks = parser.parse_args().tracks
    print(describe())
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        make_home(home)
        fill(home, tracks)
        os.environ |= {"BEETSDIR": str(home), "XDG_CACHE_HOME": str(home / "cache")}
        page = home / "map.html"
        draw = ("agfmap", "-o", str(page))
        for name, command in {
            "the audit": ("agfaudit",),
            "first map": draw,
            "the map again": draw,
        }.items():
            spent = cost(partial(run, home, *command))
            print(f"{name}: {spent[0]:.1f} s by the clock, {spent[1]:.1f} s of processor")
        print(f"page: {page.stat().st_size / 1e6:.1f} MB")
        with started() as browser:
            tab = browser.new_page(viewport={"width": 1200, "height": 700})
            began = time.monotonic()
            tab.goto(page.as_uri())
            tab.wait_for_selector("body[data-ready]")
            print(f"opened in {time.monotonic() - began:.1f} s")
            print(f"a frame while zooming, median: {tab.evaluate(PAN):.0f} ms")


if __name__ == "__main__":
    main()
