"""The development corpora: a table of clips and the folder their repositories were cloned into."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from agf_core import audio
from agf_core.artist_groups import Observations
from agf_core.cache import FeatureCache
from agf_core.corpus import Track
from agf_core.descriptors import extract, possible_sources
from agf_core.spectrogram import InputSpec, log_mel

COLUMNS = (
    "track_id",
    "repository",
    "file",
    "artist_key",
    "labels",
    "genre",
    "fold",
)


def read_table(table: Path, audio_root: Path) -> list[Track]:
    """Read a table of clips.

    Parameters
    ----------
    table : Path
        A CSV with at least the columns of `COLUMNS`.
    audio_root : Path
        Holds each repository as ``owner/name``.

    Raises
    ------
    ValueError
        When a column is missing or an artist stands in two folds.
    """
    with table.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = set(COLUMNS) - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{table} lacks the columns {', '.join(sorted(missing))}")
        tracks = [
            Track(
                track_id=row["track_id"],
                path=audio_root / row["repository"] / row["file"],
                artist=row["artist_key"],
                genre=row["genre"],
                labels=tuple(label for label in row["labels"].split("; ") if label),
                fold=int(row["fold"]),
                source=row["repository"],
            )
            for row in reader
        ]
    folds = Counter(artist for artist, _ in {(t.artist, t.fold) for t in tracks})
    split = [artist for artist, count in folds.items() if count > 1]
    if split:
        raise ValueError(f"{table} has artists in several folds: {', '.join(sorted(split)[:5])}")
    return tracks


def genres_of(tracks: Sequence[Track]) -> tuple[str, ...]:
    """Return the main genres that occur, in alphabetical order."""
    return tuple(sorted({t.genre for t in tracks if t.genre}))


def spectrograms(
    tracks: Sequence[Track], spec: InputSpec, cache: FeatureCache
) -> tuple[list[Track], list[np.ndarray]]:
    """Log-mel of every track, in half precision; clips that cannot be read are named and left out.

    Returns
    -------
    tracks : list of Track
        Those that could be read.
    spectrograms : list of np.ndarray [shape=(frames, n_mels), dtype=float16]
    """
    sizes = (spec.sample_rate, spec.n_fft, spec.hop_length, spec.n_mels, spec.fmin, spec.fmax)
    kind = "-".join(["logmel", *(f"{size:g}" for size in sizes)])
    readable, result = [], []
    for track in tqdm(tracks, desc="log-mel", unit="clip"):

        def compute(track: Track = track) -> np.ndarray:
            clip = audio.read(track.path, sample_rate=spec.sample_rate)
            return log_mel(clip.samples, spec).astype(np.float16)

        try:
            result.append(cache.get(kind, track.track_id, compute))
        except audio.AudioError as error:
            tqdm.write(f"left out: {error}")
            continue
        readable.append(track)
    return readable, result


def describe(
    tracks: Sequence[Track],
    sources: str,
    cache: FeatureCache,
    *,
    fmax: float,
    processes: int | None = None,
) -> dict[str, Observations]:
    """What artist groups are made of: per source, an item for every track.

    A source that cannot be had here is named and left out; task g has no groups.

    Parameters
    ----------
    sources : str
        Letters.
    fmax : float
        Where the mel bands of MFCCs end, hertz.
    processes : int, optional
        At a time; by default one per core.
    """
    possible, left_out = possible_sources(sources.replace("g", ""))
    if left_out:
        print(left_out)
    return {
        source: [track.labels for track in tracks]
        if source == "s"
        else extract(tracks, source, cache, fmax=fmax, processes=processes)
        for source in possible
    }
