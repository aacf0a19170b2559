"""What is on the disks of a site, read as it lies there: the databases of all services, and the ledgers of the hosts.

It is read in the order in which the services depend on each other, locks first, then jobs, then the ledgers (P36), and
beside processes that run: each database in one snapshot of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtyard.api.jobs.v1 import job_pb2, operation_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.jobs.archive import unpack_operation
from virtyard.jobs.model import Operation, operation_number
from virtyard.jobs.store import OPERATION_COLUMNS, load
from virtyard.kernel.names import INVENTORY, kinds

Rows = Sequence[tuple[Any, ...]]
ACTIVE = operation_pb2.OPERATION_STATE_ACTIVE
_SUCCEEDED = operation_pb2.OPERATION_STATE_SUCCEEDED
_DONE = participant.EFFECT_STATE_DONE
_JOURNAL = "SELECT sequence, topic, key, removed, body FROM journal ORDER BY sequence"
_FEED = "SELECT sequence, oldest FROM feed"
_EVENT_KEYS = "SELECT key FROM event WHERE key IS NOT NULL UNION ALL SELECT key FROM event_fold"
_REQUESTS = " UNION ALL ".join(
    f"SELECT principal, request_id, number FROM {table} WHERE request_id IS NOT NULL"
    for table in ("operation", "archived_operation")
)
_LEDGER = "SELECT operation, step_key, phase, attempt, state FROM ledger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A row of a ledger."""

    operation: int
    """The number of the operation."""
    step_key: str
    """The step."""
    phase: int
    """Whether it was to be done or undone, a `Phase`."""
    attempt: int
    """Which try it was."""
    state: int
    """What came of it, an `EffectState`."""

    @property
    def done(self) -> bool:
        """Whether it acted to its end."""
        return self.state == _DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The ledger of one participant."""

    effects: Sequence[Effect]
    """Its rows."""
    epochs: Mapping[int, int]
    """The highest epoch of each operation."""
    tokens: Mapping[tuple[str, int], int]
    """The highest fencing token of each object and mode."""
    settled_below: int
    """The operation below which everything is settled, and forgotten sooner or later (P18)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """The feed of one database."""

    sequence: int
    """The last sequence that was given out."""
    oldest: int
    """The first one that is kept."""
    rows: Rows
    """(sequence, topic, key, removed, body) of what is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """All of a site."""

    owners: Rows
    """(owner, epoch, whether its set is granted) of locks.db."""
    locks: Rows
    """(owner, object, mode, token) of locks.db."""
    closed: Mapping[str, int]
    """The epoch of each owner that was closed for ever."""
    closed_below: int
    """The operation below which every owner is closed, and forgotten sooner or later."""
    last_token: int
    """The last fencing token that was given out."""
    operations: Mapping[int, Operation]
    """Every operation by its number, archived ones too."""
    archived: frozenset[int]
    """The numbers of those that are archived, of which there are no rows of jobs."""
    requests: Rows
    """(principal, request id, number) of those that have a request id."""
    open_numbers: frozenset[int]
    """The operations whose row says that they are open."""
    jobs: Rows
    """(operation, number, name, state, body) of jobs.db."""
    job_counts: Mapping[int, int]
    """How many jobs there are in each state, as the counter has it."""
    due: Rows
    """(key, kind, body) of what is due."""
    objects: Mapping[str, Any]
    """The objects that are there, by name, as they are stored."""
    generations: Rows
    """(name, uid, generation, writer, deleted) of every object, tombstones too."""
    relations: Rows
    """(source, field, target, kind, amount) of inventory.db."""
    totals: Rows
    """(target, kind, field, amount) of inventory.db."""
    event_keys: frozenset[str]
    """The keys of the events that came from elsewhere, those that were folded into others too."""
    site: str
    """The id of this Virtyard."""
    ledgers: Mapping[str, Ledger]
    """The ledger of each participant: `inventory`, and the name of each server's agent."""
    journals: Mapping[str, Journal]
    """The feed of each database, by its service."""

    @property
    def ended(self) -> Mapping[int, Operation]:
        """The operations that have ended."""
        return {number: one for number, one in self.operations.items() if one.record.state != ACTIVE}

    def is_taken_over(self, operation: Operation) -> bool:
        """Tell whether another operation has bound itself to take over what this one did, and does, did or owes it."""
        by = self.operations.get(operation_number(operation.record.superseded_by))
        if by is None or by.record.takes_over != operation.name:
            return False
        return by.record.state in (ACTIVE, _SUCCEEDED) or by.record.outcome == job_pb2.OUTCOME_PARTIAL


