"""FMA, the Free Music Archive dataset, as a collection.

    python -m training.datasets.fma fma --subset medium --table fma-medium.csv

reads what `training.datasets.fma_download` has put into the folder ``fma``, checks every clip,
prints what there is and what is left out, and writes the rest as a table (see
`training.datasets.collection`).

The layout is that of the archives: ``fma_metadata/tracks.csv``, ``fma_metadata/genres.csv``, and
clips such as ``fma_medium/000/000002.mp3``. Source: Defferrard et al., "FMA: A Dataset for Music
Analysis", ISMIR 2017; its metadata is licensed CC BY 4.0 (see ``data/README.md`` beside this file).
"""

import argparse
import csv
import gzip
import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path

from agf_core.audio.decode import shown
from agf_core.constants import SHORTEST_SECONDS
from agf_core.data.tracks import Track
from training.cli import one_line_errors, positive
from training.datasets.collection import Collection, artist_key, sift, write_csv
from training.errors import CollectionError

SUBSETS = ("small", "medium", "large", "full")
"""Each holds those before it: clips of 30 s. In full are the tracks of large, untrimmed."""

FULL = SUBSETS[-1]
MEDIUM = SUBSETS[:2]  # subsets of medium's tracks in tracks.csv: the smallest that has them
PARTS = {"training": "train", "validation": "valid", "test": "test"}
SPLITS = ("official", "random", "album", "date")
SPLITS_FILE = Path(__file__).parent / "data" / "fma_medium_splits.csv.gz"

SHORTEST_CLIP_SECONDS = 29.0  # clips have 30, but for some cut by a wrong length in the archive
WITHOUT_AUDIO = ("99134", "108925", "133297")  # ids of clips that hold no sound at all

# The columns of tracks.csv that are read, by its first two header rows.
ALBUM, ARTIST, ARTIST_NAME = ("album", "id"), ("artist", "id"), ("artist", "name")
SPLIT, SUBSET = ("set", "split"), ("set", "subset")
GENRE, GENRES = ("track", "genre_top"), ("track", "genres_all")
COLUMNS = (ALBUM, ARTIST, ARTIST_NAME, SPLIT, SUBSET, GENRE, GENRES)
HEADER_ROWS = 3

LONGEST_CELL = 2**31 - 1  # characters; some biographies pass Python's own limit


def read(root: Path, subset: str = "medium") -> Collection:
    """Read the tracks of a subset.

    The keys of tracks, artists and albums are FMA's ids (``"2"``). `Track.genre` is the top
    genre, empty on many tracks of large, and `Track.labels` are all genres, with those above them
    in FMA's tree. The split official is FMA's own, of all tracks; the others divide FMA-medium, and
    tracks outside of that are in no part of them. Clips known to hold no sound are left out;
    `training.datasets.collection.sift` finds those that are too short.

    Parameters
    ----------
    root : Path
        Holds ``fma_metadata`` and the clips of the subset or of a larger one.
    subset : str
        One of `SUBSETS`.

    Raises
    ------
    CollectionError
        When metadata or clips are missing or not those that were published.
    """
    if subset not in SUBSETS:
        raise ValueError(f"{subset} is none of {', '.join(SUBSETS)}")
    table = root / "fma_metadata" / "tracks.csv"
    titles, tops = read_genres(table.with_name("genres.csv"))
    published = read_splits()
    wanted = SUBSETS[: SUBSETS.index(subset) + 1]
    folder = _folder(root, subset)
    tracks, ids = [], set()
    names: dict[str, str] = {}
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    for track_id, row in _rows(table):
        ids.add(track_id)
        known = published.get(track_id, {})
        if bool(known) != (row[SUBSET] in MEDIUM):
            raise _odd(table, f"track {track_id} should {'' if known else 'not '}be in medium")
        if row[SUBSET] not in wanted:
            continue
        genre, official, labels = _checked(table, track_id, row, titles, tops)
        if known and (genre, official) != (known["genre_top"], known["official"]):
            should = f"{known['genre_top']} and in {known['official']}"
            raise _odd(table, f"track {track_id} should be {should}")
        path = folder / _clip(track_id)
        artist = artist_key(row[ARTIST], row[ARTIST_NAME])
        tracks.append(Track(track_id, path, artist, genre, labels, source="fma", album=row[ALBUM]))
        if artist:
            names[artist] = row[ARTIST_NAME]
        splits["official"].append(official)
        for split in SPLITS[1:]:
            splits[split].append(known.get(split, ""))
    _check_clips(folder, tracks, ids, table)
    parts = {split: tuple(values) for split, values in splits.items()}
    collection = Collection(
        f"fma-{subset}", tuple(tracks), parts, names, shortest=SHORTEST_CLIP_SECONDS
    )
    if subset == FULL:  # what is known of clips need not be true of whole tracks
        return replace(collection, shortest=SHORTEST_SECONDS)
    return collection.without(
        {
            track.track_id: f"track {track.track_id}: its clip holds no sound in FMA as published"
            for track in tracks
            if track.track_id in WITHOUT_AUDIO
        }
    )


