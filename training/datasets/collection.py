"""A collection of tracks with the splits that divide them: what every experiment starts from.

FMA comes from `training.datasets.fma`, anything else as a CSV with a row per track:

=================  ==============================================================
column             what is in it
=================  ==============================================================
``path``           the audio file; if relative, from the CSV's own folder
``artist``         the key that tells artists apart, never empty
``album``          its key, or empty
``genre``          the one main genre, or empty: then it teaches artist groups only
``genres``         every genre, sub-genres included, joined by ``"; "``
``split``          ``train``, ``valid``, ``test``, or empty for none of them
=================  ==============================================================

Several splits stand in columns ``split_NAME``; the one of a column ``split`` is called `GIVEN`. Two
columns are optional: ``track_id`` (else it is the path as written) and ``artist_name`` (to show
instead of the key). Others are passed over.
"""

import csv
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from agf_core.audio import decode
from agf_core.constants import SHORTEST_SECONDS
from agf_core.data.tracks import Track
from agf_core.utils.workers import in_processes
from training.errors import CollectionError

COLUMNS = ("path", "artist", "album", "genre", "genres")
PARTS = ("train", "valid", "test")
GIVEN = "given"
SEPARATOR = "; "  # between the genres of a track


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
        counts = Counter(artist for side in sides for artist in side)
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
        artists = {track.artist for track in self.tracks}
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


def read_csv(table: Path, *, audio_needed: bool = True) -> Collection:
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
    tracks: list[Track] = []
    names: dict[str, str] = {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:  # with the mark that Excel puts
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or ()
            keys = {column: split for column in columns if (split := _split_of(column))}
            missing = [column for column in COLUMNS if column not in columns]
            missing += [] if keys else ["split"]
            if missing:
                raise CollectionError(f"{table} lacks the columns {', '.join(missing)}; add them.")
            splits: dict[str, list[str]] = {split: [] for split in keys.values()}
            for row in reader:
                where = f"{table}, line {reader.line_num}"
                if None in row or None in row.values():
                    raise CollectionError(f"{where} has not as many cells as there are columns.")
                for column in ("path", "artist"):
                    if not row[column]:
                        raise CollectionError(f"{where} has no {column}; give one.")
                for column, split in keys.items():
                    if row[column] not in ("", *PARTS):
                        raise CollectionError(
                            f"{where} has {row[column]!r} as {column}; write one of"
                            f" {', '.join(PARTS)}, or nothing."
                        )
                    splits[split].append(row[column])
                if row.get("artist_name"):
                    names[row["artist"]] = row["artist_name"]
                tracks.append(
                    Track(
                        track_id=row.get("track_id") or row["path"],
                        path=table.parent / row["path"],
                        artist=row["artist"],
                        genre=row["genre"],
                        labels=tuple(filter(None, row["genres"].split(SEPARATOR))),
                        source=table.stem,
                        album=row["album"],
                    )
                )
    except FileNotFoundError as error:
        raise CollectionError(f"{table} does not exist; give the path of a CSV.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CollectionError(f"{table} is not a CSV in UTF-8 ({error}).") from error
    if not tracks:
        raise CollectionError(f"{table} has no tracks; add a row for each.")
    twice = [key for key, count in Counter(t.track_id for t in tracks).items() if count > 1]
    if twice:
        raise CollectionError(f"{table} has {twice[0]} more than once; take the others out.")
    absent = [track.path for track in tracks if audio_needed and not track.path.is_file()]
    if absent:
        raise CollectionError(
            f"{table} names {len(absent)} files (of {len(tracks)}) that do not exist, such as"
            f" {decode.shown(absent[0])}; correct the paths or take the rows out."
        )
    parts = {name: tuple(values) for name, values in splits.items()}
    return Collection(table.stem, tuple(tracks), parts, names)


def write_csv(collection: Collection, table: Path) -> None:
    """Write a collection as a CSV that `read_csv` reads.

    What is not in the CSV is lost: reasons for tracks left out, and the shortest length.
    """
    splits = ["split" if name == GIVEN else f"split_{name}" for name in collection.splits]
    columns = ["track_id", *COLUMNS, "artist_name", *splits]
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for track, *parts in zip(collection.tracks, *collection.splits.values(), strict=True):
            writer.writerow(
                {
                    "track_id": track.track_id,
                    "path": Path(os.path.relpath(track.path, table.parent)).as_posix(),
                    "artist": track.artist,
                    "album": track.album,
                    "genre": track.genre,
                    "genres": SEPARATOR.join(track.labels),
                    "artist_name": collection.artist_names.get(track.artist, ""),
                    **dict(zip(splits, parts, strict=True)),
                }
            )


def check_clip(shortest: float, job: tuple[str, Path]) -> None:
    """Hear whether a clip lasts long enough, from a second of it at the place where it must.

    Parameters
    ----------
    shortest : float
        Seconds that it must have.
    job : tuple of str and Path
        The track's id and file.

    Raises
    ------
    agf_core.audio.decode.AudioError
        When it has less, or cannot be read.
    """
    _, path = job
    start = max(0.0, shortest - SHORTEST_SECONDS)
    try:
        decode.read(path, start=start, seconds=SHORTEST_SECONDS)
    except decode.AudioError:
        seconds = decode.read(path).seconds  # the whole clip tells what is the matter
        if seconds < shortest:
            raise decode.AudioTooShortError(
                f"{decode.shown(path)} has only {seconds:.1f} s of sound;"
                f" at least {shortest:g} s is needed."
            ) from None


def sift(collection: Collection, *, processes: int | None = None) -> Collection:
    """Leave out the clips that cannot be read or are too short.

    Parameters
    ----------
    processes : int, optional
        At a time; by default one per core.
    """
    jobs = [(track.track_id, track.path) for track in collection.tracks]
    n_processes = min(processes or os.cpu_count() or 1, len(jobs))
    done = in_processes(partial(check_clip, collection.shortest), jobs, n_processes)
    progress = tqdm(done, total=len(jobs), desc="listening", unit="clip")
    errors = {track_id: error for (track_id, _), error in progress if error}
    return collection.without(
        {key: f"track {key}: {errors[key]}" for key, _ in jobs if key in errors}
    )


def _split_of(column: str | None) -> str:
    """Return the name of the split that a column holds, empty for any other column."""
    if column == "split":
        return GIVEN
    return column.removeprefix("split_") if column and column.startswith("split_") else ""
