"""Draw the map of a query's tracks."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from beets.ui import UserError
from beets.util import displayable_path

from agf_core.bundle import format as bundle_format
from agf_core.errors import BundleError
from beetsplug.agfgenre.audit.run import suspect_tracks
from beetsplug.agfgenre.console import plural
from beetsplug.agfgenre.library_features import matching_items, read_features
from beetsplug.agfgenre.map import page
from beetsplug.agfgenre.map.layout import library_layout
from beetsplug.agfgenre.map.points import FIELDS, MapTracks, columns
from beetsplug.agfgenre.models import chosen_model
from beetsplug.agfgenre.tag.library_tags import LibraryTags, artist_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from beets.library import Library
    from beets.logging import BeetsLogger

    from agf_core.inference.layout import Layout
    from beetsplug.agfgenre.config import Settings
    from beetsplug.agfgenre.library_features import LibraryFeatures
    from beetsplug.agfgenre.vocabulary import Vocabulary

FILE, FILE_OF_QUERY = "agfmap.html", "agfmap-query.html"
MOST_FLUENT = 100_000  # tracks from which a line says that the page may be slow


class Mapper:
    """Draws maps of a library.

    Parameters
    ----------
    lib : Library
    vocabulary : Vocabulary
    learn_as : mapping
        See `beetsplug.agfgenre.vocabulary.read_learn_as`.
    settings : Settings
    min_tracks : int
        Of a genre, below which suspects are found without training on it.
    log : BeetsLogger
    """

    def __init__(
        self,
        lib: Library,
        vocabulary: Vocabulary,
        learn_as: Mapping[str, str],
        settings: Settings,
        min_tracks: int,
        log: BeetsLogger,
    ) -> None:
        self._lib, self._log = lib, log
        self._settings, self._min_tracks = settings, min_tracks
        self._vocabulary, self._learn_as = vocabulary, learn_as
        try:
            self._model = chosen_model(settings.model)
        except BundleError as error:
            raise UserError(f"agfmap: {error}") from None

    def draw(self, query: Sequence[str], path: Path, *, force: bool, renew: bool) -> None:
        """Write the page of the tracks that match.

        The layout is that of the whole library, whatever the query, so that a track has one place.

        Parameters
        ----------
        query : sequence of str
        path : Path
            Of the page.
        force : bool
            Replace a file that is no map.
        renew : bool
            Lay out the library anew.

        Raises
        ------
        UserError
            If nothing matches or is analysed, or the page cannot be written.
        """
        page.check_target(path, force=force)
        matches = matching_items(self._lib, query)
        if not len(matches):
            raise UserError("agfmap: nothing in the library matches")
        features = read_features(self._lib, [], self._model, self._log)
        if not features.embeddings.shape[1]:
            raise UserError(
                f"agfmap: {self._model.metadata.name} is older than embeddings; "
                "use another model (`beet agfmodels`)"
            )
        values = list(features.items.values(*FIELDS))
        artists = list(map(artist_key, values))
        layout = library_layout(
            self._lib, self._model.base_id, features.embeddings, artists, self._log, renew=renew
        )
        wanted = {value["id"] for value in matches.values("id")}
        kept = np.array([i for i, value in enumerate(values) if value["id"] in wanted], int)
        if not len(kept):
            raise UserError(
                "agfmap: none of the tracks that match is analysed; "
                "`beet agfgenre --explain -p` analyses them, or shows why it cannot"
            )
        tracks = self._checked(features, values, layout, kept)
        if len(kept) > MOST_FLUENT:
            self._log.info(
                "more than {} tracks in a page are slow: a query shows fewer", MOST_FLUENT
            )
        title = f"Map of {plural(len(kept), 'track')}"
        page.write(path, page.page(columns(tracks, self._vocabulary), title))
        shown = displayable_path(path.resolve())
        self._log.info("wrote a map of {} to {}", plural(len(kept), "track"), shown)

    def _checked(
        self,
        features: LibraryFeatures,
        values: list[dict[str, Any]],
        layout: Layout,
        kept: np.ndarray,
    ) -> MapTracks:
        from agf_core.inference.layout import sound_keys

        metadata = self._model.metadata
        some = [values[i] for i in kept]
        tags = LibraryTags(
            self._lib, metadata.labels, metadata.styles, self._vocabulary, self._learn_as
        )
        styles = self._styles(features.styles.shape[1])
        return MapTracks(
            some,
            layout.of(sound_keys(features.embeddings[kept])),
            metadata.labels,
            features.probabilities(metadata)[kept],
            styles,
            features.styles[kept, : len(styles)],
            np.array([-1 if genre is None else genre for genre in map(tags.genre_of, some)], int),
            self._suspects(features, {value["id"] for value in some}),
        )

    def _suspects(self, features: LibraryFeatures, shown: set[int]) -> dict[int, str]:
        found = suspect_tracks(
            self._lib,
            features,
            shown,
            self._vocabulary,
            self._learn_as,
            self._min_tracks,
            self._settings,
            self._log,
        )
        return {suspect.id: suspect.suggested for suspect in found}

    def _styles(self, n_styles: int) -> tuple[str, ...]:
        """Return the styles' names, which a light model does not have, but its base model does."""
        metadata = self._model.metadata
        if metadata.head:
            shipped = bundle_format.load()
            metadata = shipped.metadata if shipped.model_id == self._model.base_id else metadata
        names = tuple(style.name for style in metadata.styles)
        return names if len(names) == n_styles else ()


def open_page(path: Path) -> None:
    """Open a page in the browser; raise a `UserError` where there is none."""
    if not webbrowser.open(path.resolve().as_uri()):
        raise UserError("agfmap: no browser can be opened here; open the file yourself")