def read(folder: Path) -> Records:
    """Read everything in the folder of a site: its databases are below `state`, agents there or in `agents`."""
    locks = _read_locks(_only(folder, "locks.db"))
    jobs = _read_jobs(_only(folder, "jobs.db"))
    inventory = _read_inventory(_only(folder, "inventory.db"))
    ledgers = {INVENTORY: inventory.pop("ledger")}
    for agent in agents(folder):
        with closing(_open(agent / "ledger.db")) as sql:
            ledgers[agent.name] = _read_ledger(sql)
    journals = {name: part.pop("journal") for name, part in (("locks", locks), ("jobs", jobs), (INVENTORY, inventory))}
    return Records(**locks, **jobs, **inventory, ledgers=ledgers, journals=journals)


def agents(folder: Path) -> list[Path]:
    """Return the state folder of each agent, which has the name of its server."""
    return sorted(path.parent for state in ("state", "agents") for path in folder.glob(f"{state}/*/ledger.db"))


def _only(folder: Path, name: str) -> Path:
    (path,) = folder.glob(f"state/**/{name}")
    return path


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("BEGIN")
    return connection


def _read_locks(path: Path) -> dict[str, Any]:
    with closing(_open(path)) as sql:
        (last_token,) = sql.execute("SELECT tokens FROM counter").fetchone()
        return {
            "owners": sql.execute("SELECT owner, epoch, granted IS NOT NULL FROM owner").fetchall(),
            "locks": sql.execute("SELECT owner, object, mode, token FROM lock").fetchall(),
            "closed": dict(sql.execute("SELECT owner, epoch FROM tombstone")),
            "last_token": last_token,
            "closed_below": _read_floor(sql),
            "journal": _read_journal(sql),
        }


def _read_jobs(path: Path) -> dict[str, Any]:
    with closing(_open(path)) as sql:
        live = [load(row) for row in sql.execute(f"SELECT {OPERATION_COLUMNS} FROM operation")]
        archived = [unpack_operation(body) for (body,) in sql.execute("SELECT body FROM archived_operation")]
        return {
            "operations": {one.number: one for one in (*archived, *live)},
            "archived": frozenset(one.number for one in archived),
            "requests": sql.execute(_REQUESTS).fetchall(),
            "open_numbers": frozenset(number for (number,) in sql.execute("SELECT number FROM operation WHERE open")),
            "jobs": sql.execute("SELECT operation, number, name, state, body FROM job").fetchall(),
            "job_counts": dict(sql.execute("SELECT state, jobs FROM job_count WHERE jobs <> 0")),
            "due": sql.execute("SELECT key, kind, body FROM due").fetchall(),
            "journal": _read_journal(sql),
        }


def _read_inventory(path: Path) -> dict[str, Any]:
    with closing(_open(path)) as sql:
        rows = sql.execute("SELECT name, kind, body FROM object WHERE deleted = 0").fetchall()
        (site,) = sql.execute("SELECT id FROM site").fetchone()
        return {
            "objects": {name: kinds()[kind].message.FromString(body) for name, kind, body in rows},
            "generations": sql.execute("SELECT name, uid, generation, writer, deleted FROM object").fetchall(),
            "relations": sql.execute("SELECT source, field, target, kind, amount FROM relation").fetchall(),
            "totals": sql.execute("SELECT target, kind, field, amount FROM total").fetchall(),
            "event_keys": frozenset(key for (key,) in sql.execute(_EVENT_KEYS)),
            "site": site,
            "ledger": _read_ledger(sql),
            "journal": _read_journal(sql),
        }


def _read_floor(sql: sqlite3.Connection) -> int:
    (below,) = sql.execute("SELECT settled_below FROM floor").fetchone()
    return int(below)


def _read_ledger(sql: sqlite3.Connection) -> Ledger:
    return Ledger(
        effects=[
            Effect(operation=operation, step_key=key, phase=phase, attempt=attempt, state=state)
            for operation, key, phase, attempt, state in sql.execute(_LEDGER)
        ],
        epochs=dict(sql.execute("SELECT operation, epoch FROM epoch")),
        tokens={(name, mode): token for name, mode, token in sql.execute("SELECT object, mode, token FROM token")},
        settled_below=_read_floor(sql),
    )


def _read_journal(sql: sqlite3.Connection) -> Journal:
    sequence, oldest = sql.execute(_FEED).fetchone()
    return Journal(sequence=sequence, oldest=oldest, rows=sql.execute(_JOURNAL).fetchall())
