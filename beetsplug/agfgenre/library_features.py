"""The stored features of a library's tracks: what works from them analyses no file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from beets.dbcore.query import InvalidQueryArgumentValueError, InvalidQueryError
from beets.library import Item, parse_query_parts, parse_query_string
from beets.ui import UserError
from beets.util import syspath

from agf_core.inference.prediction import predict_genres
from beetsplug.agfgenre.console import plural
from beetsplug.agfgenre.models import embedding_store
from beetsplug.agfgenre.tag.prefilter import Matches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beets.library import Library
    from beets.logging import BeetsLogger

    from agf_core.bundle.format import Bundle, Metadata

ANALYSE = "`beet agfgenre --explain -p{}` analyses them and changes nothing"
ANALYSE_FAILED = "`beet agfgenre --explain -p{}` tries again and shows why"


@dataclass(frozen=True, eq=False)
class LibraryFeatures:
    """The tracks of a query that have stored features, and these.

    Attributes
    ----------
    items : Matches of Item
        The tracks, in the order of the query. It is no list: objects of 100,000 tracks take 1 GB.
        ``items.values("artist", "title")`` reads fields without building objects,
        ``list(items.at([3, 1]))`` builds some, and iteration builds them all one after another.
    embeddings : np.ndarray [shape=(n, n_embedding), dtype=float16]
        By the base model; no numbers where it is older than embeddings.
    log_probabilities : np.ndarray [shape=(n, n_base_labels), dtype=float32]
        Of the base model's genres, calibrated.
    styles : np.ndarray [shape=(n, n_styles), dtype=float32]
        Probabilities of the base model's styles.
    n_missing : int
        Tracks of the query without stored features.
    """

    items: Matches[Item]
    embeddings: np.ndarray
    log_probabilities: np.ndarray
    styles: np.ndarray
    n_missing: int

    def probabilities(self, metadata: Metadata) -> np.ndarray:
        """Return genre probabilities by the base model or a light model on it, (n, n_labels)."""
        return predict_genres(metadata, self.embeddings, self.log_probabilities)


def matching_items(lib: Library, query: Sequence[str] | str) -> Matches[Item]:
    """Return the tracks that match a query, in words or in one text; beets' error otherwise."""
    try:
        if isinstance(query, str):
            return Matches(lib, Item, *parse_query_string(query, Item))
        return Matches(lib, Item, *parse_query_parts(list(query), Item))
    except InvalidQueryArgumentValueError as error:
        raise InvalidQueryError(query, error) from None  # which beets shows in a line


def read_features(
    lib: Library, query: Sequence[str], model: Bundle, log: BeetsLogger
) -> LibraryFeatures:
    """Read the stored features of the tracks that match a query.

    Parameters
    ----------
    lib : Library
    query : sequence of str
    model : Bundle
        The model in use, see `beetsplug.agfgenre.models.chosen_model`.
    log : BeetsLogger
        Warns of tracks without stored features.

    Raises
    ------
    UserError
        If nothing matches, no track that matches has stored features, or they cannot be read.
    """
    items = matching_items(lib, query)
    if not len(items):
        raise UserError("agfgenre: nothing in the library matches")
    paths = [syspath(values["path"]) for values in items.values("path")]
    store = embedding_store()
    found = store.table(model.base_id, paths, len(model.metadata.network_labels))
    missing = np.delete(np.arange(len(paths)), found.files).tolist()
    n_failed = sum(store.has_failed(paths[i]) for i in missing)
    store.close()
    if store.problem:
        raise UserError(f"agfgenre: {store.problem}")
    query_text = "".join(f" {part}" for part in query)
    analyse, retry = ANALYSE.format(query_text), ANALYSE_FAILED.format(query_text)
    matched = plural(len(items), "track")
    n_new = len(missing) - n_failed
    if len(missing) == len(items):
        state = f"none is analysed yet; {analyse}" if n_new else f"none can be analysed; {retry}"
        raise UserError(f"agfgenre: {matched} match, and {state}")
    if n_new:
        log.warning("not analysed yet and left out: {} of {}; {}", n_new, matched, analyse)
    if n_failed:
        log.warning("could not be analysed and left out: {} of {}; {}", n_failed, matched, retry)
    return LibraryFeatures(
        items.at(found.files.tolist()),
        found.embeddings,
        found.log_probabilities,
        found.style_probabilities,
        len(missing),
    )