def read_genres(table: Path) -> tuple[dict[int, str], set[str]]:
    """Read FMA's tree of genres.

    Returns
    -------
    titles : dict of int to str
        By genre id.
    tops : set of str
        Titles of the genres at the top of the tree.

    Raises
    ------
    CollectionError
        When the file is missing or not the one that was published.
    """
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        titles = {int(row["genre_id"]): row["title"] for row in rows}
        return titles, {row["title"] for row in rows if int(row["parent"]) == 0}
    except FileNotFoundError:
        raise _missing(table) from None
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise _odd(table, f"{type(error).__name__}: {error}") from None


@cache
def read_splits() -> dict[str, dict[str, str]]:
    """Read genre and splits of the tracks of FMA-medium, which come with this package.

    Returns
    -------
    dict of str to dict
        By track id, with the keys ``genre_top`` and `SPLITS`.
    """
    with gzip.open(SPLITS_FILE, "rt", encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return {row.pop("track_id"): row for row in rows}


def _rows(table: Path) -> Iterator[tuple[str, dict[tuple[str, str], str]]]:
    """Yield the id of every track in tracks.csv, and its cells in `COLUMNS`."""
    csv.field_size_limit(LONGEST_CELL)
    try:
        with table.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file, strict=True)
            header = list(islice(reader, HEADER_ROWS))
            found = list(zip(*header[:2], strict=True)) if len(header) == HEADER_ROWS else []
            missing = [" ".join(column) for column in COLUMNS if column not in found]
            if missing:
                raise _odd(table, f"it lacks {', '.join(missing)}")
            places = {column: found.index(column) for column in COLUMNS}
            for cells in reader:
                if len(cells) != len(found) or not cells[0].isdecimal():
                    raise _odd(table, f"line {reader.line_num} is not as long as the header")
                yield cells[0], {column: cells[place] for column, place in places.items()}
    except FileNotFoundError:
        raise _missing(table) from None
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        if isinstance(error, CollectionError):
            raise
        raise _odd(table, f"{error}") from None


def _checked(
    table: Path,
    track_id: str,
    row: dict[tuple[str, str], str],
    titles: dict[int, str],
    tops: set[str],
) -> tuple[str, str, tuple[str, ...]]:
    """Return a track's top genre, its part of the official split, and all of its genres."""
    genre = row[GENRE]
    try:
        labels = tuple(titles[genre_id] for genre_id in json.loads(row[GENRES]))
        official = PARTS[row[SPLIT]]
    except (KeyError, TypeError, ValueError) as error:
        raise _odd(table, f"track {track_id} has a split or genre not known ({error})") from None
    if genre and genre not in tops:
        raise _odd(table, f"the top genre of track {track_id}, {genre}, is not at the top")
    return genre, official, labels


def _folder(root: Path, subset: str) -> Path:
    """Return the folder with the clips of a subset: its own, or that of a larger one.

    The tracks of full are no clips, and serve full alone.
    """
    larger = SUBSETS[SUBSETS.index(subset) :]
    folders = [root / f"fma_{name}" for name in larger if subset == FULL or name != FULL]
    for folder in folders:
        if folder.is_dir():
            return folder
    raise _missing(folders[0])


def _clip(track_id: str) -> str:
    return f"{int(track_id) // 1000:03d}/{int(track_id):06d}.mp3"


def _check_clips(folder: Path, tracks: list[Track], ids: set[str], table: Path) -> None:
    """Raise an error unless all clips are there, and belong to tracks in the table."""
    there = {path.relative_to(folder).as_posix() for path in folder.glob("*/*.mp3")}
    absent = [
        clip
        for track in tracks
        if (clip := _clip(track.track_id)) not in there and track.track_id not in WITHOUT_AUDIO
    ]
    if absent:
        raise CollectionError(
            f"{shown(folder)} lacks {len(absent)} of {len(tracks)} clips, such as {absent[0]};"
            f" unpack the rest: {_command(folder)}"
        )
    unknown = sorted(there - {_clip(track_id) for track_id in ids})
    if unknown:
        raise _odd(table, f"{len(unknown)} clips are not in it, such as {unknown[0]}")


def _missing(path: Path) -> CollectionError:
    return CollectionError(f"{shown(path)} does not exist; fetch it: {_command(path)}")


def _odd(table: Path, what: str) -> CollectionError:
    return CollectionError(
        f"{shown(table)} is damaged, or of another version of FMA: {what};"
        f" fetch it anew: {_command(table)}"
    )


def _command(path: Path) -> str:
    """Return the command that brings a file of the metadata, or a folder of clips."""
    folder = path.parent if path.suffix else path
    what = folder.name.removeprefix("fma_")
    return shlex.join(
        ["python", "-m", "training.datasets.fma_download", what, "--to", shown(folder.parent)]
    )


@one_line_errors()
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Read FMA, check its clips, write a table.")
    parser.add_argument(
        "root", type=Path, help="folder that training.datasets.fma_download has filled"
    )
    parser.add_argument("--subset", choices=SUBSETS, default="medium")
    parser.add_argument(
        "--table", type=Path, help="CSV to write, as of training.datasets.collection"
    )
    parser.add_argument("--processes", type=positive, help="by default one per core")
    arguments = parser.parse_args()
    collection = sift(read(arguments.root, arguments.subset), processes=arguments.processes)
    print(collection.summary())
    if arguments.table:
        write_csv(collection, arguments.table)


if __name__ == "__main__":
    main()
