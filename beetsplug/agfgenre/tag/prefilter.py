"""The tracks and albums of a query: their ids, and few of the objects in memory at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from copy import copy
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from beets.dbcore.query import Query
from beets.library import Album, Item

if TYPE_CHECKING:
    from collections.abc import Callable

    from beets.dbcore import Model, Results
    from beets.dbcore.query import SQLiteType
    from beets.dbcore.sort import Sort
    from beets.library import Library

T = TypeVar("T", bound=Item | Album)

OBJECTS_AT_ONCE = 500  # objects that beets builds: it keeps all that it has built of one query


class Condition(Query):
    """A condition in SQL."""

    def __init__(self, sql: str, values: Sequence[SQLiteType]) -> None:
        self._sql, self._values = sql, values

    def clause(self) -> tuple[str, Sequence[SQLiteType]]:
        """Return the condition and the values of its question marks."""
        return self._sql, self._values

    def match(self, obj: Model) -> bool:
        """Refuse: only the database evaluates it."""
        raise NotImplementedError


class Matches(Generic[T]):
    """The tracks or albums that match a query, in its order.

    Parameters
    ----------
    lib : Library
    kind : type
        Item or Album.
    query : Query
    sort : Sort, optional
        By default that of the configuration.
    """

    def __init__(self, lib: Library, kind: type[T], query: Query, sort: Sort | None = None) -> None:
        self._lib, self._kind = lib, kind
        is_items = kind is Item
        self._fetch = cast("Callable[..., Results[T]]", lib.items if is_items else lib.albums)
        default = lib.get_default_item_sort if is_items else lib.get_default_album_sort
        self._ids = self._find(query, sort or default())

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[T]:
        """Build the objects block by block; those that are gone by then are left out."""
        for condition, block in self._blocks():
            objs = {obj.id: obj for obj in self._fetch(condition)}
            yield from (objs[number] for number in block if number in objs)

    def values(self, *fields: str) -> Iterator[dict[str, Any]]:
        """Yield the values of ``id`` and of fields for each match, without building the objects.

        Values that a track lacks do not come from its album. Equal values may be one object.
        """
        kind = self._kind
        # Neighbours have the same artist, genre and model, which beets converts slowly.
        read = [(field, lru_cache(256)(kind._type(field).from_sql)) for field in fields]
        columns = ", ".join(
            field
            if field in kind._fields
            else f"(SELECT value FROM {kind._flex_table} AS flexible WHERE key = '{field}'"
            f" AND entity_id = {kind._table}.id) AS {field}"
            for field in fields
        )
        for condition, block in self._blocks():
            where, numbers = condition.clause()
            statement = f"SELECT id, {columns} FROM {kind._table} WHERE {where}"
            with self._lib.transaction() as transaction:
                rows = {row["id"]: row for row in transaction.query(statement, numbers)}
            for number in block:
                if row := rows.get(number):
                    yield {"id": number} | {field: from_sql(row[field]) for field, from_sql in read}

    @property
    def ids(self) -> list[int]:
        """The ids of the matches, in their order."""
        return list(self._ids)

    def at(self, places: Iterable[int]) -> Matches[T]:
        """Return the matches at some places, in that order."""
        chosen = copy(self)
        chosen._ids = [self._ids[place] for place in places]
        return chosen

    def leave_out(self, ids: Container[int]) -> None:
        """Leave out some of the matches."""
        self._ids = [number for number in self._ids if number not in ids]

    def _blocks(self) -> Iterator[tuple[Condition, Sequence[int]]]:
        for start in range(0, len(self._ids), OBJECTS_AT_ONCE):
            block = self._ids[start : start + OBJECTS_AT_ONCE]
            marks = ", ".join("?" * len(block))
            yield Condition(f"{self._kind._table}.id IN ({marks})", block), block

    def _find(self, query: Query, sort: Sort) -> list[int]:
        """Return the ids; beets builds all objects where the database alone cannot find them.

        It cannot if the query or the order uses flexible fields, or fields that only albums have.
        """
        where, values = query.clause()
        if where is not None and not sort.is_slow():
            table, order = self._kind._table, sort.order_clause()
            statement = (
                f"SELECT id FROM {table} WHERE id IN "
                f"(SELECT {table}.id FROM ({table} {self._kind.relation_join}) WHERE {where})"
                + (f" ORDER BY {order}" if order else "")
            )
            with suppress(sqlite3.OperationalError), self._lib.transaction() as transaction:
                return [row["id"] for row in transaction.query(statement, values)]
        return [cast(int, obj.id) for obj in self._fetch(query, sort)]
