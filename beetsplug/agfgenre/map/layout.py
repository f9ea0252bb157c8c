"""The layout of a library's map, kept in the cache so that tracks stay where they are."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from agf_core.errors import CacheError
from agf_core.features.cache import FeatureCache
from agf_core.inference import layout as layouts
from agf_core.inference.layout import Layout
from beetsplug.agfgenre.console import plural
from beetsplug.agfgenre.models import cache_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beets.library import Library
    from beets.logging import BeetsLogger

KIND = "map"
ROW = np.dtype([("key", "<u8"), ("x", "<f4"), ("y", "<f4"), ("fitted", "?")])
LONG = 5000  # tracks from which a line says that the layout takes a while
SECONDS_PER_TRACK = 0.002


def library_layout(
    lib: Library,
    model_id: str,
    embeddings: np.ndarray,
    artists: Sequence[str],
    log: BeetsLogger,
    *,
    renew: bool,
) -> Layout:
    """Return a layout of all tracks: the stored one, extended, or a new one, which is stored.

    Parameters
    ----------
    lib : Library
    model_id : str
        The model that made the embeddings.
    embeddings : np.ndarray [shape=(n, n_embedding)]
    artists : sequence of str
    log : BeetsLogger
    renew : bool
        Lay out all tracks anew.
    """
    cache = FeatureCache(cache_folder())
    parts = os.path.abspath(os.fsdecode(lib.path)), model_id, layouts.method()
    name = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    known = None
    if not renew:
        with suppress(KeyError):
            known = _layout(cache.stored(KIND, name, lambda rows: rows.dtype == ROW))
    if known is not None and layouts.is_complete(known, layouts.sound_keys(embeddings)):
        return known
    if layouts.method() == "pca" and len(embeddings) >= layouts.FEWEST_FITTED:
        log.info(
            "the map is laid out by principal components; `pip install 'beets-agf[map]'` brings "
            "t-SNE, which keeps many more similar tracks together"
        )
    elif known is None and len(embeddings) >= LONG:
        seconds = min(len(embeddings), layouts.MOST_FITTED) * SECONDS_PER_TRACK
        log.info("laying out {}, about {:.0f} seconds", plural(len(embeddings), "track"), seconds)
    if known is None and len(embeddings) > layouts.MOST_FITTED:
        log.info(
            "{} of them are laid out together, the others are placed among these",
            plural(layouts.MOST_FITTED, "track"),
        )
    layout = layouts.lay_out(embeddings, artists, known)
    try:
        cache.put(KIND, name, _rows(layout))
    except CacheError as error:
        log.warning("{}; tracks may move in the next map", error)
    return layout


def _layout(rows: np.ndarray) -> Layout:
    return Layout(rows["key"], np.stack([rows["x"], rows["y"]], axis=1), rows["fitted"])


def _rows(layout: Layout) -> np.ndarray:
    rows = np.empty(len(layout.keys), ROW)
    rows["key"], rows["fitted"] = layout.keys, layout.fitted
    rows["x"], rows["y"] = layout.positions.T
    return rows
