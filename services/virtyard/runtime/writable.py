"""Whether a database can be written: asked of its disk first, which has words for why not, then of the database itself.

A database whose commit failed may take the next one though nothing has changed, as its log has a little room left. So
what decides is room for more than a commit.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from virtyard.kernel.errors import Unavailable
from virtyard.runtime.database import Database
from virtyard.runtime.threads import Threads
from virtyard.runtime.transaction import Transaction

__all__ = ["ROOM", "why_unwritable"]

ROOM = 1 << 20
"""Bytes that a disk must be able to take, to count as one that can be written."""


async def why_unwritable(database: Database, threads: Threads) -> str:
    """Return why a database cannot be written, as `No space left on device`; empty if it can.

    Args:
        database: is written a row of its own, if its disk takes a file.
        threads: where the disk is tried.
    """
    try:
        await threads.leave(_try_disk, database.path.parent)
        await database.write(_try_write)
    except OSError as error:
        return error.strerror or str(error)
    except Unavailable as error:
        return error.message
    return ""


def _try_disk(folder: Path) -> None:
    """Take room beside the database and give it back."""
    with tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, ROOM)
        os.fsync(file.fileno())


def _try_write(transaction: Transaction) -> None:
    transaction.transition("database.tried")
    transaction.execute(
        "INSERT INTO meta (name, value) VALUES ('tried', '1') "
        "ON CONFLICT (name) DO UPDATE SET value = CAST(value AS INTEGER) + 1"
    )
