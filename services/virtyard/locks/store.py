"""The lock store: locks.db, and the table that mirrors it.

A batch is decided and written inside one function of the database's writer, so that grants are decided one batch at a
time. The table is a cache: it says which revision of the database it mirrors and is read again when that is not the
revision found, which is so after a commit that failed and when somebody else has written (P7, P28).
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import VirtyardError
from virtyard.kernel.lock_modes import LockMode
from virtyard.locks import queries, wire
from virtyard.locks.model import Change, Claim, ClaimedLock, LockSet, QueuePlace, Rank, Release, Rerank, is_person
from virtyard.locks.table import ClosedOwnersInMemory, LockTable
from virtyard.runtime.database import Database
from virtyard.runtime.floor import FLOOR_BATCH, FloorKeeper, Floors
from virtyard.runtime.transaction import Transaction

__all__ = ["PEOPLE_REMEMBERED", "SHOWN_BLOCKERS", "TOPIC", "Decisions", "LockStore", "Rehearsal", "snapshot"]

TOPIC = "lock"
"""The topic of the lock feed; its keys are `<object>|<owner>`."""

SHOWN_BLOCKERS = 8
"""At most so many blockers are shown beside a waiting lock; `explain` has them all."""

PEOPLE_REMEMBERED = timedelta(days=31)
"""For how long a tombstone of a person's lock is kept, which no floor of operations covers.

A late request for one comes from a scheduler that is behind: stopped, or put back. A person's lock lasts at most 30
days, so by then that scheduler's own row says that its time is over, and it is released again; without a row the sweep
of orphans does so.
"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_OPERATION = re.compile(r"operations/(\d{1,18})(?![\w/])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """What a batch came to, now that it is durable."""

    refusals: tuple[VirtyardError | None, ...]
    """For each command, why it was refused; None where it was carried out."""
    changes: tuple[Change, ...]
    """What became of each owner that was touched, granted waiters included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What a batch would come to."""

    refusals: tuple[VirtyardError | None, ...]
    """For each command, why it would be refused; None where it would be carried out."""
    claims: tuple[Claim, ...]
    """What would be known then of every open owner."""


class LockStore:
    """Carries out batches of commands, each in one commit."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Use this database, which is open."""
        self._database = database
        self._clock = clock
        self._table: LockTable | None = None
        self._revision = -1
        self._changes: list[Change] = []
        self.floor = FloorKeeper(database, self._forget, "locks.floor")
        """Below which operation every owner is closed, with a tombstone or without."""

    async def carry_out(self, commands: Sequence[LockSet | Release | Rerank]) -> Decisions:
        """Decide the commands in their order, in one commit.

        Raises:
            Unavailable: the commit failed and its outcome is unknown; asking again is safe.
        """
        try:
            return await self._database.write(
                lambda transaction: self._decide(transaction, commands),
                after=lambda decisions: self._changes.extend(decisions.changes),
            )
        except BaseException:
            self._table = None
            raise

    async def rehearse(self, commands: Sequence[LockSet | Release]) -> Rehearsal:
        """Decide the commands as `carry_out` does, on a table of their own: nothing comes of it."""

        def decide(connection: sqlite3.Connection) -> Rehearsal:
            _, arrivals, tokens = connection.execute(queries.COUNTER).fetchone()
            tombstones = _Tombstones(connection, {each.owner for each in commands}, self.floor.settled_below)
            table = LockTable(tombstones, _read_claims(connection), arrivals=arrivals, tokens=tokens)
            now = self._clock.now()
            refusals = tuple(_refusal(table, command, now) for command in commands)
            return Rehearsal(refusals=refusals, claims=tuple(table.claims()))

        return await self._database.read(decide)

    def take_changes(self) -> Sequence[Change]:
        """Return what has become durable since the last call, also in a commit that seemed to fail."""
        changes, self._changes = self._changes, []
        return changes

    async def table(self) -> LockTable:
        """Return the table as it was committed; it may be read until the next batch begins, and never changed."""
        if self._table is None:
            return await self._database.write(self._mirror)
        return self._table

    def _mirror(self, transaction: Transaction) -> LockTable:
        connection = transaction.connection
        revision, arrivals, tokens = connection.execute(queries.COUNTER).fetchone()
        if self._table is None or revision != self._revision:
            claims = _read_claims(connection)
            self._table = LockTable(ClosedOwnersInMemory(), claims, arrivals=arrivals, tokens=tokens)
            self._revision = revision
        return self._table

    def _decide(self, transaction: Transaction, commands: Sequence[LockSet | Release | Rerank]) -> Decisions:
        table = self._mirror(transaction)
        self._table = None
        now = self._clock.now()
        counters = (table.arrivals, table.tokens)
        strangers = (command.owner for command in commands if table.claim(command.owner) is None)
        tombstones = _Tombstones(transaction.connection, strangers, self.floor.settled_below)
        table.closed = tombstones
        refusals = tuple(_refusal(table, command, now) for command in commands)
        changes = tuple(table.take_changes())
        shown = _write(transaction, table, changes)
        transaction.insert(
            queries.ADD_TOMBSTONE,
            [
                (owner, epoch, _microseconds(now), operation_of_owner(owner))
                for owner, epoch in tombstones.added.items()
            ],
        )
        if any(map(is_person, tombstones.added)):
            # With as many new ones as old ones go there is an end to them, also where no operation raises the floor.
            _ = _forget_people(transaction, now)
        if changes or tombstones.added or counters != (table.arrivals, table.tokens):
            self._revision += 1
            transaction.execute(queries.SET_COUNTER, (self._revision, table.arrivals, table.tokens))
            if not shown:
                # An owner that held nothing is closed, or one asks again with a higher epoch.
                transaction.transition("locks.again" if changes else "locks.closed")
        self._table = table
        return Decisions(refusals=refusals, changes=changes)

    def _forget(self, transaction: Transaction, floors: Floors) -> bool:
        """Delete at most a batch of each kind of tombstones that nobody asks for; return whether there may be more."""
        settled = _forget_settled(transaction, floors)
        return _forget_people(transaction, self._clock.now()) or settled


