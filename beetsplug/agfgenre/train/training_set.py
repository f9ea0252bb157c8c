"""What a library has to teach: its tracks, their artists, and the genres they are learnt as."""

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
from beetsplug.agfgenre.fields import is_set_by_plugin

if TYPE_CHECKING:
    from beets.library import Item, Library

    from beetsplug.agfgenre.vocabulary import Vocabulary

FEWEST_ARTISTS = 5  # some teach, some say when to stop, some are asked about
SHOWN = 12  # genres that are named in a line of an error


@dataclass
class TrainingSet:
    """The tracks of a query, as far as anything can be learnt from them.

    Attributes
    ----------
    tracks : list of Track
        Those with an artist, by their number in the library; the genre is that which they are
        learnt as, or empty.
    matched : int
        How many tracks there are at all.
    untagged, nobody, own, unwanted, unspeakable : int
        Tracks that teach no genre because they have none; because they have no artist to be told
        apart by; because this plugin has given them their genre; because the whitelist or
        ``learn_as`` leaves it out; because no model can hold its name.
    """

    tracks: list[Track] = field(default_factory=list)
    matched: int = 0
    untagged: int = 0
    nobody: int = 0
    own: int = 0
    unwanted: int = 0
    unspeakable: int = 0

    @classmethod
    def of(
        cls, lib: Library, query: list[str], vocabulary: Vocabulary, learn_as: Mapping[str, str]
    ) -> TrainingSet:
        """Read the library."""
        result = cls()
        for item in lib.items(query):
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
            self.nobody += bool(labels)
        elif labels and is_set_by_plugin(item, labels[:1]):  # it must not teach itself
            self.own += 1
            labels = []
        elif labels:
            first = labels[0].strip()
            mapped = learn_as.get(fold_genre_name(first))
            genre = vocabulary.main(first) if mapped is None else mapped
            self.unwanted += not genre
            if not genre.isprintable() or len(genre) > LONGEST_NAME:
                self.unspeakable += 1
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
        """Yield lines that say what would be learnt from.

        Raises
        ------
        UserError
            When all is said and nothing could be learnt.
        """
        yield from self.lines(*learnable_genres(self.tracks, min_tracks))
        choose(self.tracks, min_tracks)

    def lines(self, genres: Iterable[str], not_learnt: Iterable[SetAside]) -> list[str]:
        """Describe it for people."""
        chosen = set(genres)
        teaching = [track for track in self.tracks if track.genre in chosen]
        artists = {track.artist for track in self.tracks}
        lines = [
            f"{plural(self.matched, 'track')}, {plural(len(artists), 'artist')}",
            f"{plural(len(teaching), 'track')} by "
            f"{plural(len({t.artist for t in teaching}), 'artist')} teach "
            f"{plural(len(chosen), 'genre')}:",
        ]
        tracks = Counter(t.genre for t in teaching)
        albums = Counter(genre for _, _, genre in set(map(album_key, teaching)))
        by = Counter(genre for genre, _ in {(t.genre, t.artist) for t in teaching})
        lines += [
            f"  {genre}: {plural(count, 'track')} by {plural(by[genre], 'artist')}"
            f" (counted as {plural(albums[genre], 'album')})"
            for genre, count in tracks.most_common()
        ]
        for aside in not_learnt:
            why = "by one artist alone" if aside.artists == 1 else "fewer than min_tracks"
            lines.append(f"  {aside}, not learnt ({why})")
        if self.untagged:
            lines.append(f"  {plural(self.untagged, 'track')} without a genre")
        for count, why in (
            (self.nobody, "without an artist"),
            (self.own, "whose genre agfgenre has set itself"),
            (self.unwanted, "with a genre that whitelist or learn_as leaves out"),
            (
                self.unspeakable,
                f"with a genre of more than {LONGEST_NAME} characters, or of invisible ones "
                "(learn_as can give it another name)",
            ),
        ):
            if count:
                lines.append(f"  {plural(count, 'track')} {why}: not learnt from")
        return lines


def choose(tracks: Sequence[Track], min_tracks: int) -> tuple[tuple[str, ...], list[SetAside]]:
    """Return the genres that can be learnt, and the others; `UserError` if nothing can be."""
    genres, not_learnt = learnable_genres(tracks, min_tracks)
    if problem := why_not(list(tracks), genres, not_learnt):
        raise UserError(f"agftrain: {problem}; nothing is changed")
    return genres, not_learnt


def why_not(tracks: list[Track], genres: tuple[str, ...], not_learnt: list[SetAside]) -> str:
    """Return, in a sentence, why nothing can be learnt; empty if something can."""
    tagged = [track for track in tracks if track.genre]
    if not tracks:
        return "no track has an artist to tell it from others by"
    if not tagged:
        return (
            f"none of the {plural(len(tracks), 'track')} has a genre to learn from; tag some, or "
            "see what whitelist and learn_as leave out"
        )
    if len(genres) > 1:
        artists = {track.artist for track in tagged if track.genre in genres}
        if len(artists) < FEWEST_ARTISTS:
            few = (
                f"only {plural(len(artists), 'artist')} could teach {plural(len(genres), 'genre')}"
            )
            return f"{few}: too few to find out how good that is on others"
        return ""
    present = {track.genre for track in tagged}
    if len(present) == 1:
        return f"there is but one genre, {present.pop()}: nothing to tell it from; tag others"
    if len({track.artist for track in tagged}) == 1:
        return "all tracks with a genre are by one artist: nothing could be said of any other"
    named = "; ".join(map(str, not_learnt[:SHOWN]))
    more = f"; and {len(not_learnt) - SHOWN} more" if len(not_learnt) > SHOWN else ""
    return f"fewer than two genres have enough tracks and artists ({named}{more})"


def _common_spellings(names: Iterable[str]) -> dict[str, str]:
    """Return the most common spelling of each name that differs by case or Unicode form alone."""
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for name in names:
        spellings[fold_genre_name(name)][name] += 1
    return {
        folded: max(sorted(counts), key=lambda name: counts[name])
        for folded, counts in spellings.items()
    }
