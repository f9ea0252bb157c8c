"""The plugin's fields in beets' library, and their types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beets import ui
from beets.dbcore import types
from beets.util import diff

from beetsplug.agfgenre.tag.decision import SHOWN_DIGITS

if TYPE_CHECKING:
    from beets.dbcore.db import FormattedMapping

# Genres have the type that beets' own `genres` have, so that every query looks into the list.
FIELDS: dict[str, types.Type] = {
    "agf_genres": types.MULTI_VALUE_DSV,
    "agf_confidence": types.NullFloat(SHOWN_DIGITS),
    "agf_model": types.STRING,
    "agf_set": types.MULTI_VALUE_DSV,
}

_field_diff = diff._field_diff


def _field_diff_of_lists(field: str, old: FormattedMapping, new: FormattedMapping) -> str | None:
    """Show that a list is removed, at which ``beet modify FIELD!`` of beets 2.14.1 fails."""
    if field in FIELDS and field in old and field not in new:
        return ui.colorize("text_diff_removed", f"{field}: {old[field]}")
    return _field_diff(field, old, new)


diff._field_diff = _field_diff_of_lists