class _Tombstones:
    """The tombstones of the owners of one batch, and those that it adds."""

    def __init__(self, connection: sqlite3.Connection, owners: Iterable[str], settled_below: int) -> None:
        self._settled_below = settled_below
        self._known: dict[str, int] = dict(connection.execute(queries.TOMBSTONES, (json.dumps(list(owners)),)))
        self.added: dict[str, int] = {}

    def epoch_of(self, owner: str) -> int | None:
        """Return the epoch at which the owner was closed, None if it never was; 0 if that is forgotten (P18)."""
        epoch = self.added.get(owner, self._known.get(owner))
        return 0 if epoch is None and is_settled(owner, self._settled_below) else epoch

    def close(self, owner: str, epoch: int) -> None:
        """Remember that the owner is closed."""
        self.added[owner] = epoch


def operation_of_owner(owner: str) -> int:
    """Return the number of the operation that an owner is, or is a part of, as `operations/12#rollback`; else 0."""
    match = _OPERATION.match(owner)
    return int(match[1]) if match is not None else 0


def is_settled(owner: str, settled_below: int) -> bool:
    """Return whether an owner is an operation below the floor, which has ended for ever."""
    return 0 < operation_of_owner(owner) < settled_below


def _forget_settled(transaction: Transaction, floors: Floors) -> bool:
    """Delete at most a batch of tombstones below the floor; return whether there may be more."""
    deleted = transaction.execute(queries.FORGET_TOMBSTONES, (floors.settled_below - 1, FLOOR_BATCH))
    return deleted.rowcount == FLOOR_BATCH


def _forget_people(transaction: Transaction, now: datetime) -> bool:
    """Delete at most a batch of old tombstones of people's locks; return whether there may be more."""
    oldest = _microseconds(now - PEOPLE_REMEMBERED)
    deleted = transaction.execute(queries.FORGET_PEOPLES_TOMBSTONES, (oldest, FLOOR_BATCH))
    return deleted.rowcount == FLOOR_BATCH


def snapshot(connection: sqlite3.Connection, topic: str, after_key: str, sequence: int) -> Iterator[tuple[str, bytes]]:
    """Yield (key, body) of the locks behind a key, in the order of the keys; a `runtime.feed.Snapshot`."""
    del topic, sequence
    table = LockTable(ClosedOwnersInMemory(), _read_claims(connection))
    keys = [
        (_key(lock.object, claim.owner), claim, number)
        for claim in table.claims()
        for number, lock in enumerate(claim.locks)
    ]
    for key, claim, number in sorted(keys, key=lambda each: each[0]):
        if key > after_key:
            yield key, list(wire.bodies(claim, _place(table, claim)))[number]


def _key(name: str, owner: str) -> str:
    return f"{name}|{owner}"


