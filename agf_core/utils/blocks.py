"""Rows of large arrays, a block at a time."""

from collections.abc import Iterator

ROWS_AT_ONCE = 4096


def blocks(n: int) -> Iterator[slice]:
    """Yield slices that divide `n` rows, so that intermediate results of few are in memory."""
    for start in range(0, n, ROWS_AT_ONCE):
        yield slice(start, start + ROWS_AT_ONCE)
