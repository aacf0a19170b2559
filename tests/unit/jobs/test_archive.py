"""The archive's statements: each goes along an index, so that neither a page nor a look costs more as history grows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest

from virtyard.jobs import archive, store

PLACE = {"operation": 9, "number": 1, "limit": 10, "least": 0, "value": "x"}
STATEMENTS: dict[str, tuple[str, Any]] = {
    **{
        name: (getattr(archive, name), PLACE)
        for name in ("_REST", "_OLDER", "_REST_IN_STATE", "_OLDER_IN_STATE", "_REST_OF_OBJECT", "_OLDER_OF_OBJECT")
    },
    "_BY_REQUEST": (store._BY_REQUEST, {"principal": "user/ann", "request_id": "x"}),
    "_ENDED": (archive._ENDED, (1,)),
    "_COUNT_ENDED": (archive._COUNT_ENDED, ()),
    "_COUNT": (archive._COUNT, ()),
    "_OLDEST": (archive._OLDEST, (1,)),
    "_FORGET_IDS": (archive._FORGET_IDS, (1, 1)),
    "_SINCE": (archive._SINCE, (1,)),
    "_UNTIL": (archive._UNTIL, (1,)),
}


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """Return an empty jobs.db."""
    connection = sqlite3.connect(":memory:")
    files = sorted(resources.files("virtyard.jobs.migrations").iterdir(), key=lambda file: file.name)
    for file in files:
        if file.name.endswith(".sql"):
            connection.executescript(file.read_text())
    yield connection
    connection.close()


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_statement_sorts_or_reads_rows_for_nothing(connection: sqlite3.Connection, name: str) -> None:
    """Only those that count, or begin at the oldest, scan; and they scan an index, or stop at their limit."""
    sql, values = STATEMENTS[name]
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    assert not [step for step in steps if "TEMP B-TREE" in step], steps
    scans = [step for step in steps if step.startswith("SCAN")]
    if "count(*)" in sql:
        assert all("COVERING INDEX" in step for step in scans), steps
    elif not sql.rstrip().endswith("ORDER BY number LIMIT ?"):
        assert scans == [], steps
