"""A backup: copies of databases as they all were at one moment, with a manifest that says what they are (P32).

Copied by SQLite's online backup from snapshots of the running databases. The write lock of one of them is held while
the snapshots are taken, so that nothing is intended between the first and the last of them; copying takes longer and
hinders nobody.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtyard.kernel.errors import DataLoss, InvalidRequest, NotFound, Unavailable
from virtyard.runtime.durable_file import read_record, sync_folder, write_record

__all__ = ["FORMAT", "MANIFEST", "Copy", "check_copies", "copy_together", "find_databases", "read_manifest", "sign"]

FORMAT = 1
"""The form of the manifest."""
MANIFEST = "manifest.json"
_BLOCK = 1 << 20
_LOCK_WAIT_MS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """The copy of one database."""

    file: str
    """Its name in the folder of the backup."""
    bytes: int
    """Its size."""
    sha256: str
    """Its checksum, in hexadecimal digits."""
    identity: str
    """The identity of the database, made with it."""
    incarnation: int
    """Its incarnation, which a restore raises."""
    sequence: int
    """The last sequence of its feed."""
    migrations: Mapping[str, int]
    """The last migration of each package that was applied to it."""


def find_databases(folders: Sequence[Path], names: Sequence[str]) -> dict[str, Path]:
    """Return where the database `NAME.db` of each name is.

    Raises:
        NotFound: none of the folders has one.
        InvalidRequest: several have it.
    """
    found = {}
    for name in names:
        places = [folder / f"{name}.db" for folder in folders if (folder / f"{name}.db").is_file()]
        where = ", ".join(map(str, folders))
        if not places:
            raise NotFound(f"there is no {name}.db in {where}", resource=f"{name}.db")
        if len(places) > 1:
            raise InvalidRequest.of("state", f"{where} have a {name}.db each; only one may")
        found[name] = places[0]
    return found


def copy_together(databases: Mapping[str, Path], pausing: str, folder: Path) -> tuple[dict[str, Copy], float]:
    """Copy databases as they are at one moment, and return the copies with the seconds for which writers waited.

    Args:
        databases: the file of each by name; processes may have them open.
        pausing: the one whose commits wait meanwhile, so that nothing is intended that another copy lacks.
        folder: where the copies go; it is there and empty.

    Raises:
        Unavailable: a database cannot be read, or is being written for longer than 10 s.
        DataLoss: a copy is not sound.
    """
    with contextlib.ExitStack() as stack:
        try:
            snapshots, paused = _snapshots(stack, databases, pausing)
            copies = {name: _copy(snapshot, folder / f"{name}.db") for name, snapshot in snapshots.items()}
        except sqlite3.Error as error:
            raise Unavailable(f"the databases cannot be copied: {error}", resource=str(folder)) from error
    sync_folder(folder)
    return copies, paused


def sign(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest of a backup, which makes it one."""
    write_record(folder / MANIFEST, {"format": FORMAT, **manifest})


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a backup.

    Raises:
        NotFound: the folder has none.
        DataLoss: it cannot be read, or is of a form that this release does not know.
    """
    manifest = read_record(folder / MANIFEST)
    if manifest is None:
        raise NotFound(f"{folder} is no backup: it has no {MANIFEST}", resource=str(folder))
    if manifest.get("format") != FORMAT or not isinstance(manifest.get("databases"), dict):
        raise DataLoss(f"{folder / MANIFEST} is of a form that this release does not know", resource=str(folder))
    return manifest


def check_copies(folder: Path, manifest: Mapping[str, Any], names: Sequence[str]) -> dict[str, Copy]:
    """Return the copies of a backup by name, each with the checksum that the manifest has for it.

    Raises:
        DataLoss: one is missing, or is not what was copied.
    """
    found = {}
    for name in names:
        try:
            copy = Copy(**manifest["databases"][name])
        except (KeyError, TypeError) as error:
            raise DataLoss(f"{folder / MANIFEST} does not describe {name}.db", resource=str(folder)) from error
        path = folder / Path(copy.file).name
        if not path.is_file():
            raise DataLoss(f"{path} is missing from the backup", resource=str(path))
        if (digest := _sha256(path)) != copy.sha256:
            raise DataLoss(
                f"{path} is not what was copied: its SHA-256 is {digest}, the manifest has {copy.sha256}",
                resource=str(path),
            )
        found[name] = copy
    return found


def _snapshots(
    stack: contextlib.ExitStack, databases: Mapping[str, Path], pausing: str
) -> tuple[dict[str, sqlite3.Connection], float]:
    writer = stack.enter_context(_opened(databases[pausing]))
    snapshots = {name: stack.enter_context(_opened(path)) for name, path in databases.items()}
    writer.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    try:
        for name in [pausing, *(name for name in databases if name != pausing)]:
            snapshots[name].execute("BEGIN")
            # A snapshot is taken by the first read.
            snapshots[name].execute("SELECT sequence FROM feed").fetchone()
    finally:
        writer.execute("ROLLBACK")
    return snapshots, time.monotonic() - began


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute(f"PRAGMA busy_timeout = {_LOCK_WAIT_MS}")
        yield connection
    finally:
        connection.close()


def _copy(snapshot: sqlite3.Connection, path: Path) -> Copy:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as target:
        snapshot.backup(target)
        # One file that needs no other beside it.
        target.execute("PRAGMA journal_mode = DELETE")
        (sound,) = target.execute("PRAGMA quick_check(1)").fetchone()
        if sound != "ok":
            raise DataLoss(f"{path.name} is not sound: {sound}", resource=str(path))
        meta = dict(target.execute("SELECT name, value FROM meta"))
        (sequence,) = target.execute("SELECT sequence FROM feed").fetchone()
        migrations = dict(target.execute("SELECT scope, max(number) FROM migration GROUP BY scope ORDER BY scope"))
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return Copy(
        file=path.name,
        bytes=path.stat().st_size,
        sha256=_sha256(path),
        identity=meta["identity"],
        incarnation=int(meta["incarnation"]),
        sequence=sequence,
        migrations=migrations,
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
