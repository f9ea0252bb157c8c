"""A library whose features are stored, as if `beet agfgenre` had analysed it."""

import sqlite3
from pathlib import Path

import numpy as np
from mediafile import MediaFile

from agf_core.audio import decode
from agf_core.bundle import format as bundle_format
from agf_core.inference.embeddings import EmbeddingStore
from agf_core.inference.prediction import Features, FileResult
from tests.stress.workplace import Workplace, write_noise

GENRES = ("Rock", "Classical")
TRACKS_OF_ARTIST = 6
WRONG_EVERY = 3  # track, which has the other genre
SECONDS = 1.2  # of each track
STORED = "embeddings.db"


def fill(place: Workplace, tracks: int) -> None:
    """Fill a library with tracks of two genres, a third of which have the other one's name."""
    rng = np.random.default_rng(0)
    sources = [place.home / f"noise-{number:04}.flac" for number in range(tracks)]
    for source in sources:
        write_noise(source, SECONDS, low=True, rng=rng)
    place.fill(
        sources,
        tracks,
        lambda number: [
            GENRES[(number // TRACKS_OF_ARTIST + (number % WRONG_EVERY == 0)) % len(GENRES)]
        ],
        lambda number: f"Artist {number // TRACKS_OF_ARTIST}",
    )
    for source in sources:
        source.unlink()
    store_features(place)


def right_genre(path: Path) -> int:
    """Return which genre a file sounds like: that of every second artist is the second."""
    return int(MediaFile(path).artist.split()[-1]) % len(GENRES)


def wrong(place: Workplace) -> list[Path]:
    """Return the files with another genre than they sound like."""
    genres = place.in_files()
    return [path for path, has in genres.items() if has != [GENRES[right_genre(path)]]]


def store_features(place: Workplace) -> None:
    """Store features of all files, as of the genre that each sounds like."""
    metadata, rng = bundle_format.load().metadata, np.random.default_rng(1)
    centres = rng.normal(size=(len(GENRES), 256))
    results = []
    for path in place.in_library():
        genre = right_genre(path)
        shares = np.full(len(metadata.labels), 0.1)
        shares[metadata.labels.index(GENRES[genre])] = len(shares)
        features = Features(
            (centres[genre] + 0.5 * rng.normal(size=256)).astype(np.float16),
            np.log(shares / shares.sum()).astype(np.float32),
            np.full(len(metadata.styles), 0.01, np.float32),
        )
        results.append(FileResult(path, features=features, key=decode.content_key(path)))
    store = EmbeddingStore(place.cache / STORED)
    store.add(bundle_format.load().model_id, results)
    store.close()
    assert not store.problem, store.problem


def stored(place: Workplace) -> int:
    """Return of how many tracks features are stored; check that their file is sound."""
    path = place.cache / STORED
    if not path.exists():
        return 0
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    store = EmbeddingStore(path)
    counts = store.counts()
    store.close()
    assert not store.problem, store.problem
    return sum(counts.values())
