"""A collection of tracks with the splits that divide them: what every experiment starts from.

FMA comes from `training.datasets.fma`, anything else as a CSV with a row per track:

=================  ==============================================================
column             what is in it
=================  ==============================================================
``path``           the audio file; if relative, from the CSV's own folder
``artist``         the name of the artist, or a key, never empty
``album``          its key, or empty
``genre``          the one main genre, or empty: then it serves artist groups only
``genres``         every genre, sub-genres included, joined by ``"; "``
``split``          ``train``, ``valid``, ``test``, or empty for none of them
=================  ==============================================================

Artists are distinguished as the plugin does it (`agf_core.data.artist_names`): "The Beatles" and
"Beatles, The" are one, and "Various Artists" is no artist: its tracks serve no artist groups.

Several splits stand in columns ``split_NAME``; the one of a column ``split`` is called `GIVEN`. The
folds of a cross-validation are splits called ``fold0``, ``fold1`` and so on, whose test set is the
fold. Optional columns are ``track_id`` (else it is the path as written), ``artist_name`` (to show
instead of the key), ``source`` (the name of the table without one) and ``genre_weights`` (such as
``"Pop=0.5; Rock=0.5"``, of tracks of several main genres). Others are ignored.
"""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from agf_core.audio import decode
from agf_core.constants import SHORTEST_SECONDS
from agf_core.data.artist_names import fold_artist_name
from agf_core.data.splits import hold_out_artists
from agf_core.data.tracks import Track
from agf_core.errors import why_not_written
from agf_core.utils import atomic
from agf_core.utils.workers import in_processes, processes_for
from training.errors import CollectionError, RunError, leave_to_the_sound

COLUMNS = ("path", "artist", "album", "genre", "genres")
PARTS = ("train", "valid", "test")
GIVEN = "given"
FOLD = "fold"  # before its number, the name of its split
NO_ARTIST = "Various Artists"  # what is written for an artist who is not known
SEPARATOR = "; "  # between the genres of a track
CALIBRATION_SHARE = 0.1  # of the training artists, held out to fit a temperature


@dataclass(frozen=True)
class Collection:
    """Tracks, and the splits that divide them.

    Attributes
    ----------
    name : str
    tracks : tuple of Track
    splits : mapping of str to tuple of str
        Per split the part of each track, in the order of `tracks`: one of `PARTS`, or empty.
    artist_names : mapping of str to str
        What to call an artist, by `Track.artist`; who is not in it is called by the key.
    left_out : mapping of str to str
        Why a track is not among `tracks`, by its id.
    shortest : float
        Seconds of sound that every clip must have.
    """

    name: str
    tracks: tuple[Track, ...]
    splits: Mapping[str, tuple[str, ...]]
    artist_names: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    shortest: float = SHORTEST_SECONDS

    @property
    def genres(self) -> tuple[str, ...]:
        """The main genres that occur, in alphabetical order."""
        return tuple(sorted({track.genre for track in self.tracks if track.genre}))

    def part(self, split: str, part: str) -> np.ndarray:
        """Return which tracks are in a part of a split.

        Returns
        -------
        np.ndarray [shape=(n,), dtype=int]
            Indices into `tracks`, rising.

        Raises
        ------
        CollectionError
            When there is no such split.
        ValueError
            When `part` is none of `PARTS`.
        """
        if split not in self.splits:
            known = ", ".join(self.splits)
            raise CollectionError(f"{self.name} has no split {split}; take one of {known}.")
        if part not in PARTS:
            raise ValueError(f"{part} is none of {', '.join(PARTS)}")
        return np.flatnonzero(np.array(self.splits[split]) == part)

    def divided_artists(self, split: str) -> set[str]:
        """Return the artists who are in more than one part of a split."""
        sides = [{self.tracks[i].artist for i in self.part(split, part)} for part in PARTS]
        counts = Counter(artist for side in sides for artist in side if artist)
        return {artist for artist, count in counts.items() if count > 1}

    def without(self, reasons: Mapping[str, str]) -> "Collection":
        """Return the collection less some tracks, given by id with the reason why."""
        kept = [i for i, track in enumerate(self.tracks) if track.track_id not in reasons]
        return replace(
            self,
            tracks=tuple(self.tracks[i] for i in kept),
            splits={name: tuple(parts[i] for i in kept) for name, parts in self.splits.items()},
            left_out={**self.left_out, **reasons},
        )

    def summary(self) -> str:
        """Return a few lines for a person: sizes, splits, and what is left out and why."""
        artists = {track.artist for track in self.tracks if track.artist}
        lines = [
            f"{self.name}: {len(self.tracks)} tracks by {len(artists)} artists, "
            f"{len(self.genres)} main genres"
        ]
        for split in self.splits:
            sizes = ", ".join(f"{len(self.part(split, part))} {part}" for part in PARTS)
            divided = len(self.divided_artists(split))
            lines.append(f"split {split}: {sizes}; {divided} artists in more than one part")
        lines += [f"left out: {reason}" for reason in self.left_out.values()]
        return "\n".join(lines)


