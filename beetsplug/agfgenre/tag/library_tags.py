"""The tags of a whole library, read once in a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from beets.dbcore.query import TrueQuery
from beets.library import Item

from agf_core.data.artist_names import fold_artist_name
from agf_core.data.genre_names import fold_genre_name
from beetsplug.agfgenre.fields import CONTEXT_FIELDS, is_set_by_plugin
from beetsplug.agfgenre.tag.prefilter import Matches

if TYPE_CHECKING:
    from beets.library import Library

    from agf_core.bundle.format import Style
    from beetsplug.agfgenre.fields import TrackOrAlbum
    from beetsplug.agfgenre.vocabulary import Vocabulary


@dataclass(frozen=True)
class TaggedTrack:
    """What the library has about a track.

    Attributes
    ----------
    number : int
        Its id.
    artist : str
        The artist's key; empty for nobody.
    album : int or None
        Id of its album.
    genre : int or None
        The index of the model's label that the user's genre is; None if it is none.
    has_unknown_genre : bool
        Whether the user gave it a genre that is none of the model's.
    is_open : bool
        Whether it has no genre that it would keep.
    analysed_by : str
        The model whose prediction is stored; empty where there is none.
    """

    number: int
    artist: str
    album: int | None
    genre: int | None
    has_unknown_genre: bool
    is_open: bool
    analysed_by: str


class LibraryTags:
    """Genres that the user has given, as labels of a model; those that this plugin set are none.

    A style of the model, such as heavy metal, is the label that it belongs to.

    Parameters
    ----------
    lib : Library
    labels : tuple of str
        The model's.
    styles : sequence of Style
        The model's.
    vocabulary : Vocabulary
    learn_as : mapping
        See `beetsplug.agfgenre.vocabulary.read_learn_as`.
    """

    def __init__(
        self,
        lib: Library,
        labels: tuple[str, ...],
        styles: Sequence[Style],
        vocabulary: Vocabulary,
        learn_as: Mapping[str, str],
    ) -> None:
        self.labels, self._lib = labels, lib
        self._vocabulary, self._learn_as = vocabulary, learn_as
        self._place = {fold_genre_name(self._main(label)): i for i, label in enumerate(labels)}
        for style in styles:
            self._place.setdefault(fold_genre_name(style.name), labels.index(style.genre))

    @cached_property
    def tracks(self) -> list[TaggedTrack]:
        """All tracks of the library, read when this is first used."""
        found = Matches(self._lib, Item, TrueQuery()).values(*CONTEXT_FIELDS, "agf_model")
        return list(map(self._track, found))

    def genre_of(self, obj: TrackOrAlbum | Mapping[str, Any]) -> int | None:
        """Return the index of the label that the user's genre of a track is; None if it is none."""
        return self._place_of(self._given(obj))

    def has_unknown_genre(self, obj: TrackOrAlbum | Mapping[str, Any]) -> bool:
        """Return whether the user gave a track a genre that is none of the model's."""
        genre = self._given(obj)
        return bool(genre) and self._place_of(genre) is None

    def _given(self, obj: TrackOrAlbum | Mapping[str, Any]) -> str:
        """Return the first genre that the user gave a track; empty if there is none."""
        genres = self._vocabulary.genres_of(obj["genres"])
        return genres[0] if genres and not is_set_by_plugin(obj, genres[:1]) else ""

    def _place_of(self, genre: str) -> int | None:
        return self._place.get(fold_genre_name(self._main(genre.strip()))) if genre else None

    def _track(self, values: Mapping[str, Any]) -> TaggedTrack:
        given = self._given(values)
        place = self._place_of(given)
        return TaggedTrack(
            values["id"],
            artist_key(values),
            values["album_id"],
            place,
            bool(given) and place is None,
            not self._vocabulary.genres_of(values["genres"]),
            values["agf_model"] or "",
        )

    def _main(self, genre: str) -> str:
        mapped = self._learn_as.get(fold_genre_name(genre))
        return self._vocabulary.main(genre) if mapped is None else mapped


def artist_key(obj: TrackOrAlbum | Mapping[str, Any]) -> str:
    """Return what the artist of a track or an album is known by; empty for nobody."""
    return fold_artist_name(obj.get("artist") or obj["albumartist"] or "")
