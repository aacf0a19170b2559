"""What a reader finds in the shared memory of SQLite after a commit: it need not write there, so no disk is asked."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.unit.runtime.conftest import putting
from virtyard.runtime import transaction
from virtyard.runtime.database import Database

_HEADER_FRAMES = 16
"""Where the first of the two headers of the index has the number of frames, `mxFrame`; see SQLite's walformat.html."""
_READ_MARKS = 100
_MARKS = 5
_UNUSED = 0xFFFFFFFF


def marks(database: Path) -> tuple[int, set[int]]:
    """Return the last frame of the log, and the frames at which readers may begin without writing."""
    index = database.with_name(database.name + "-shm").read_bytes()
    (last,) = struct.unpack_from("=I", index, _HEADER_FRAMES)
    # The first mark is of readers of the database file alone.
    found = struct.unpack_from(f"={_MARKS}I", index, _READ_MARKS)[1:]
    return last, {mark for mark in found if mark != _UNUSED}


async def test_each_commit_leaves_a_mark_at_its_end(database: Database) -> None:
    """The next reader takes it as it is: on a disk that hangs it reads on, though nothing there can be written."""
    for key in ("a", "b", "c"):
        await database.write(putting(key))
        last, found = marks(database.path)
        assert last in found


async def test_without_it_the_first_reader_would_write(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the marks that a commit finds none is at its end, so that what the test above sees is no chance."""
    monkeypatch.setattr(transaction, "_mark_end", lambda _: None)
    await database.write(putting("a"))
    last, found = marks(database.path)
    assert last not in found