def read_csv(table: Path, *, audio_needed: bool = False) -> Collection:
    """Read a collection from a CSV, see the top of this module.

    Parameters
    ----------
    audio_needed : bool
        Whether files that do not exist are an error.

    Raises
    ------
    CollectionError
        When the table is missing or not as it should be, or files that it names are missing.
    """
    rows: list[dict[str, str]] = []
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:  # with the mark that Excel puts
            reader = csv.DictReader(file, strict=True)
            split_of = _split_columns(table, reader.fieldnames or ())
            for row in reader:
                _check_row(row, split_of, f"{table}, line {reader.line_num}")
                rows.append(row)
    except FileNotFoundError as error:
        raise CollectionError(f"{table} does not exist; give the path of a CSV.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CollectionError(f"{table} is not a CSV in UTF-8 ({error}).") from error
    tracks = tuple(_track(row, table, split_of) for row in rows)
    _check_tracks(tracks, table, audio_needed)
    return Collection(
        table.stem,
        tracks,
        {split: tuple(row[column] for row in rows) for column, split in split_of.items()},
        _names(tracks, rows),
    )


def _names(tracks: Sequence[Track], rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return what to call each artist whose key is not the name: as the first row has it."""
    names: dict[str, str] = {}
    for track, row in zip(tracks, rows, strict=True):
        name = row.get("artist_name") or row["artist"]
        if track.artist and name != track.artist:
            names.setdefault(track.artist, name)
    return names


def _split_columns(table: Path, columns: Sequence[str]) -> dict[str, str]:
    """Return the columns that hold a split, with its name; `CollectionError` if any is missing."""
    split_of = {
        column: GIVEN if column == "split" else column.removeprefix("split_")
        for column in columns
        if column == "split" or column.startswith("split_")
    }
    missing = [column for column in COLUMNS if column not in columns]
    missing += [] if split_of else ["split"]
    if missing:
        raise CollectionError(f"{table} lacks the columns {', '.join(missing)}; add them.")
    return split_of


def _check_row(row: dict[str, str], split_of: Mapping[str, str], where: str) -> None:
    """Raise a `CollectionError` unless a row has what a track needs."""
    if None in row or None in row.values():
        raise CollectionError(f"{where} has not as many cells as there are columns.")
    for column in ("path", "artist"):
        if not row[column]:
            raise CollectionError(f"{where} has no {column}; give one.")
    for column in split_of:
        if row[column] not in ("", *PARTS):
            raise CollectionError(
                f"{where} has {row[column]!r} as {column}; write one of {', '.join(PARTS)}, or"
                " nothing."
            )


def _track(row: dict[str, str], table: Path, split_of: Mapping[str, str]) -> Track:
    """Return the track of a row."""
    folds = [
        int(split.removeprefix(FOLD))
        for column, split in split_of.items()
        if row[column] == "test" and re.fullmatch(rf"{FOLD}\d+", split)
    ]
    return Track(
        track_id=row.get("track_id") or row["path"],
        path=table.parent / row["path"],
        artist=artist_key(row["artist"], row.get("artist_name", "")),
        genre=row["genre"],
        labels=split_cell(row["genres"]),
        fold=folds[0] if folds else None,
        source=row.get("source") or table.stem,
        album=row["album"],
        genre_weights=read_weights(row.get("genre_weights", "")),
    )


def artist_key(artist: str, name: str = "") -> str:
    """Return the key of an artist, empty where key or name is no artist ("Various Artists")."""
    return fold_artist_name(artist) if fold_artist_name(name or artist) else ""


def split_cell(cell: str) -> tuple[str, ...]:
    """Return what a cell of several genres holds."""
    return tuple(filter(None, cell.split(SEPARATOR)))


def read_weights(cell: str) -> tuple[tuple[str, float], ...]:
    """Read a cell such as ``Pop=0.5; Rock=0.5``."""
    parts = [part.rpartition("=") for part in split_cell(cell)]
    return tuple((genre, float(weight)) for genre, _, weight in parts)


def _check_tracks(tracks: Sequence[Track], table: Path, audio_needed: bool) -> None:
    """Raise a `CollectionError` unless there are tracks, each once, by artists of one fold."""
    if not tracks:
        raise CollectionError(f"{table} has no tracks; add a row for each.")
    twice = [key for key, count in Counter(t.track_id for t in tracks).items() if count > 1]
    if twice:
        raise CollectionError(f"{table} has {twice[0]} more than once; take the others out.")
    folds = Counter(artist for artist, _ in {(t.artist, t.fold) for t in tracks if t.artist})
    if divided := [artist for artist, count in folds.items() if count > 1]:
        raise CollectionError(
            f"{table} has the artist {divided[0]} in several folds; put all tracks of an artist"
            " into one."
        )
    absent = [track.path for track in tracks if audio_needed and not track.path.is_file()]
    if absent:
        raise CollectionError(
            f"{table} names {len(absent)} files (of {len(tracks)}) that do not exist, such as"
            f" {decode.shown(absent[0])}; correct the paths or take the rows out."
        )


def split_by_folds(tracks: Sequence[Track]) -> dict[str, tuple[str, ...]]:
    """Return a split for each fold of the tracks, for `Collection.splits`.

    Its test set is the fold; its validation set is some of the other artists, to calibrate on.
    """
    splits = {}
    for fold in sorted({track.fold for track in tracks if track.fold is not None}):
        parts = np.array(["test" if track.fold == fold else "train" for track in tracks])
        _, valid = hold_out_artists(
            tracks, np.flatnonzero(parts == "train"), CALIBRATION_SHARE, seed=0
        )
        parts[valid] = "valid"
        splits[f"{FOLD}{fold}"] = tuple(parts.tolist())
    return splits


def write_csv(collection: Collection, table: Path) -> None:
    """Write a collection as a CSV that `read_csv` reads.

    Reasons for tracks left out and the shortest length have no place in it.

    Raises
    ------
    CollectionError
        When it cannot be written; what was there before stays.
    """
    splits = ["split" if name == GIVEN else f"split_{name}" for name in collection.splits]
    columns = ["track_id", *COLUMNS, "artist_name", "source", "genre_weights", *splits]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    for track, *parts in zip(collection.tracks, *collection.splits.values(), strict=True):
        writer.writerow(
            {
                "track_id": track.track_id,
                "path": Path(os.path.relpath(track.path, table.parent)).as_posix(),
                "artist": track.artist or NO_ARTIST,
                "album": track.album,
                "genre": track.genre,
                "genres": SEPARATOR.join(track.labels),
                "artist_name": collection.artist_names.get(track.artist, ""),
                "source": track.source,
                "genre_weights": SEPARATOR.join(f"{g}={w:g}" for g, w in track.genre_weights),
                **dict(zip(splits, parts, strict=True)),
            }
        )
    try:
        with atomic.written(table) as file:
            file.write(text.getvalue().encode())
    except OSError as error:
        raise CollectionError(why_not_written(table, error)) from error


def check_clip(shortest: float, job: tuple[str, Path]) -> None:
    """Check that a clip lasts long enough, by a second of it at the place where it must.

    Parameters
    ----------
    shortest : float
        Seconds that it must have.
    job : tuple of str and Path
        The track's id and file.

    Raises
    ------
    agf_core.audio.decode.AudioError
        When it has less, or holds no sound.
    RunError
        When it cannot be checked for another reason.
    """
    try:
        _check_sound(shortest, job)
    except decode.AudioError as error:
        leave_to_the_sound(error)
        raise
    except Exception as error:  # of the program or the machine, not of this clip
        raise RunError(f"{decode.shown(job[1])}: {type(error).__name__} {error}") from error


def _check_sound(shortest: float, job: tuple[str, Path]) -> None:
    _, path = job
    start = max(0.0, shortest - SHORTEST_SECONDS)
    try:
        decode.read(path, start=start, seconds=SHORTEST_SECONDS)
    except decode.AudioError:
        seconds = decode.read(path).seconds  # of the whole clip, or the error that it has
        if seconds < shortest:
            raise decode.AudioTooShortError(
                f"{decode.shown(path)} has only {seconds:.1f} s of sound;"
                f" at least {shortest:g} s is needed."
            ) from None


def sift(collection: Collection, *, processes: int | None = None) -> Collection:
    """Leave out the clips that hold no sound or are too short.

    Parameters
    ----------
    processes : int, optional
        At a time; by default one per core.

    Raises
    ------
    RunError
        When a clip cannot be checked for another reason, such as a disk that fails.
    """
    jobs = [(track.track_id, track.path) for track in collection.tracks]
    n_processes = processes_for(processes, len(jobs))
    done = in_processes(partial(check_clip, collection.shortest), jobs, n_processes)
    progress = tqdm(done, total=len(jobs), desc="clips", unit="clip")
    errors = {track_id: error for (track_id, _), error in progress if error}
    return collection.without(
        {key: f"track {key}: {errors[key]}" for key, _ in jobs if key in errors}
    )
