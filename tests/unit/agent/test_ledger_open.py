"""A ledger that cannot be opened is left closed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from virtyard.agent.ledger import Ledger
from virtyard.kernel.errors import Unavailable
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.status import to_status


def no_room(_connection: sqlite3.Connection) -> None:
    """Fail a commit as a full disk does."""
    raise sqlite3.OperationalError("disk I/O error")


async def test_a_start_that_cannot_be_counted_leaves_nothing_open(tmp_path: Path) -> None:
    """Its threads would keep the process from ending, and its lock the next try from beginning."""
    path = tmp_path / "ledger.db"
    with pytest.raises(Unavailable, match="disk I/O error"):  # which keeps the error, and so what it came through
        await Ledger.open(path, SystemClock(), to_status, commit_hook=no_room)
    ledger = await Ledger.open(path, SystemClock(), to_status)
    assert ledger.start == 1
    await ledger.close()
