"""The genres that the user has given to other tracks of an artist, when a track is decided on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from agf_core.inference.artist_context import ArtistContext
from beetsplug.agfgenre.tag.library_tags import artist_key

if TYPE_CHECKING:
    from beets.library import Item

    from agf_core.inference.prediction import Prediction
    from beetsplug.agfgenre.config import Settings
    from beetsplug.agfgenre.fields import TrackOrAlbum
    from beetsplug.agfgenre.tag.library_tags import LibraryTags

GENRES_SHOWN = 3  # genres


class LibraryContext:
    """What a library tells about artists; genres that this plugin has set do not count.

    Parameters
    ----------
    tags : LibraryTags
    """

    def __init__(self, tags: LibraryTags) -> None:
        self._tags, self._labels = tags, tags.labels
        self._context = ArtistContext.of(_tagged(tags), len(tags.labels))

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
        counts = self._context.counts.get(artist_key(obj))
        if counts is None:
            return None
        own = self._tags.genre_of(obj) if "artist" in obj else None  # an album is no track
        if own is not None:
            counts = counts.copy()
            counts[own] -= 1
        return counts if counts.any() else None


def of_library(tags: LibraryTags, settings: Settings) -> LibraryContext | None:
    """Return the context of a library, if the settings want it."""
    return LibraryContext(tags) if settings.context else None


def _tagged(tags: LibraryTags) -> Iterator[tuple[str, str, int]]:
    for track in tags.tracks:
        if track.genre is not None and track.artist:
            album = f"album {track.album}" if track.album else f"track {track.number}"
            yield track.artist, album, track.genre
