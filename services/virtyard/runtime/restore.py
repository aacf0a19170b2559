"""A restore: databases put back as a backup has them, each in a new incarnation (P32).

Everything is prepared beside the databases. They are replaced at the end, by renames, under a note that keeps every
process from opening half of it; a restore that was cut off is asked for again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from virtyard.kernel.errors import Unavailable
from virtyard.runtime.backup import Copy
from virtyard.runtime.data_lock import UNFINISHED, DataLock
from virtyard.runtime.database import OWN_MIGRATIONS, raise_incarnation
from virtyard.runtime.durable_file import remove_file, sync_folder, write_record
from virtyard.runtime.schema import migrate, migrations_of

__all__ = ["Life", "Part", "new_incarnation", "put_back"]

_YEAR_0 = datetime(2020, 1, 1, tzinfo=UTC)
_SEQUENCES = 1_000_000
_BESIDE = ("", "-wal", "-shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What is known of the life of a database that ends with a restore."""

    incarnation: int
    """The incarnation of the life that begins."""
    replaced: sqlite3.Connection | None
    """The database that is replaced, to see how far that life had come; None where it is gone or cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One database that is put back."""

    path: Path
    """Where it belongs."""
    migrations: str
    """The package of its migrations."""
    mark: Callable[[sqlite3.Connection, Life], None]
    """Prepares the copy for its new life, in one transaction."""


def new_incarnation(known: int, now: datetime) -> int:
    """Return an incarnation above one that is known, and above any that was given where nothing is left of it.

    Minutes since 2020, so that a backup that is restored twice begins two incarnations, also on an empty disk.
    """
    return max(known + 1, int((now - _YEAR_0).total_seconds() // 60))


def put_back(parts: Mapping[str, Part], copies: Mapping[str, Copy], source: Path, now: datetime) -> dict[str, Path]:
    """Put the copies of a backup in the place of databases that nobody has open; return where these are kept.

    Args:
        parts: the databases by name.
        copies: the checked copy of each.
        source: the folder of the backup.
        now: the present time, which names the folder of what is replaced.

    Raises:
        WrongState: a process has one of the databases open; nothing was changed.
        DataLoss, WrongState: a copy was written by a newer release, or by another one; nothing was changed.
        Unavailable: the disk is full or cannot be written.
    """
    with contextlib.ExitStack() as stack:
        for part in parts.values():
            part.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.callback(DataLock(part.path, unfinished_allowed=True).release)
        try:
            return _put_back(stack, parts, copies, source, now)
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"the databases cannot be put back: {error}", resource=str(source)) from error


def _put_back(
    stack: contextlib.ExitStack, parts: Mapping[str, Part], copies: Mapping[str, Copy], source: Path, now: datetime
) -> dict[str, Path]:
    # What is known of each life before this one, over all databases: they get one incarnation together.
    replaced = {name: stack.enter_context(_replaced(part.path)) for name, part in parts.items()}
    known = [copy.incarnation for copy in copies.values()]
    known += [_incarnation(connection) for connection in replaced.values() if connection is not None]
    incarnation = new_incarnation(max(known), now)
    staged = {}
    for name, part in parts.items():
        folder = part.path.parent / ".restore"
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(mode=0o700, parents=True)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        staged[name] = folder / name / part.path.name
        shutil.copyfile(source / copies[name].file, staged[name])
        staged[name].chmod(0o600)
        _begin_life(staged[name], part, Life(incarnation=incarnation, replaced=replaced[name]))
    return _exchange(parts, staged, now)


def _begin_life(path: Path, part: Part, life: Life) -> None:
    """Give a staged copy its new incarnation, and have its service prepare it."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, migrations_of(OWN_MIGRATIONS) + migrations_of(part.migrations))
        connection.execute("BEGIN IMMEDIATE")
        # Nothing is named by a sequence that the life before may have given, as events are.
        reached = [_sequence(one) for one in (connection, life.replaced) if one is not None]
        sequence = (max(reached) // _SEQUENCES + 1) * _SEQUENCES
        connection.execute("DELETE FROM journal")
        connection.execute("UPDATE feed SET sequence = ?, oldest = ?", (sequence, sequence + 1))
        part.mark(connection, life)
        connection.execute("COMMIT")
    raise_incarnation(path, life.incarnation)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _exchange(parts: Mapping[str, Part], staged: Mapping[str, Path], now: datetime) -> dict[str, Path]:
    """Rename the databases out of the way and the staged ones into their place; return where the old ones are."""
    folders = {part.path.parent for part in parts.values()}
    for folder in folders:
        write_record(folder / UNFINISHED, {"since": now.isoformat()})
    kept = {}
    for name, part in parts.items():
        aside = part.path.parent / f"replaced-{now:%Y%m%dT%H%M%SZ}"
        for suffix in _BESIDE:
            old = part.path.with_name(part.path.name + suffix)
            if old.exists():
                aside.mkdir(mode=0o700, exist_ok=True)
                old.rename(aside / old.name)
                kept[name] = aside
        staged[name].rename(part.path)
    for folder in folders:
        sync_folder(folder)
        remove_file(folder / UNFINISHED)
    return kept


@contextlib.contextmanager
def _replaced(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Open the database that is to be replaced, as far as it can be read."""
    if not path.is_file():
        yield None
        return
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        readable = True
        try:
            _incarnation(connection)
            _sequence(connection)
        except (sqlite3.Error, TypeError):
            # Damage is a reason to restore: what it could have told is taken from time and from the agents instead.
            readable = False
        yield connection if readable else None


def _incarnation(connection: sqlite3.Connection) -> int:
    (value,) = connection.execute("SELECT value FROM meta WHERE name = 'incarnation'").fetchone()
    return int(value)


def _sequence(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT sequence FROM feed").fetchone()[0])
