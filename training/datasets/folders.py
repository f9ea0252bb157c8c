"""The development corpora: a table of clips and the folder their repositories were cloned into.

Beside them, any folder of music of which nothing is known can be learnt from, with teachers.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from agf_core.audio import decode
from agf_core.data.tracks import Track
from agf_core.errors import CorpusError
from training.recipes import Recipe

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
        duration = decode.read(path, seconds=1.0).duration
    except decode.AudioError:
        return False
    return duration is None or duration >= SHORTEST


def _weights(text: str) -> tuple[tuple[str, float], ...]:
    """Read ``Pop=0.5; Rock=0.5``."""
    parts = [part.rpartition("=") for part in text.split("; ") if part]
    return tuple((genre, float(weight)) for genre, _, weight in parts)


def genres_of(tracks: Sequence[Track]) -> tuple[str, ...]:
    """Return the main genres that occur, in alphabetical order."""
    return tuple(sorted({t.genre for t in tracks if t.genre}))


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
