"""The genres that the user has given to other tracks of an artist, when a track is decided on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from beets.dbcore.query import TrueQuery
from beets.library import Item

from agf_core.data.artist_names import fold_artist_name
from agf_core.data.genre_names import fold_genre_name
from agf_core.inference.artist_context import ArtistContext
from beetsplug.agfgenre.fields import CONTEXT_FIELDS, is_set_by_plugin
from beetsplug.agfgenre.tag.prefilter import Matches

if TYPE_CHECKING:
    from beets.library import Library

    from agf_core.inference.prediction import Prediction
    from beetsplug.agfgenre.config import Settings
    from beetsplug.agfgenre.fields import TrackOrAlbum
    from beetsplug.agfgenre.vocabulary import Vocabulary

GENRES_SHOWN = 3  # genres


class LibraryContext:
    """The genres of artists in a library; those that this plugin has set do not count.

    Parameters
    ----------
    lib : Library
    labels : tuple of str
        The model's.
    vocabulary : Vocabulary
    learn_as : mapping
        See `beetsplug.agfgenre.vocabulary.read_learn_as`.
    """

    def __init__(
        self,
        lib: Library,
        labels: tuple[str, ...],
        vocabulary: Vocabulary,
        learn_as: Mapping[str, str],
    ) -> None:
        self._vocabulary, self._learn_as, self._labels = vocabulary, learn_as, labels
        self._place = {fold_genre_name(self._main(label)): i for i, label in enumerate(labels)}
        self._context = ArtistContext.of(self._tagged(lib), len(labels))

    def suffix(self, obj: TrackOrAlbum | Mapping[str, Any]) -> str:
        """Return what is added to a model's id where it predicts with the context of `obj`."""
        counts = self._counts(obj)
        if counts is None:
            return ""
        facts = f"{self._context.concentration:.3g} {counts.tolist()}"
        return f"+artist-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"

    def adjust(self, item: Item, prediction: Prediction) -> Prediction:
        """Return a prediction from the sound and the artist's other tracks."""
        counts = self._counts(item)
        if counts is None:
            return prediction
        return replace(
            prediction, probabilities=self._context.adjust(prediction.probabilities, counts)
        )

    def explain(self, item: Item, prediction: Prediction) -> str:
        """Describe both parts of a prediction; empty where there is no context."""
        counts = self._counts(item)
        if counts is None:
            return ""
        by_sound = ", ".join(
            f"{genre} {share:.2f}" for genre, share in prediction.top(GENRES_SHOWN)
        )
        best = np.argsort(-counts, kind="stable")[:GENRES_SHOWN]
        others = ", ".join(f"{self._labels[i]} {counts[i]:.0f}" for i in best if counts[i])
        return f"by sound alone: {by_sound}; other tracks of the artist: {others}"

    def _counts(self, obj: TrackOrAlbum | Mapping[str, Any]) -> np.ndarray | None:
        """Return how many other tracks of the artist have each genre; None if none has any."""
        counts = self._context.counts.get(_artist(obj))
        if counts is None:
            return None
        own = self._genre(obj) if "artist" in obj else None  # an album is no track
        if own is not None:
            counts = counts.copy()
            counts[own] -= 1
        return counts if counts.any() else None

    def _tagged(self, lib: Library) -> Iterator[tuple[str, str, int]]:
        for values in Matches(lib, Item, TrueQuery()).values(*CONTEXT_FIELDS):
            genre = self._genre(values)
            if genre is not None and (artist := _artist(values)):
                album = values["album_id"]
                yield artist, f"album {album}" if album else f"track {values['id']}", genre

    def _genre(self, obj: TrackOrAlbum | Mapping[str, Any]) -> int | None:
        """Return the index of the label that the user's genre of a track is; None if it is none."""
        genres = self._vocabulary.genres_of(obj["genres"])
        if not genres or is_set_by_plugin(obj, genres[:1]):
            return None
        return self._place.get(fold_genre_name(self._main(genres[0].strip())))

    def _main(self, genre: str) -> str:
        mapped = self._learn_as.get(fold_genre_name(genre))
        return self._vocabulary.main(genre) if mapped is None else mapped


def of_library(
    lib: Library,
    labels: tuple[str, ...],
    vocabulary: Vocabulary,
    learn_as: Mapping[str, str],
    settings: Settings,
) -> LibraryContext | None:
    """Return the context of a library, if the settings want it."""
    return LibraryContext(lib, labels, vocabulary, learn_as) if settings.context else None


def _artist(obj: TrackOrAlbum | Mapping[str, Any]) -> str:
    return fold_artist_name(obj.get("artist") or obj["albumartist"] or "")
