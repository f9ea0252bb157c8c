"""``beet agfsimilar``: tracks that sound like others, and paths from one track to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from beets.ui import UserError

from agf_core.data.artist_names import fold_artist_name
from agf_core.data.genre_names import fold_genre_name
from agf_core.errors import BundleError
from agf_core.inference.neighbours import Neighbours
from agf_core.inference.whitening import SEARCH_SHRINKAGE, Whitening
from beetsplug.agfgenre.console import plural
from beetsplug.agfgenre.library_features import matching_items, read_features
from beetsplug.agfgenre.models import chosen_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from beets.library import Item, Library
    from beets.logging import BeetsLogger

    from beetsplug.agfgenre.config import Settings
    from beetsplug.agfgenre.library_features import LibraryFeatures


@dataclass(frozen=True)
class Request:
    """What is looked for.

    Attributes
    ----------
    query : list of str
        The tracks to start from.
    to : str
        A query of the track that a path leads to; empty for the nearest tracks.
    count : int
        How many tracks; a path has both of its ends among them.
    other_artists : bool
        Leave out tracks by the artists of the tracks that the queries match.
    """

    query: list[str]
    to: str = ""
    count: int = 10
    other_artists: bool = False


def find_similar(
    lib: Library, request: Request, settings: Settings, log: BeetsLogger
) -> list[Item]:
    """Return the nearest tracks, or a path; each has its similarity as ``agf_similarity``.

    That is the cosine to the tracks of the query, or in a path to the track before. It is not
    stored.

    Raises
    ------
    UserError
        If a query matches nothing, or nothing that has stored features.
    """
    if not request.query:
        raise UserError("agfsimilar: a query is needed, of the tracks to start from")
    if request.count < (2 if request.to else 1):
        raise UserError("agfsimilar: -n must be 1 or more, and 2 or more with --to")
    try:
        model = chosen_model(settings.model)
    except BundleError as error:
        raise UserError(f"agfsimilar: {error}") from None
    features = read_features(lib, [], model, log)
    if not features.embeddings.shape[1]:
        raise UserError(
            f"agfsimilar: the model {model.metadata.name} is older than embeddings; "
            "use another one, see `beet agfmodels`"
        )
    search = Search(features)
    start = search.rows(lib, request.query, " ".join(request.query))
    if not request.to:
        rows, similarities = search.nearest(start, request)
    else:
        end = search.rows(lib, request.to, request.to)
        rows, similarities = search.path(start, end, request)
    found = features.items.at(rows)
    similarity = dict(zip(found.ids, similarities, strict=True))
    items = list(found)
    for item in items:
        item["agf_similarity"] = round(similarity[cast(int, item.id)], 3)
    if not items:
        log.warning("besides the tracks of the query none can be listed")
    elif len(items) < request.count:
        log.warning("only {} found that can be listed", plural(len(items), "track"))
    return items


class Search:
    """The tracks of a library that have features, ready to be searched."""

    def __init__(self, features: LibraryFeatures) -> None:
        self._row = {track: row for row, track in enumerate(features.items.ids)}
        self._artists: list[str] = [""] * len(self._row)
        self._recordings: list[tuple[str, str] | int] = list(range(len(self._row)))
        for values in features.items.values("artist", "albumartist", "title"):
            row = self._row[values["id"]]
            artist = fold_artist_name(values["artist"] or values["albumartist"] or "")
            self._artists[row] = artist
            if artist and values["title"]:
                self._recordings[row] = artist, fold_genre_name(values["title"])
        whitening = Whitening.fit(features.embeddings, self._artists, SEARCH_SHRINKAGE)
        self._neighbours = Neighbours(whitening.apply(features.embeddings))

    def rows(self, lib: Library, query: Sequence[str] | str, shown: str) -> list[int]:
        """Return the rows of the tracks that match a query and have features."""
        ids = matching_items(lib, query).ids
        rows = [self._row[track] for track in ids if track in self._row]
        if not rows:
            problem = "none that matches is analysed" if ids else "nothing matches"
            raise UserError(f"agfsimilar: {shown}: {problem}")
        return rows

    def nearest(self, start: Sequence[int], request: Request) -> tuple[list[int], list[float]]:
        """Return the tracks nearest to others, each recording once, and their similarities."""
        allowed = self._allowed(start, request)
        order = self._neighbours.nearest(start)
        chosen = order[allowed[order]][: request.count].tolist()
        return chosen, self._neighbours.similarities(start)[chosen].tolist()

    def path(
        self, start: Sequence[int], end: Sequence[int], request: Request
    ) -> tuple[list[int], list[float]]:
        """Return a path from one track to another, and the similarity of each to the one before.

        Of several tracks that a query matches, the most typical one is taken.
        """
        first, last = self._typical(start), self._typical(end)
        if first == last:
            raise UserError("agfsimilar: both queries lead to the same track")
        allowed = self._allowed([first, last], request)
        rows = self._neighbours.path(first, last, request.count, allowed)
        vectors = self._neighbours.vectors[rows]
        steps = np.einsum("ij,ij->i", vectors[1:], vectors[:-1])
        return rows, [1.0, *steps.tolist()]

    def _typical(self, rows: Sequence[int]) -> int:
        similarities = self._neighbours.similarities(rows)[list(rows)]
        return rows[int(similarities.argmax())]

    def _allowed(self, start: Iterable[int], request: Request) -> np.ndarray:
        """Return which tracks may be found: of each recording one, of these tracks' none."""
        seen = {self._recordings[row] for row in start}
        excluded = {self._artists[row] for row in start} - {""} if request.other_artists else set()
        allowed = np.zeros(len(self._artists), bool)
        for row, recording in enumerate(self._recordings):
            allowed[row] = recording not in seen and self._artists[row] not in excluded
            seen.add(recording)
        allowed[list(start)] = False
        return allowed
