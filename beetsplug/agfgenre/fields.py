"""The types of the plugin's fields in beets' library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beets.dbcore.types import MULTI_VALUE_DSV, BaseString

if TYPE_CHECKING:
    pass


class Labels(BaseString[tuple[str, ...], tuple[str, ...]]):
    """Several labels in one field, written as beets writes its own, but a tuple.

    Of lists beets (2.14.1) cannot show that ``beet modify FIELD!`` takes them away.
    """

    model_type: type[tuple[str, ...]] = tuple

    def format(self, value: tuple[str, ...]) -> str:
        """Show labels to people."""
        return MULTI_VALUE_DSV.format(list(value))

    def parse(self, string: str) -> tuple[str, ...]:
        """Read labels as they are in the library, or as people write them."""
        return tuple(MULTI_VALUE_DSV.parse(string))

    def normalize(self, value: Any) -> tuple[str, ...]:
        """Return labels, however they are given, as a tuple."""
        return tuple(MULTI_VALUE_DSV.normalize(list(value) if isinstance(value, tuple) else value))

    def to_sql(self, model_value: tuple[str, ...]) -> str:
        """Write labels as they are in the library."""
        return MULTI_VALUE_DSV.to_sql(list(model_value))


LABELS = Labels()