def _place(table: LockTable, claim: Claim) -> QueuePlace | None:
    return table.place(claim.owner, limit=SHOWN_BLOCKERS) if claim.waiting else None


def _refusal(table: LockTable, command: LockSet | Release | Rerank, now: datetime) -> VirtyardError | None:
    try:
        if isinstance(command, LockSet):
            table.acquire(command, now)
        elif isinstance(command, Rerank):
            table.set_priority(command.owner, command.epoch, command.priority, now)
        elif command.keep is None:
            table.release(command.owner, command.epoch, now, command.heir)
        else:
            table.shrink(command.owner, command.epoch, command.keep, now)
    except VirtyardError as error:
        return error
    return None


def _write(transaction: Transaction, table: LockTable, changes: Iterable[Change]) -> bool:
    """Make the changes durable, what goes before what comes, as the unique index wants it; tell if people see any."""
    moved = [change for change in changes if not _same_locks(change.before, change.after)]
    _delete(transaction, queries.DELETE_LOCKS, [change.owner for change in moved if change.before])
    _delete(transaction, queries.DELETE_OWNERS, [change.owner for change in changes if change.after is None])
    for change in changes:
        if change.before and change.after and change.before.rank != change.after.rank and change.after.waiting:
            transaction.transition("locks.rank")
    transaction.insert(queries.PUT_OWNER, [_owner_row(change.after) for change in changes if change.after])
    rows = [row for change in moved for row in _show(transaction, table, change)]
    transaction.insert(queries.ADD_LOCK, rows)
    return bool(moved)


def _delete(transaction: Transaction, sql: str, owners: Sequence[str]) -> None:
    if owners:
        transaction.execute(sql, (json.dumps(owners),))


def _show(transaction: Transaction, table: LockTable, change: Change) -> Iterator[tuple[str, str, int, int, str]]:
    """Append the owner's locks to the feed and yield their rows."""
    before = {lock.object for lock in change.before.locks} if change.before else set()
    claim = change.after
    for name in sorted(before.difference(lock.object for lock in claim.locks) if claim else before):
        transaction.append(TOPIC, _key(name, change.owner), b"", removed=True)
    if claim is None:
        transaction.transition("locks.L2")
        return
    transaction.transition("locks.L0" if claim.waiting else "locks.L1")
    for lock, body in zip(claim.locks, wire.bodies(claim, _place(table, claim)), strict=True):
        transaction.append(TOPIC, _key(lock.object, claim.owner), body)
        yield claim.owner, lock.object, lock.mode, lock.token, lock.job


def _same_locks(before: Claim | None, after: Claim | None) -> bool:
    """Return whether people see the same: only the epoch may differ."""
    return (
        before is not None
        and after is not None
        and before.locks == after.locks
        and (before.granted, before.requested, before.purpose) == (after.granted, after.requested, after.purpose)
    )


def _owner_row(claim: Claim) -> tuple[object, ...]:
    held = {lock.object: lock.mode for lock in claim.locks}
    return (
        claim.owner,
        claim.epoch,
        claim.rank.arrival,
        claim.priority,
        claim.purpose,
        claim.round,
        _microseconds(claim.requested),
        None if claim.granted is None else _microseconds(claim.granted),
        None if held == claim.asked else json.dumps(claim.asked),
        claim.under,
    )


def _read_claims(connection: sqlite3.Connection) -> list[Claim]:
    locks = {
        owner: tuple(
            ClaimedLock(object=name, mode=LockMode(mode), token=token, job=job) for _, name, mode, token, job in rows
        )
        for owner, rows in groupby(connection.execute(queries.LOCKS), key=lambda row: str(row[0]))
    }
    claims = []
    for row in connection.execute(queries.OWNERS):
        owner, epoch, arrival, priority, purpose, turn, requested, granted, asked, under = row
        held = locks.get(owner, ())
        claims.append(
            Claim(
                owner=owner,
                epoch=epoch,
                rank=Rank.of(arrival, priority),
                priority=priority,
                purpose=purpose,
                round=turn,
                requested=_time(requested),
                granted=None if granted is None else _time(granted),
                asked=_asked(asked, held),
                locks=held,
                under=under,
            )
        )
    return claims


def _asked(text: str | None, held: Sequence[ClaimedLock]) -> Mapping[str, LockMode]:
    if text is None:
        return {lock.object: lock.mode for lock in held}
    return {name: LockMode(mode) for name, mode in json.loads(text).items()}


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def _time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
