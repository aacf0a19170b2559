"""Migrations: numbered SQL files, applied once each, in order, with a checksum of what was applied.

A file is `NNNN_what_it_does.sql`, or `NNNN_what_it_does.after.sql` for what must wait until no old code runs any more
(dropping a column). SQLite has one process, which is stopped for a new release, so both kinds run when it opens.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

from virtyard.kernel.errors import DataLoss, InternalError, WrongState

__all__ = ["Migration", "migrate", "migrations_of"]

_NAME = re.compile(r"(?P<number>\d{4})_(?P<title>[a-z0-9_]+)(?P<after>\.after)?\.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file of a package of migrations."""

    scope: str
    """The package, as `virtyard.locks.migrations`."""
    number: int
    """Its place in the order, from 1; a number that was never released may be missing."""
    name: str
    """The name of the file."""
    after: bool
    """True for what waits until no old code runs."""
    text: str
    """The statements."""

    @property
    def checksum(self) -> str:
        """Return the SHA-256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations_of(package: str) -> tuple[Migration, ...]:
    """Return the migrations of a package in their order.

    Raises:
        InternalError: a file is misnamed, or two have one number.
    """
    found = []
    for file in resources.files(package).iterdir():
        if not file.name.endswith(".sql"):
            continue
        match = _NAME.fullmatch(file.name)
        if match is None:
            raise InternalError(f"{package}: {file.name} is not named NNNN_what_it_does.sql")
        text = file.read_text(encoding="utf-8")
        found.append(
            Migration(
                scope=package,
                number=int(match["number"]),
                name=file.name,
                after=match["after"] is not None,
                text=text,
            )
        )
    found.sort(key=lambda migration: migration.number)
    if len({migration.number for migration in found}) != len(found):
        raise InternalError(f"{package}: two migrations have one number")
    return tuple(found)


def migrate(connection: sqlite3.Connection, migrations: tuple[Migration, ...]) -> int:
    """Apply what is missing and return how many were applied.

    Raises:
        DataLoss: a file is not the one that was applied.
        WrongState: the database was written by a newer release.
    """
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migration"
        " (scope TEXT, number INTEGER, name TEXT NOT NULL, checksum TEXT NOT NULL, PRIMARY KEY (scope, number))"
    )
    applied = 0
    for scope in dict.fromkeys(migration.scope for migration in migrations):
        known = dict(connection.execute("SELECT number, checksum FROM migration WHERE scope = ?", (scope,)))
        wanted = [migration for migration in migrations if migration.scope == scope]
        if not known.keys() <= {migration.number for migration in wanted}:
            raise WrongState(f"the database was written by a newer release: it has migration {max(known)} of {scope}")
        for migration in wanted:
            checksum = known.get(migration.number)
            if checksum is None:
                _apply(connection, migration)
                applied += 1
            elif checksum != migration.checksum:
                raise DataLoss(f"{scope}: {migration.name} is not the file that was applied to this database")
    return applied


def _apply(connection: sqlite3.Connection, migration: Migration) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _statements(migration.text):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO migration (scope, number, name, checksum) VALUES (?, ?, ?, ?)",
            (migration.scope, migration.number, migration.name, migration.checksum),
        )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(text: str) -> Iterator[str]:
    """Yield each statement of a script; a trigger's body stays whole."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if any(line.strip() and not line.strip().startswith("--") for line in statement.splitlines()):
        raise InternalError(f"the last statement is not ended by a semicolon: {statement.strip()[:80]}")
