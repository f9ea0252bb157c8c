"""Collections that lie in folders: the development corpora, and music without genres.

    python -m training.datasets.folders development.csv --audio corpora --table collection.csv

reads tables of clips in repositories that were cloned into a folder, and writes them as one table
of `training.datasets.collection`, with a split for each fold.
"""

import argparse
import csv
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from agf_core.audio import decode
from agf_core.data.artist_names import fold_artist_name
from agf_core.data.tracks import Track
from agf_core.errors import CorpusError
from training.cli import one_line_errors
from training.datasets.collection import (
    Collection,
    read_weights,
    split_by_folds,
    split_cell,
    write_csv,
)
from training.errors import leave_to_the_sound

SHORTEST_MUSIC_SECONDS = 25.0  # games keep their sounds beside their music
AUDIO_SUFFIXES = {".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wv"}
COLUMNS = (
    "track_id",
    "repository",
    "file",
    "artist_key",
    "labels",
    "genre",
    "fold",
)


def read_tables(tables: Sequence[Path], audio: Path, name: str) -> Collection:
    """Read tables of clips as one collection, split by their folds.

    Parameters
    ----------
    tables : sequence of Path
        CSVs with at least the columns of `COLUMNS`; ``genre_weights`` may be there, too. Clips
        without a fold are in no test part. An artist's fold is that of the first clip.
    audio : Path
        Holds each repository as ``owner/name``.
    name : str
        Of the collection.

    Raises
    ------
    CorpusError
        When one cannot be read or lacks a column.
    """
    tracks: list[Track] = []
    for table in tables:
        try:
            with table.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise CorpusError(f"{table} cannot be read ({error}).") from error
        if missing := set(COLUMNS).difference(*rows[:1]):
            raise CorpusError(f"{table} lacks the columns {', '.join(sorted(missing))}; add them.")
        tracks += [
            Track(
                track_id=row["track_id"],
                path=audio / row["repository"] / row["file"],
                artist=fold_artist_name(row["artist_key"]) or row["track_id"],
                genre=row["genre"],
                labels=split_cell(row["labels"]),
                fold=int(row["fold"]) if row["fold"] else None,
                source=row["repository"],
                genre_weights=read_weights(row.get("genre_weights", "")),
            )
            for row in rows
        ]
    of_artist: dict[str, int | None] = {}  # tables may spell an artist in two ways
    for track in tracks:
        of_artist.setdefault(track.artist, track.fold)
    tracks = [replace(track, fold=of_artist[track.artist]) for track in tracks]
    return Collection(name, tuple(tracks), split_by_folds(tracks))


def read_folder(folder: Path) -> list[Track]:
    """Return the music below a folder, without genres; a file of several names once.

    Files of less than 25 s, and those that hold no sound, are left out.
    Each track's source is the name of the folder directly below `folder` that it lies in.

    Raises
    ------
    CorpusError
        When there is none.
    RunError
        When a file cannot be read for another reason than its sound.
    """
    tracks = []
    seen = set()
    for path in tqdm(sorted(folder.rglob("*")), desc="music", unit="file", delay=1.0):
        if path.suffix.lower() not in AUDIO_SUFFIXES or not path.is_file():
            continue
        status = path.stat()
        file = (status.st_dev, status.st_ino)  # the same through links
        if file not in seen and _is_long(path):
            seen.add(file)
            name = path.relative_to(folder)
            digest = hashlib.sha256(name.as_posix().encode()).hexdigest()[:16]
            tracks.append(Track(f"unlabelled-{digest}", path, artist="", source=name.parts[0]))
    if not tracks:
        raise CorpusError(f"{folder} has no music; give a folder of audio files")
    return tracks


def _is_long(path: Path) -> bool:
    try:
        duration = decode.read(path, seconds=1.0).duration
    except decode.AudioError as error:
        leave_to_the_sound(error)
        return False
    return duration is None or duration >= SHORTEST_MUSIC_SECONDS


def genres_of(tracks: Sequence[Track]) -> tuple[str, ...]:
    """Return the main genres that occur, in alphabetical order."""
    return tuple(sorted({t.genre for t in tracks if t.genre}))


@one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tables", type=Path, nargs="+", help="CSVs of the clips")
    parser.add_argument("--audio", type=Path, required=True, help="folder of owner/repository")
    parser.add_argument("--table", type=Path, required=True, help="CSV to write")
    arguments = parser.parse_args()
    collection = read_tables(arguments.tables, arguments.audio, arguments.table.stem)
    write_csv(collection, arguments.table)
    print(collection.summary())


if __name__ == "__main__":
    main()
