"""The artist's other tracks in the library, where a track is decided on."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from beets.util import syspath

from agf_core.inference.artist_context import ArtistContext, fit_pooling
from agf_core.inference.prediction import Prediction
from beetsplug.agfgenre.tag.library_tags import artist_key

if TYPE_CHECKING:
    from beets.library import Item, Library

    from agf_core.inference.prior_adjusted import Tagger
    from beetsplug.agfgenre.config import Settings
    from beetsplug.agfgenre.fields import TrackOrAlbum
    from beetsplug.agfgenre.tag.library_tags import LibraryTags, TaggedTrack

KnownGenre = tuple[str, str, int]  # the artist's key, the album's, the index of the genre

GENRES_SHOWN = 3
MOST_OTHERS = 50  # other tracks of an artist whose predictions count
MOST_FITTED = 300  # tagged tracks on which the weight of predictions is estimated


@dataclass
class _Sounds:
    """Predictions of an artist's tracks.

    Attributes
    ----------
    analysed : set of int
        Ids of tracks that have been analysed.
    known : dict
        Probabilities by id, of those that are decided on or stored, np.ndarray [shape=(n_genres,)].
    missing : set of int
        Ids of tracks whose predictions are not stored any more.
    """

    analysed: set[int] = field(default_factory=set)
    known: dict[int, np.ndarray] = field(default_factory=dict)
    missing: set[int] = field(default_factory=set)


class LibraryContext:
    """The tracks and genres of artists in a library; genres that this plugin has set do not count.

    Parameters
    ----------
    lib : Library
    tags : LibraryTags
    tagger : Tagger
    """

    def __init__(self, lib: Library, tags: LibraryTags, tagger: Tagger) -> None:
        self._lib, self._tags, self._tagger, self._labels = lib, tags, tagger, tags.labels
        self._numbers = {track.number for track in tags.tracks}
        self._sounds: dict[str, _Sounds] = defaultdict(_Sounds)
        for track in tags.tracks:
            if track.artist and track.analysed_by:
                self._sounds[track.artist].analysed.add(track.number)
        self._unknown = Counter(t.artist for t in tags.tracks if t.has_unknown_genre)
        known = [(track, _known_genre(track)) for track in tags.tracks]
        tagged = [(track, genre) for track, genre in known if genre]
        self._context = ArtistContext.of(
            [genre for _, genre in tagged], len(tags.labels), tagger.prior, self._fitted(tagged)
        )

    def suffix(self, obj: TrackOrAlbum | Mapping[str, Any]) -> str:
        """Return what is added to a model's id where it predicts with the context of `obj`."""
        counts, n_others = self._counts(obj), self._n_others(obj)
        if counts is None and not n_others:
            return ""
        genres = f"{self._context.concentration:.3g} {None if counts is None else counts.tolist()}"
        if counts is not None and (n_unknown := self._n_unknown(obj)):
            genres += f" {n_unknown}"
        facts = f"{genres} {self._context.pooling:.3g} {n_others}"
        return f"+artist-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"

    def add(self, item: Item, prediction: Prediction) -> None:
        """Add the prediction of a track by its sound, which counts for others of its artist."""
        if artist := artist_key(item):
            sounds = self._sounds[artist]
            number = cast(int, item.id)
            sounds.analysed.add(number)
            sounds.known[number] = prediction.probabilities

    def add_tags(self, items: Iterable[Item]) -> None:
        """Add the genres of tracks that have come to the library since it was read."""
        for item in items:
            number, genre, artist = cast(int, item.id), self._tags.genre_of(item), artist_key(item)
            if number not in self._numbers and artist:
                if genre is not None:
                    self._context.counts.setdefault(artist, np.zeros(len(self._labels)))[genre] += 1
                self._unknown[artist] += self._tags.has_unknown_genre(item)
            self._numbers.add(number)

    def adjust(self, item: Item, prediction: Prediction) -> Prediction:
        """Return a prediction from the sound and the artist's other tracks."""
        pooled, counts = self._pooled(item, prediction), self._counts(item)
        return pooled if counts is None else self._with_genres(item, pooled, counts)

    def parts(self, item: Item, prediction: Prediction) -> list[tuple[str, Prediction]]:
        """Return what a prediction becomes with each part of the context, and a name for it."""
        others, counts, found = self._others(item), self._counts(item), []
        pooled = self._pooled(item, prediction)
        if others and self._context.pooling:
            found.append((f"with the artist's other predictions ({len(others)})", pooled))
        if counts is not None:
            best = np.argsort(-counts, kind="stable")[:GENRES_SHOWN]
            genres = [f"{self._labels[i]} {counts[i]:.0f}" for i in best if counts[i]]
            if n_unknown := self._n_unknown(item):
                genres.append(f"{n_unknown} unknown to the model")
            name = f"with your genres of the artist's other tracks ({', '.join(genres)})"
            found.append((name, self._with_genres(item, pooled, counts)))
        return found

    def _pooled(self, item: Item, prediction: Prediction) -> Prediction:
        others = self._others(item)
        if not others:
            return prediction
        pooled = self._context.pool(prediction.probabilities, others)
        return replace(prediction, probabilities=pooled)

    def _with_genres(self, item: Item, prediction: Prediction, counts: np.ndarray) -> Prediction:
        adjusted = self._context.adjust(prediction.probabilities, counts, self._n_unknown(item))
        return replace(prediction, probabilities=adjusted)

    def _n_others(self, obj: TrackOrAlbum | Mapping[str, Any]) -> int:
        """Return how many other tracks of the artist have been analysed, if they count."""
        sounds = self._sounds.get(artist_key(obj))
        if sounds is None or not self._context.pooling:
            return 0
        own = "artist" in obj and obj["id"] in sounds.analysed  # an album is no track
        return min(len(sounds.analysed) - own, MOST_OTHERS)

    def _others(self, item: Item) -> list[np.ndarray]:
        """Return predictions of the artist's other tracks, at most `MOST_OTHERS`."""
        sounds = self._sounds.get(artist_key(item))
        if sounds is None:
            return []
        numbers = sorted(sounds.analysed - {item.id})[:MOST_OTHERS]
        for number in numbers:
            if number not in sounds.known and number not in sounds.missing:
                stored = self._stored(number)
                if stored is None:
                    sounds.missing.add(number)
                else:
                    sounds.known[number] = stored
        return [sounds.known[number] for number in numbers if number in sounds.known]

    def _stored(self, number: int) -> np.ndarray | None:
        item = self._lib.get_item(number)
        result = self._tagger.stored(syspath(item.path)) if item else None
        return result.prediction.probabilities if result and result.prediction else None

    def _fitted(self, tagged: Sequence[tuple[TaggedTrack, KnownGenre]]) -> float:
        """Estimate the pooling on tagged tracks whose features are stored.

        A fine-tuned model was trained on them, and its predictions of them prove nothing.
        """
        albums: dict[str, set[str]] = defaultdict(set)
        for _, (artist, album, _) in tagged:
            albums[artist].add(album)
        several = [one for one in tagged if len(albums[one[1][0]]) > 1]
        found: list[np.ndarray] = []
        genres: list[KnownGenre] = []
        for track, genre in several[: 0 if self._tagger.fine_tuned else MOST_FITTED]:
            if (stored := self._stored(track.number)) is not None:
                found.append(stored)
                genres.append(genre)
        return fit_pooling(np.array(found).reshape(len(found), len(self._labels)), genres)

    def _n_unknown(self, obj: TrackOrAlbum | Mapping[str, Any]) -> int:
        """Return how many other tracks of the artist have a genre that is none of the model's."""
        own = "artist" in obj and self._tags.has_unknown_genre(obj)  # an album is no track
        return max(0, self._unknown[artist_key(obj)] - own)

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


def of_library(
    lib: Library, tags: LibraryTags, tagger: Tagger, settings: Settings
) -> LibraryContext | None:
    """Return the context of a library, if the settings want it."""
    return LibraryContext(lib, tags, tagger) if settings.context else None


def _known_genre(track: TaggedTrack) -> KnownGenre | None:
    if track.genre is None or not track.artist:
        return None
    album = f"album {track.album}" if track.album else f"track {track.number}"
    return track.artist, album, track.genre
