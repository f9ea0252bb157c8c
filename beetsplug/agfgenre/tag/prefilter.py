"""Tracks that need no look, as the database can tell without beets building each of them.

It passes over only those of which it is certain; of all others, `Run` decides as ever.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from beets.dbcore.query import AndQuery, NotQuery, Query
from beets.library import Item

from beetsplug.agfgenre.tag.decision import SHOWN_DIGITS, Outcome

if TYPE_CHECKING:
    from beets.dbcore import Model
    from beets.dbcore.query import SQLiteType
    from beets.dbcore.sort import Sort
    from beets.library import Library

    from beetsplug.agfgenre.config import Settings
    from beetsplug.agfgenre.summary import Summary
    from beetsplug.agfgenre.vocabulary import Vocabulary

AT_ONCE = 500  # tracks that beets builds: it keeps all that it has built of one query

HAS_GENRES = "coalesce(items.genres, '') NOT IN ({})"  # the texts in which there is no genre

# Casting takes any text for a number: one that is not written as a number is, is none.
IS_UNSURE = """
items.id IN (
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
    vocabulary : Vocabulary
        It tells which names are genres.
    """

    def __init__(
        self, lib: Library, query: Query, sort: Sort, settings: Settings, vocabulary: Vocabulary
    ) -> None:
        self._lib, self._query = lib, query
        self._sort = sort or lib.get_default_item_sort()
        self._least = settings.min_confidence
        by_database = query.clause()[0] is not None
        self._counts = by_database and settings.open_only and not settings.explain
        texts = _without_genre(lib, vocabulary) if self._counts else [""]
        self._taken = Condition(HAS_GENRES.format(_marks(texts)), *texts)
        self._n_taken = self._count(self._taken) if self._counts else 0

    def __bool__(self) -> bool:
        return bool(self._n_taken or self._count())

    def to_look_at(self, model_id: str, summary: Summary) -> Iterator[Item]:
        """Return the tracks that need a look, and add the others to a summary.

        Parameters
        ----------
        model_id : str
            Of the model that listens.
        summary : Summary
        """
        if not self._counts:
            return self._built(self._query)
        surely = self._least - 10**-SHOWN_DIGITS  # below, no rounding makes it enough
        unsure = Condition(IS_UNSURE, model_id, surely)
        summary.add(Outcome.TAKEN, Item, self._n_taken)
        summary.add(Outcome.UNSURE, Item, self._count(NotQuery(self._taken), unsure))
        return self._built(AndQuery([self._query, NotQuery(self._taken), NotQuery(unsure)]))

    def _count(self, *conditions: Query) -> int:
        """Count the tracks that match and of which that is so; none of them is built."""
        query = AndQuery([self._query, *conditions])
        numbers = self._numbers(query)
        return len(self._lib.items(query)) if numbers is None else len(numbers)

    def _built(self, query: Query) -> Iterator[Item]:
        """Return the tracks that match, in order; few of them are in memory at a time."""
        numbers = self._numbers(query)
        if numbers is None:
            yield from self._lib.items(query, self._sort)
            return
        rest = iter(numbers)
        while block := list(islice(rest, AT_ONCE)):
            chosen = self._lib.items(Condition(f"items.id IN ({_marks(block)})", *block))
            items = {item.id: item for item in chosen}
            yield from (items[number] for number in block if number in items)

    def _numbers(self, query: Query) -> list[int] | None:
        """Return those of the tracks that match, in order; None if the database cannot tell them.

        It cannot if the query or the order is about flexible fields, or the order about what only
        albums have.
        """
        where, values = query.clause()
        order = self._sort.order_clause()
        if where is None or self._sort.is_slow():
            return None
        statement = (
            "SELECT id FROM items WHERE id IN "
            f"(SELECT items.id FROM (items {Item.relation_join}) WHERE {where})"
            + (f" ORDER BY {order}" if order else "")
        )
        try:
            with self._lib.transaction() as transaction:
                return [row["id"] for row in transaction.query(statement, values)]
        except sqlite3.OperationalError:
            return None


def _without_genre(lib: Library, vocabulary: Vocabulary) -> list[str]:
    """Return the texts in the database's column of genres in which there is no genre."""
    with lib.transaction() as transaction:
        rows = transaction.query("SELECT DISTINCT genres FROM items WHERE genres IS NOT NULL")
    read = Item._type("genres").from_sql
    return ["", *(row[0] for row in rows if not vocabulary.genres_of(read(row[0])))]


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
