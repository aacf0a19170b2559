"""The file of the ledger: as large as what is remembered, once no effects come for a while."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from virtyard.agent.ledger import Ledger
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.floor import Floors
from virtyard.runtime.status import to_status

_ROWS = 400
_INSERT = (
    "INSERT INTO ledger (step_key, phase, attempt, operation, payload_hash, effect, state, record, accepted,"
    " accept_time) VALUES (?, 1, 1, ?, x'', zeroblob(700), 3, zeroblob(300), ?, 0)"
)


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    """Return the file of a ledger that has effects of as many operations."""
    path = tmp_path / "ledger.db"
    await (await Ledger.open(path, SystemClock(), to_status)).close()
    with contextlib.closing(sqlite3.connect(path)) as sql, sql:
        sql.executemany(_INSERT, [(f"{number}/1/1", number, number) for number in range(1, _ROWS + 1)])
    return path


@pytest.fixture
async def ledger(file: Path) -> AsyncIterator[Ledger]:
    """Return the ledger in that file."""
    ledger = await Ledger.open(file, SystemClock(), to_status)
    yield ledger
    await ledger.close()


def pages(file: Path) -> int:
    """Return how many pages the file has."""
    with contextlib.closing(sqlite3.connect(file)) as sql:
        return int(sql.execute("PRAGMA page_count").fetchone()[0])


async def test_free_pages_are_given_back_in_quiet_times_only(file: Path, ledger: Ledger) -> None:
    """While effects come they are kept, as the next ones fill them."""
    full = pages(file)
    await ledger.floor.raise_to(Floors(settled_below=_ROWS // 2))
    assert pages(file) == full
    await ledger.floor.raise_to(Floors(settled_below=_ROWS), quiet=True)
    assert pages(file) < full / 3
