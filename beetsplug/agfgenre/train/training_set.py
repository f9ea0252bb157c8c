"""What a library can be trained on: its tracks, their artists and their genres."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from beets.ui import UserError
from beets.util import syspath

from agf_core.bundle.format import LONGEST_NAME
from agf_core.data.artist_names import fold_artist_name
from agf_core.data.genre_names import composed, fold_genre_name
from agf_core.data.sampling import SetAside, learnable_genres
from agf_core.data.tracks import Track, album_key
from beetsplug.agfgenre.console import plural
from beetsplug.agfgenre.fields import is_set_by_plugin, stored_genres

if TYPE_CHECKING:
    from beets.library import Item

    from beetsplug.agfgenre.vocabulary import Vocabulary

FEWEST_ARTISTS = 5  # for training, for validation and for the test
GENRES_SHOWN = 12  # genres in a line of an error


@dataclass
class TrainingSet:
    """The tracks of a query that can be trained on, and counts of the others.

    Attributes
    ----------
    tracks : list of Track
        Those with an artist, with their ids in the library; the genre is the one they are trained
        as, or empty.
    matched : int
        How many tracks there are at all.
    untagged, without_artist, set_by_plugin, excluded, unprintable : int
        Tracks whose genre is not trained on because they have none; because they have no artist;
        because this plugin has set it; because the whitelist or ``learn_as`` excludes it; because
        no model can hold its name.
    """

    tracks: list[Track] = field(default_factory=list)
    matched: int = 0
    untagged: int = 0
    without_artist: int = 0
    set_by_plugin: int = 0
    excluded: int = 0
    unprintable: int = 0

    @classmethod
    def of(
        cls, items: Iterable[Item], vocabulary: Vocabulary, learn_as: Mapping[str, str]
    ) -> TrainingSet:
        """Read tracks of a library."""
        result = cls()
        for item in items:
            result._add(item, vocabulary, learn_as)
        spelling = _common_spellings(track.genre for track in result.tracks)
        result.tracks = [
            replace(t, genre=spelling[fold_genre_name(t.genre)]) for t in result.tracks
        ]
        return result

    def _add(self, item: Item, vocabulary: Vocabulary, learn_as: Mapping[str, str]) -> None:
        self.matched += 1
        labels = vocabulary.genres_of(item.genres)
        artist = fold_artist_name(item.artist or item.albumartist or "")
        genre = ""
        if not labels:
            self.untagged += 1
        if not artist:
            self.without_artist += bool(labels)
        elif labels and is_set_by_plugin(item, vocabulary.genres_of(stored_genres(item))[:1]):
            self.set_by_plugin += 1  # no model is trained on its own output
            labels = []
        elif labels:
            first = labels[0].strip()
            mapped = learn_as.get(fold_genre_name(first))
            genre = vocabulary.main(first) if mapped is None else mapped
            self.excluded += not genre
            if not genre.isprintable() or len(genre) > LONGEST_NAME:
                self.unprintable += 1
                genre = ""
        if artist:
            self.tracks.append(
                Track(
                    track_id=str(item.id),
                    path=Path(os.fsdecode(syspath(item.path))),
                    artist=artist,
                    genre=genre,
                    labels=tuple(map(composed, labels)),
                    album=str(item.album_id or ""),
                )
            )

    def preview(self, min_tracks: int) -> Iterator[str]:
        """Yield lines that describe what would be trained on.

        Raises
        ------
        UserError
            After the last line, if training is impossible.
        """
        yield from self.lines(*learnable_genres(self.tracks, min_tracks))
        choose(self.tracks, min_tracks)

    def lines(self, genres: Iterable[str], left_out: Iterable[SetAside]) -> list[str]:
        """Return lines that describe it."""
        chosen = set(genres)
        used = [track for track in self.tracks if track.genre in chosen]
        n_artists = len({track.artist for track in used})
        artists = {track.artist for track in self.tracks}
        lines = [
            f"{plural(self.matched, 'track')}, {plural(len(artists), 'artist')}",
            f"training on {plural(len(used), 'track')} by {plural(n_artists, 'artist')}, "
            f"{plural(len(chosen), 'genre')}:",
        ]
        tracks = Counter(t.genre for t in used)
        albums = Counter(genre for _, _, genre in set(map(album_key, used)))
        by = Counter(genre for genre, _ in {(t.genre, t.artist) for t in used})
        lines += [
            f"  {genre}: {plural(count, 'track')} by {plural(by[genre], 'artist')}"
            f" (counted as {plural(albums[genre], 'album')})"
            for genre, count in tracks.most_common()
        ]
        for aside in left_out:
            why = "all by one artist" if aside.artists == 1 else "fewer than min_tracks"
            lines.append(f"  {aside}, left out ({why})")
        lines.append("  The model predicts these genres alone: other music gets one of them, too.")
        if self.untagged:
            lines.append(f"  {plural(self.untagged, 'track')} without a genre")
        for count, why in (
            (self.without_artist, "no artist"),
            (self.set_by_plugin, "agfgenre has set their genre"),
            (self.excluded, "whitelist or learn_as excludes their genre"),
            (
                self.unprintable,
                f"their genre has more than {LONGEST_NAME} characters, or invisible ones (rename "
                "it with learn_as)",
            ),
        ):
            if count:
                lines.append(f"  {plural(count, 'track')} left out: {why}")
        return lines


def choose(tracks: Sequence[Track], min_tracks: int) -> tuple[tuple[str, ...], list[SetAside]]:
    """Return the genres that can be trained on, and the others; `UserError` if too few can."""
    genres, left_out = learnable_genres(tracks, min_tracks)
    if problem := _problem(tracks, genres, left_out):
        raise UserError(f"agftrain: {problem}; nothing is changed")
    return genres, left_out


def _problem(tracks: Sequence[Track], genres: tuple[str, ...], left_out: Sequence[SetAside]) -> str:
    """Return a sentence on why training is impossible; empty if it is possible."""
    tagged = [track for track in tracks if track.genre]
    if not tracks:
        return "no track has an artist; add artists to the tags"
    if not tagged:
        return (
            f"none of the {plural(len(tracks), 'track')} that have an artist has a genre to train "
            "on; tag some, or check what whitelist and learn_as leave out"
        )
    if len(genres) > 1:
        artists = {track.artist for track in tagged if track.genre in genres}
        if len(artists) < FEWEST_ARTISTS:
            return (
                f"only {plural(len(artists), 'artist')} have tracks of these {len(genres)} genres, "
                f"and {FEWEST_ARTISTS} or more are needed to test on unseen artists"
            )
        return ""
    present = {track.genre for track in tagged}
    if len(present) == 1:
        return (
            f"there is only one genre, {present.pop()}, and two or more are needed; tag tracks of "
            "others"
        )
    if len({track.artist for track in tagged}) == 1:
        return (
            "all tracks with a genre are by one artist, and "
            f"{FEWEST_ARTISTS} or more are needed; tag tracks of others"
        )
    listed = "; ".join(map(str, left_out[:GENRES_SHOWN]))
    more = f"; and {len(left_out) - GENRES_SHOWN} more" if len(left_out) > GENRES_SHOWN else ""
    return (
        f"fewer than two genres have enough tracks and artists ({listed}{more}); tag more tracks, "
        "or lower min_tracks"
    )


def _common_spellings(names: Iterable[str]) -> dict[str, str]:
    """Return the most common spelling of each name that differs by case or Unicode form alone."""
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for name in names:
        spellings[fold_genre_name(name)][name] += 1
    return {
        folded: max(sorted(counts), key=lambda name: counts[name])
        for folded, counts in spellings.items()
    }
