"""The development corpora: a table of clips and the folder their repositories were cloned into.

Beside them, any folder of music of which nothing is known can be learnt from, with teachers.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from agf_core import audio
from agf_core.artist_groups import Observations
from agf_core.cache import FeatureCache
from agf_core.corpus import CorpusError, Track
from agf_core.descriptors import extract, possible_sources
from agf_core.spectrogram import InputSpec, log_mel
from training import teacher
from training.recipes import Recipe
from training.variants import samples_of

LONGEST = 90.0  # seconds of a track, from its middle, that are learnt from
SHORTEST = 25.0  # seconds of a file that is taken for music; games keep their sounds beside it
UNLABELLED = {".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wv"}
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
    CorpusError
        When it cannot be read, lacks a column, or has an artist in two folds.
    """
    try:
        file = table.open(newline="", encoding="utf-8")
    except OSError as error:
        raise CorpusError(f"{table} cannot be read: {error.strerror}") from error
    with file:
        reader = csv.DictReader(file)
        missing = set(COLUMNS) - set(reader.fieldnames or ())
        if missing:
            raise CorpusError(f"{table} lacks the columns {', '.join(sorted(missing))}")
        tracks = [
            Track(
                track_id=row["track_id"],
                path=audio_root / row["repository"] / row["file"],
                artist=row["artist_key"],
                genre=row["genre"],
                labels=tuple(label for label in row["labels"].split("; ") if label),
                fold=int(row["fold"]),
                source=row["repository"],
                genre_weights=_weights(row.get("genre_weights") or ""),
            )
            for row in reader
        ]
    folds = Counter(artist for artist, _ in {(t.artist, t.fold) for t in tracks})
    split = [artist for artist, count in folds.items() if count > 1]
    if split:
        raise CorpusError(f"{table} has artists in several folds: {', '.join(sorted(split)[:5])}")
    return tracks


def read_folder(folder: Path) -> list[Track]:
    """Return the music below a folder, of which nothing is known; a file of several names once.

    Files of less than 25 s, and such as cannot be read, are left out.
    Each track's source is the name of the folder directly below `folder` that it lies in.

    Raises
    ------
    CorpusError
        When there is none.
    """
    tracks = []
    met = set()
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in UNLABELLED or not path.is_file():
            continue
        status = path.stat()
        file = (status.st_dev, status.st_ino)  # the same through links
        if file not in met and _is_long(path):
            met.add(file)
            name = path.relative_to(folder)
            digest = hashlib.sha256(name.as_posix().encode()).hexdigest()[:16]
            tracks.append(Track(f"unlabelled-{digest}", path, artist="", source=name.parts[0]))
    if not tracks:
        raise CorpusError(f"there is no music in {folder}")
    return tracks


def _is_long(path: Path) -> bool:
    try:
        duration = audio.read(path, seconds=1.0).duration
    except audio.AudioError:
        return False
    return duration is None or duration >= SHORTEST


def _weights(text: str) -> tuple[tuple[str, float], ...]:
    """Read ``Pop=0.5; Rock=0.5``."""
    parts = [part.rpartition("=") for part in text.split("; ") if part]
    return tuple((genre, float(weight)) for genre, _, weight in parts)


def genres_of(tracks: Sequence[Track]) -> tuple[str, ...]:
    """Return the main genres that occur, in alphabetical order."""
    return tuple(sorted({t.genre for t in tracks if t.genre}))


def spectrogram_kind(spec: InputSpec) -> str:
    """Return the kind under which log-mel spectrograms of whole clips are in the cache."""
    sizes = (spec.sample_rate, spec.n_fft, spec.hop_length, spec.n_mels, spec.fmin, spec.fmax)
    return "-".join(["logmel", *(f"{size:g}" for size in sizes)])


def spectrogram(track: Track, spec: InputSpec, cache: FeatureCache) -> np.ndarray:
    """Log-mel of a clip, in half precision, (frames, n_mels); `AudioError` if it has none."""

    def compute() -> np.ndarray:
        samples = samples_of(track, LONGEST, spec.sample_rate)
        return log_mel(samples, spec).astype(np.float16)

    return cache.get(spectrogram_kind(spec), track.track_id, compute)


def spectrograms(
    tracks: Sequence[Track], spec: InputSpec, cache: FeatureCache
) -> tuple[list[Track], list[np.ndarray]]:
    """Log-mel of every track, in half precision.

    Clips that cannot be read are named and left out, as are those of less than one segment: some
    variants are no longer than what is mixed into them.

    Returns
    -------
    tracks : list of Track
        Those that are left.
    spectrograms : list of np.ndarray [shape=(frames, n_mels), dtype=float16]
    """
    usable, result = [], []
    for track in tqdm(tracks, desc="log-mel", unit="clip"):
        try:
            rows = spectrogram(track, spec, cache)
        except audio.AudioError as error:
            tqdm.write(f"left out: {error}")
            continue
        if len(rows) < spec.segment_frames:
            tqdm.write(f"left out: {track.track_id} is shorter than a segment")
            continue
        usable.append(track)
        result.append(rows)
    return usable, result


def describe(
    tracks: Sequence[Track],
    sources: str,
    cache: FeatureCache,
    *,
    fmax: float,
    processes: int | None = None,
) -> dict[str, Observations]:
    """What artist groups are made of: per source, an item for every track.

    A source that cannot be had here is named and left out; task g has no groups. Of task t it is
    what the teachers have heard.

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
    described: dict[str, Observations] = {}
    for source in possible:
        if source == "s":
            described[source] = [track.labels for track in tracks]
        elif source == teacher.TASK:
            described[source] = teacher.heard(tracks, cache)
        else:
            described[source] = extract(tracks, source, cache, fmax=fmax, processes=processes)
    return described


def music_for(recipe: Recipe, folder: Path | None) -> list[Track]:
    """Return the music without genres that a recipe wants, if it wants any.

    Parameters
    ----------
    folder : Path, optional
        See `read_folder`.

    Raises
    ------
    CorpusError
        When there is none.
    """
    if recipe.foundation is None and not recipe.variants:
        return []
    if folder is None:
        raise CorpusError(f"the recipe {recipe.name} wants music without genres: --unlabelled")
    return read_folder(folder)
