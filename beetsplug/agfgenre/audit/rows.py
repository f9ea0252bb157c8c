"""What an audit reads of every track of a library, without building beets' objects."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beets.dbcore.query import TrueQuery
from beets.library import Item

from agf_core.data.artist_names import fold_artist_name
from agf_core.data.genre_names import composed, fold_genre_name, fold_spelling
from beetsplug.agfgenre.fields import is_set_by_plugin
from beetsplug.agfgenre.tag.prefilter import Matches

if TYPE_CHECKING:
    from beets.library import Library

    from beetsplug.agfgenre.vocabulary import Vocabulary

FIELDS = (
    *("artist", "albumartist", "album", "album_id", "comp", "title", "genres"),
    *("agf_set", "agf_kept"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A track.

    Attributes
    ----------
    id : int
    artist : str
        The key of its artist; of its album, or itself, where it has none.
    artist_name, album_name, title : str
    album : int or None
        Id of its album; None of a compilation's track, too, whose album is no evidence.
    genres : tuple of str
        In its tag; placeholders are none.
    mains : tuple of str
        The genre that each of them is checked as, in the library's most common spelling; empty
        where the user's rules exclude it.
    by_plugin : bool
        Whether this plugin has set the first one.
    kept : bool
        Whether the user keeps these genres.
    """

    id: int
    artist: str
    artist_name: str
    album: int | None
    album_name: str
    title: str
    genres: tuple[str, ...]
    mains: tuple[str, ...]
    by_plugin: bool
    kept: bool

    @property
    def main(self) -> str:
        """The genre that the track is checked as; empty if there is none."""
        return self.mains[0] if self.mains else ""


class Naming:
    """How genres of tags are checked, and how the library spells them.

    Parameters
    ----------
    vocabulary : Vocabulary
    learn_as : mapping
        See `beetsplug.agfgenre.vocabulary.read_learn_as`.
    tags : iterable of sequence of str
        The genres of every track, in its tag.
    """

    def __init__(
        self, vocabulary: Vocabulary, learn_as: Mapping[str, str], tags: Iterable[Iterable[str]]
    ) -> None:
        self._vocabulary, self._learn_as = vocabulary, learn_as
        self._mains: dict[str, str] = {}
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for genres in tags:
            for genre in genres:
                counts[fold_spelling(main := self._checked_as(genre))][main] += 1
        self._spelling = {
            key: max(sorted(names), key=lambda name: names[name]) for key, names in counts.items()
        }

    def main(self, genre: str) -> str:
        """Return what a genre is checked as; empty if the user's rules exclude it."""
        main = self._checked_as(genre)
        return self._spelling.get(fold_spelling(main), main) if main else ""

    def _checked_as(self, genre: str) -> str:
        if genre not in self._mains:
            name = genre.strip()
            mapped = self._learn_as.get(fold_genre_name(name))
            self._mains[genre] = composed(self._vocabulary.main(name) if mapped is None else mapped)
        return self._mains[genre]


def read_rows(
    lib: Library, vocabulary: Vocabulary, learn_as: Mapping[str, str]
) -> tuple[list[Row], Naming]:
    """Read all tracks of a library."""
    values = list(Matches(lib, Item, TrueQuery()).values(*FIELDS))
    tags = [vocabulary.genres_of(value["genres"]) for value in values]
    naming = Naming(vocabulary, learn_as, tags)
    return [_row(*pair, naming) for pair in zip(values, tags, strict=True)], naming


def _row(values: Mapping[str, Any], genres: list[str], naming: Naming) -> Row:
    name = values["artist"] or values["albumartist"] or ""
    album = values["album_id"]
    return Row(
        id=values["id"],
        artist=fold_artist_name(name) or (f"album {album}" if album else f"track {values['id']}"),
        artist_name=name,
        album=None if values["comp"] else album,
        album_name=values["album"] or "",
        title=values["title"] or "",
        genres=tuple(genres),
        mains=tuple(naming.main(genre) for genre in genres),
        by_plugin=bool(genres) and is_set_by_plugin(values, genres[:1]),
        kept=bool(genres) and is_kept(genres, values["agf_kept"]),
    )


def is_kept(genres: Iterable[str], kept: Iterable[str] | None) -> bool:
    """Return whether the user keeps these very genres."""
    return list(map(fold_genre_name, genres)) == list(map(fold_genre_name, kept or ()))
