"""One statement for many rows: an INSERT of one row rewritten to take several, so that a batch costs few statements.

A connection gives up the interpreter's lock for every row that it steps through, and under load waits longer to have it
back than the row takes to write.
"""

from __future__ import annotations

import functools
import re
import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

__all__ = ["insert_rows"]

_VALUES = re.compile(r"\bVALUES\s*(\((?:\s*\?\s*,)*\s*\?\s*\))", re.IGNORECASE)
_SIZES = (64, 16, 4, 1)
"""How many rows one statement takes; few sizes, as each is a statement to be kept prepared."""


def insert_rows(connection: sqlite3.Connection, sql: str, rows: Iterable[Sequence[Any]]) -> None:
    """Run an `INSERT ... VALUES (?, ...)` of one row for all rows, in their order.

    Args:
        connection: inside a transaction.
        sql: one INSERT whose values are question marks alone; conflict clauses may stand around them.
        rows: a sequence of values for each row.

    Raises:
        ValueError: the statement is not of that form.
        sqlite3.Error: a row cannot be written; how many of the others were is not known.
    """
    waiting = list(rows)
    begin = 0
    for size in _SIZES:
        while len(waiting) - begin >= size:
            part = waiting[begin : begin + size]
            connection.execute(_widened(sql, size), part[0] if size == 1 else list(chain.from_iterable(part)))
            begin += size


@functools.lru_cache(maxsize=256)
def _widened(sql: str, size: int) -> str:
    """Return the statement for so many rows."""
    found = _VALUES.search(sql)
    if found is None:
        raise ValueError(f"it needs VALUES (?, ...): {sql}")
    return sql[: found.start(1)] + ", ".join([found[1]] * size) + sql[found.end(1) :]
