"""The plugin's fields in beets' library: their types, and how they are read and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from beets import ui
from beets.dbcore import types
from beets.library import Album, Item
from beets.util import diff

from agf_core.data.genre_names import fold_genre_name
from agf_core.errors import printable

if TYPE_CHECKING:
    from beets.dbcore.db import FormattedMapping

TrackOrAlbum = Item | Album

# What is read of every track to know the genres that the user has given to artists.
CONTEXT_FIELDS = ("artist", "albumartist", "album_id", "genres", "agf_set")

CONFIDENCE_DIGITS = 2  # of a confidence that is shown, and compared with `min_confidence`


# Genres have the type that beets' own `genres` have, so that every query looks into the list.
FIELDS: dict[str, types.Type[Any, Any]] = {
    "agf_genres": types.MULTI_VALUE_DSV,
    "agf_confidence": types.NullFloat(CONFIDENCE_DIGITS),
    "agf_model": types.STRING,
    "agf_style": types.STRING,
    "agf_style_confidence": types.NullFloat(CONFIDENCE_DIGITS),
    "agf_set": types.MULTI_VALUE_DSV,
    "agf_kept": types.MULTI_VALUE_DSV,
}

_field_diff = diff._field_diff


def _field_diff_of_lists(field: str, old: FormattedMapping, new: FormattedMapping) -> str | None:
    """Show that a list is removed, at which ``beet modify FIELD!`` of beets 2.14.1 fails."""
    if field in FIELDS and field in old and field not in new:
        return ui.colorize("text_diff_removed", printable(f"{field}: {old[field]}"))
    return _field_diff(field, old, new)


diff._field_diff = _field_diff_of_lists


def stored_genres(obj: TrackOrAlbum) -> list[str]:
    """Return the genres in the database: plugins such as `rewrite` show others instead."""
    values = obj._values_fixed
    return list(values["genres"] or ()) if "genres" in values else []


def shown_genres(obj: TrackOrAlbum, genres: Sequence[str]) -> list[str]:
    """Return what other plugins make of genres that a track or an album would have."""
    getter: Any = obj._getters().get("genres")
    if getter is None:
        return list(genres)
    stored, obj._values_fixed["genres"] = stored_genres(obj), list(genres)
    shown = getter(obj)
    obj._values_fixed["genres"] = stored
    return [shown] if isinstance(shown, str) else list(shown or ())


def genres_set_by_plugin(obj: TrackOrAlbum | Mapping[str, Any]) -> tuple[str, ...]:
    """Return the genres that this plugin has set on a track or an album."""
    return tuple(own_value(obj, "agf_set") or ())


def mark_set_by_plugin(obj: TrackOrAlbum, genres: Sequence[str]) -> None:
    """Record which genres this plugin has set, without storing the object."""
    if genres:
        obj["agf_set"] = list(genres)
    elif genres_set_by_plugin(obj):
        del obj["agf_set"]


def is_set_by_plugin(obj: TrackOrAlbum | Mapping[str, Any], genres: Sequence[str]) -> bool:
    """Return whether this plugin has set all of these genres of a track or an album.

    All of its genres may be one, joined by a slash, as they come back from files with ``id3v23``.
    """
    ours = genres_set_by_plugin(obj)
    keys = {fold_genre_name(name) for name in (*ours, "/".join(ours))}
    return all(fold_genre_name(genre) in keys for genre in genres)


def own_value(obj: TrackOrAlbum | Mapping[str, Any], field: str) -> Any:
    """Return the value of a field that does not come from the track's album; None without one."""
    return obj.get(field, with_album=False) if isinstance(obj, Item) else obj.get(field)
