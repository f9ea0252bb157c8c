"""Find the tracks or albums of a library whose genres are probably wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agf_core.data.genre_names import fold_genre_name
from agf_core.data.tracks import Track
from agf_core.finetune.label_issues import (
    SoundPredictions,
    find_artist_issues,
    find_label_issues,
    predict_by_sound,
)
from agf_core.inference.artist_context import adjust_without_itself

if TYPE_CHECKING:
    from agf_core.bundle.format import Bundle
    from beetsplug.agfgenre.audit.rows import Naming, Row

TOP = 2  # genres of each kind of evidence


@dataclass(frozen=True, slots=True)
class Subject:
    """A track or an album that is checked.

    Attributes
    ----------
    id : int
    rows : tuple of int
        Places of its tracks among those that are analysed.
    genres : tuple of str
        In its tag.
    mains : tuple of str
        What these are checked as; see `Row`.
    artist : str
        The artist's key.
    album : int or None
        Its id, of a track and of an album.
    is_album : bool
    by_plugin, kept : bool
        See `Row`.
    """

    id: int
    rows: tuple[int, ...]
    genres: tuple[str, ...]
    mains: tuple[str, ...]
    artist: str
    album: int | None
    is_album: bool
    by_plugin: bool
    kept: bool


@dataclass(frozen=True)
class Suspect:
    """A track or an album whose genre is probably wrong.

    Attributes
    ----------
    id : int
    has : tuple of str
        Its genres.
    suggested : str
    confidence, own : float
        Probability of the suggested genre, and of the one it has.
    sound : tuple of (str, float)
        The most probable genres by the sound alone.
    artist, album : tuple of (str, int)
        How many other tracks, or albums, of the artist have which genre; and how many of the
        album's tracks.
    is_album, by_plugin : bool
        Whether it is an album; whether this plugin has set the genre.
    """

    id: int
    has: tuple[str, ...]
    suggested: str
    confidence: float
    own: float
    sound: tuple[tuple[str, float], ...]
    artist: tuple[tuple[str, int], ...]
    album: tuple[tuple[str, int], ...]
    is_album: bool
    by_plugin: bool


@dataclass(frozen=True)
class SuspectArtist:
    """An artist whose genre is probably wrong.

    Attributes
    ----------
    name : str
    has : str
        The genre that most of the artist's tracks have.
    tracks : int
        How many are checked.
    suggested : str
    confidence, own : float
        Mean probability of both by the sound of these tracks.
    """

    name: str
    has: str
    tracks: int
    suggested: str
    confidence: float
    own: float


@dataclass(frozen=True)
class Found:
    """What an audit has found.

    Attributes
    ----------
    suspects : list of Suspect
        The worst first.
    checked : int
        How many tracks or albums of the query were checked.
    kept : int
        How many would be suspects if the user did not keep their genres.
    by_plugin : int
        How many of the checked have genres that this plugin has set.
    unknown : Counter of str
        How many of the query have a genre that no model knows.
    n_trained : int
        See `SoundPredictions`.
    """

    suspects: list[Suspect]
    checked: int
    kept: int
    by_plugin: int
    unknown: Counter[str]
    n_trained: int


class Auditor:
    """Judges the tracks or albums of a library that are analysed.

    Parameters
    ----------
    rows : sequence of Row
        The tracks that are analysed.
    naming : Naming
    embeddings, log_probabilities : np.ndarray [shape=(n_tracks, ...)]
        Of these tracks, by the base model.
    base : Bundle
    min_tracks : int
        Of a genre, below which it cannot be trained on.
    use_artists : bool
        Combine what is predicted with the genres of the artist's other tracks.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        naming: Naming,
        embeddings: np.ndarray,
        log_probabilities: np.ndarray,
        base: Bundle,
        *,
        min_tracks: int,
        use_artists: bool,
    ) -> None:
        self._rows, self._use_artists = rows, use_artists
        self._sound = _predict(rows, naming, embeddings, log_probabilities, base, min_tracks)
        self._class = {fold_genre_name(g): i for i, g in enumerate(self._sound.genres)}
        self._mates: dict[int, Counter[str]] = defaultdict(Counter)
        for row in rows:
            if row.album is not None and row.main:
                self._mates[row.album][row.main] += 1

    def check(self, subjects: Sequence[Subject], matched: Collection[int]) -> Found:
        """Check tracks or albums.

        Parameters
        ----------
        subjects : sequence of Subject
            All of the library, which the thresholds are estimated from.
        matched : collection of int
            Ids of those that are reported.
        """
        known = [s for s in subjects if s.mains and fold_genre_name(s.mains[0]) in self._class]
        unknown = Counter(
            s.mains[0] for s in subjects if s.mains and s.mains[0] and s.id in matched
        )
        unknown.subtract(s.mains[0] for s in known if s.id in matched)
        reported = [s for s in known if s.id in matched]
        found = Found(
            [],
            len(reported),
            0,
            sum(s.by_plugin for s in reported),
            +unknown,
            self._sound.n_trained,
        )
        return self._with_suspects(found, known, matched) if known else found

    def check_artists(self, matched: Collection[int]) -> list[SuspectArtist]:
        """Return the artists whose genre is probably wrong, the worst first.

        Their tracks may agree with each other: the sound alone decides.

        Parameters
        ----------
        matched : collection of int
            Ids of tracks; artists of none of them are not reported.
        """
        places = [i for i, row in enumerate(self._rows) if fold_genre_name(row.main) in self._class]
        rows = [self._rows[i] for i in places]
        labels = np.array([self._class[fold_genre_name(row.main)] for row in rows], int)
        checked = find_artist_issues(
            self._sound.probabilities[places], labels, [row.artist for row in rows]
        )
        tracks: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            tracks[row.artist].append(row)
        found = []
        for i in checked.issues.wrong.tolist():
            own, best = checked.labels[i], checked.issues.best_other[i]
            its = tracks[checked.artists[i]]
            if its[0].artist_name and any(row.id in matched and not row.kept for row in its):
                found.append(
                    SuspectArtist(
                        name=its[0].artist_name,
                        has=self._sound.genres[own],
                        tracks=len(its),
                        suggested=self._sound.genres[best],
                        confidence=float(checked.probabilities[i, best]),
                        own=float(checked.probabilities[i, own]),
                    )
                )
        return found

    def _with_suspects(
        self, found: Found, known: Sequence[Subject], matched: Collection[int]
    ) -> Found:
        sound = np.array([self._sound.probabilities[list(s.rows)].mean(axis=0) for s in known])
        places = [self._places(subject) for subject in known]
        labels = np.array([own[0] for own in places])
        further = np.zeros(sound.shape, bool)
        for row, own in zip(further, places, strict=True):
            row[own[1:]] = True
        adjusted, counts = self._adjusted(sound, known, labels)
        issues = find_label_issues(adjusted, labels, further)
        suspects, kept = [], 0
        for i in issues.wrong.tolist():
            if known[i].id not in matched:
                continue
            if known[i].kept:
                kept += 1
                continue
            best = int(issues.best_other[i])
            suspects.append(
                Suspect(
                    id=known[i].id,
                    has=known[i].genres,
                    suggested=self._sound.genres[best],
                    confidence=float(adjusted[i, best]),
                    own=float(adjusted[i, labels[i]]),
                    sound=self._top(sound[i]),
                    artist=tuple((genre, int(n)) for genre, n in self._top(counts[i]) if n),
                    album=self._album_mates(known[i]),
                    is_album=known[i].is_album,
                    by_plugin=known[i].by_plugin,
                )
            )
        return replace(found, suspects=suspects, kept=kept)

    def _adjusted(
        self, sound: np.ndarray, known: Sequence[Subject], labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Combine what is predicted with the genres that the user gave to artists' other tracks."""
        if not self._use_artists:
            return sound, np.zeros(sound.shape)
        tagged = [
            (s.artist, s.album or f"track {s.id}", int(label))
            for s, label in zip(known, labels, strict=True)
        ]
        return adjust_without_itself(sound, tagged, [not s.by_plugin for s in known])

    def _places(self, subject: Subject) -> list[int]:
        keys = (fold_genre_name(main) for main in subject.mains)
        return [self._class[key] for key in keys if key in self._class]

    def _top(self, numbers: np.ndarray) -> tuple[tuple[str, float], ...]:
        best = np.argsort(-numbers, kind="stable")[:TOP]
        return tuple((self._sound.genres[i], float(numbers[i])) for i in best)

    def _album_mates(self, subject: Subject) -> tuple[tuple[str, int], ...]:
        """Return the genres of the other tracks of a track's album; of an album, of its tracks."""
        if subject.album is None:
            return ()
        mates = self._mates[subject.album].copy()
        if not subject.is_album:
            mates[subject.mains[0]] -= 1
        return tuple((+mates).most_common(TOP))


def _predict(
    rows: Sequence[Row],
    naming: Naming,
    embeddings: np.ndarray,
    log_probabilities: np.ndarray,
    base: Bundle,
    min_tracks: int,
) -> SoundPredictions:
    tracks = [
        Track(
            track_id=str(row.id),
            path=Path(),
            artist=row.artist,
            genre=row.main,
            album=str(row.album or ""),
        )
        for row in rows
    ]
    counterparts: Mapping[str, str] = {
        label: naming.main(label) or label for label in base.metadata.labels
    }
    return predict_by_sound(
        base,
        tracks,
        embeddings,
        log_probabilities,
        min_tracks=min_tracks,
        trusted=np.array([not row.by_plugin for row in rows], bool),
        counterparts=counterparts,
    )
