"""Tracks that need no look, as the database can tell without beets building each of them.

It passes over only those of which it is certain; of all others, `Run` decides as ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from beets.dbcore.query import AndQuery, NotQuery, Query
from beets.library import Item

from .decision import SHOWN_DIGITS, Outcome

if TYPE_CHECKING:
    from beets.dbcore import Model
    from beets.dbcore.query import SQLiteType
    from beets.dbcore.sort import Sort
    from beets.library import Library

    from .report import Summary
    from .settings import Settings

# What may stand in a text of genres without there being one: blanks, and what beets parts them by.
BLANKS = "".join(letter for letter in map(chr, range(0x3001)) if letter.isspace())
NO_GENRE = BLANKS + "\\\N{SYMBOL FOR NULL};"

HAS_GENRES = "coalesce(trim(items.genres, ?), '') != ''"

# Casting takes any text for a number: one that is not written as a number is, is none.
IS_UNSURE = """
coalesce(items.genres, '') = '' AND items.id IN (
    SELECT entity_id
    FROM item_attributes AS model
    JOIN item_attributes AS confidence USING (entity_id)
    JOIN item_attributes AS heard USING (entity_id)
    WHERE model.key = 'agf_model' AND model.value = ?
    AND confidence.key = 'agf_confidence' AND CAST(confidence.value AS REAL) < ?
    AND CAST(CAST(confidence.value AS REAL) AS TEXT) = confidence.value
    AND heard.key = 'agf_genres' AND heard.value != ''
)
"""


class Condition(Query):
    """A condition in SQL, for queries that the database answers by itself."""

    def __init__(self, sql: str, *values: SQLiteType) -> None:
        self._sql, self._values = sql, values

    def clause(self) -> tuple[str, Sequence[SQLiteType]]:
        """Return the condition and what its question marks stand for."""
        return self._sql, self._values

    def match(self, obj: Model) -> bool:
        """Judge a track by itself, which is not what this is for."""
        raise NotImplementedError


class Matching:
    """The tracks that match a query; those that need no look are counted, if all can be told.

    That is not so of queries that the database cannot answer by itself, nor where genres that are
    there are changed or everything is explained: then every track needs a look.

    Parameters
    ----------
    lib : Library
    query : Query
    sort : Sort
    settings : Settings
    """

    def __init__(self, lib: Library, query: Query, sort: Sort, settings: Settings) -> None:
        self._lib, self._query, self._sort = lib, query, sort
        self._least = settings.min_confidence
        by_database = query.clause()[0] is not None
        counts = by_database and settings.open_only and not settings.explain
        self._all = None if counts else lib.items(query, sort)
        self._taken = Condition(HAS_GENRES, NO_GENRE)
        self._n_taken = self._count(self._taken) if counts else 0

    def __bool__(self) -> bool:
        if self._all is not None:
            return bool(self._all)
        return bool(self._n_taken or self._count())

    def to_look_at(self, model_id: str, summary: Summary) -> Iterable[Item]:
        """Return the tracks that need a look, and add the others to a summary.

        Parameters
        ----------
        model_id : str
            Of the model that listens.
        summary : Summary
        """
        if self._all is not None:
            return self._all
        surely = self._least - 10**-SHOWN_DIGITS  # below, no rounding makes it enough
        unsure = Condition(IS_UNSURE, model_id, surely)
        summary.add(Outcome.TAKEN, Item, self._n_taken)
        summary.add(Outcome.UNSURE, Item, self._count(unsure))
        others = [self._query, NotQuery(self._taken), NotQuery(unsure)]
        return self._lib.items(AndQuery(others), self._sort)

    def _count(self, *conditions: Condition) -> int:
        """Count the tracks that match and of which that is so; none of them is built."""
        return len(self._lib.items(AndQuery([self._query, *conditions])))
