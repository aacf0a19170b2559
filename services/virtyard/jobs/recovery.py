"""The recovery after a restore: nothing is begun before agents and locks were asked what the database does not know.

Every server's ledger is compared once in the life that a restore begins, before anything else is sent to it. Those that
answer at the start are compared while the scheduler is held, and its next number is put above all that they have seen;
the others get no work until they were (P32).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import grpc.aio

from virtyard.api.agent.v1 import agent_service_pb2, agent_service_pb2_grpc
from virtyard.api.inventory.v1 import inventory_service_pb2, inventory_service_pb2_grpc
from virtyard.api.locks.v1 import lock_service_pb2, lock_service_pb2_grpc
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.jobs import unknown
from virtyard.jobs.broken import owner_of_locks, round_of_locks
from virtyard.jobs.inventory_port import InventoryPort
from virtyard.jobs.model import Operation
from virtyard.jobs.participants import Connect
from virtyard.jobs.restored import next_hundred_thousand
from virtyard.jobs.roll_call import PATIENCE
from virtyard.jobs.schedule import pivot_started
from virtyard.jobs.store import EVENTS, OPERATION_COLUMNS, Due, JobStore, load
from virtyard.kernel.errors import Unavailable, VirtyardError
from virtyard.kernel.view import select
from virtyard.runtime.database import Transaction
from virtyard.runtime.status import errors_named, peer_cancels_named

__all__ = ["Recovery"]

_TIMEOUT = 10.0
_PAUSE, _LATE_PAUSE = 0.5, 2.0
_PAGE = 1000
_LIFE = "SELECT incarnation, known, above, held FROM restored"
_COMPARED = "SELECT server FROM compared"
_OPEN = f"SELECT {OPERATION_COLUMNS} FROM operation WHERE open = 1 ORDER BY number"  # noqa: S608 - constants only
_PUT_DUE = "INSERT OR IGNORE INTO due (key, kind, body) VALUES (?, ?, ?)"
_PUT_RECORD = "UPDATE operation SET record = ? WHERE number = ?"
_UNDONE = "it was undone in the time after the backup from which the databases were restored"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Life:
    """The life that began with the last restore."""

    incarnation: int
    """Its incarnation."""
    known: int
    """The number of the last operation that the backup has."""
    above: int
    """The number above which the operations of this life are."""
    held: bool
    """Whether nothing may be begun yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What the comparison with one server came to."""

    highest: int
    """The highest number of an operation that its ledger has heard of."""
    undone: frozenset[int]
    """The open operations that it has undone a part of."""
    events: control_service_pb2.RaiseEventsRequest
    """What is to be told."""


class Recovery:
    """Compares a restored scheduler with its servers; without a restore it does nothing, and asks nobody."""

    def __init__(
        self, store: JobStore, port: InventoryPort, inventory: grpc.aio.Channel, locks: grpc.aio.Channel
    ) -> None:
        """Use an open store, and channels to the inventory and the lock service; `open` comes first."""
        self._store = store
        self._port = port
        self._inventory: Any = inventory_service_pb2_grpc.InventoryServiceStub(inventory)
        self._locks: Any = lock_service_pb2_grpc.LockServiceStub(locks)
        self._life: _Life | None = None
        self._compared: set[str] = set()
        self._comparing: dict[str, asyncio.Lock] = {}
        self.on_due: Callable[[Sequence[Due]], None] = lambda _: None
        """Is handed the events that are due, once they are durable."""

    async def open(self) -> None:
        """Read whether the database was restored; a held store takes no operation."""

        def read(sql: sqlite3.Connection) -> tuple[tuple[int, int, int, int] | None, list[tuple[str]]]:
            return sql.execute(_LIFE).fetchone(), sql.execute(_COMPARED).fetchall()

        row, servers = await self._store.database.read(read)
        if row is not None:
            incarnation, known, above, held = row
            self._life = _Life(incarnation=incarnation, known=known, above=above, held=bool(held))
            self._compared = {server for (server,) in servers}
            self._store.held = bool(held)

    async def run(self, connect: Connect) -> None:
        """Compare with every server that answers, re-assert the locks, and let the scheduler go; all before it adopts.

        Args:
            connect: opens a channel to a server, which compares before anything else; see `admit`.
        """
        while self._life is not None and self._life.held:
            try:
                servers = await self._servers()
                await asyncio.gather(*(self._reach(server, connect, PATIENCE) for server in servers))
                if absent := sorted(set(servers) - self._compared):
                    _log.warning("%s do not answer; they get no work before they were compared", ", ".join(absent))
                await self._let_go(self._life)
            except VirtyardError as error:
                _log.warning("the scheduler is held after a restore: %s", error)
                await asyncio.sleep(_PAUSE)

    async def run_late(self, connect: Connect) -> None:
        """Go on to compare with the servers that did not answer, until all have been, or are not in the inventory."""
        while self._life is not None:
            try:
                absent = set(await self._servers()) - self._compared
            except VirtyardError as error:
                _log.info("which servers there are cannot be asked: %s", error)
            else:
                if not absent:
                    return
                await asyncio.gather(*(self._reach(server, connect, PATIENCE) for server in sorted(absent)))
            await asyncio.sleep(_LATE_PAUSE)

    async def _reach(self, server: str, connect: Connect, patience: float) -> None:
        """Connect to a server, if it answers within `patience` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while server not in self._compared:
                    try:
                        channel = await connect(server, "")
                    except VirtyardError as error:
                        _log.info("%s cannot be compared yet: %s", server, error)
                        await asyncio.sleep(_PAUSE)
                    else:
                        await channel.close()

    async def admit(self, server: str, channel: grpc.aio.Channel) -> None:
        """Compare with a server over a new channel to it, once in this life; before that nothing is sent to it.

        Raises:
            Unavailable: it does not answer, or knows more operations than can be told apart from those of this life.
        """
        if self._life is None or server in self._compared:
            return
        async with self._comparing.setdefault(server, asyncio.Lock()):
            if server in self._compared:
                return
            found = await self._compare(server, channel, self._life)
            await self._keep(server, found, self._life)

    async def _compare(self, server: str, channel: grpc.aio.Channel, life: _Life) -> _Found:
        """Ask a server for its ledger and its guests."""
        opened = await self._open_operations()
        operations = {operation.number: operation.record for operation in opened}
        stub: Any = agent_service_pb2_grpc.AgentServiceStub(channel)
        entries: list[agent_service_pb2.LedgerEntry] = []
        request = agent_service_pb2.ListLedgerRequest(operation_above=life.known, operations=operations)
        try:
            with peer_cancels_named():
                host = await stub.GetHost(agent_service_pb2.GetHostRequest(), timeout=_TIMEOUT)
                while True:
                    page = await stub.ListLedger(request, timeout=_TIMEOUT)
                    entries += page.entries
                    request.after_sequence = page.next_sequence
                    if not page.next_sequence:
                        break
        except grpc.aio.AioRpcError as error:
            raise Unavailable(
                f"{server} was not compared yet: {error.details()}", resource=server, retry_after=1.0
            ) from error
        view = await self._port.view([select(guest.virtual_machine) for guest in host.guests])
        events = control_service_pb2.RaiseEventsRequest()
        unknown.tell_forgotten(
            events, server, life.incarnation, life.known + 1, min(page.forgotten_below - 1, page.highest_operation)
        )
        unknown.tell_ended(events, server, life.incarnation, page.forgotten_below, opened)
        unknown.tell_effects(events, server, life.incarnation, unknown.unknown_effects(entries, life.known))
        unknown.tell_guests(events, life.incarnation, host, view)
        undone = frozenset(unknown.undone_operations(entries, operations))
        return _Found(highest=page.highest_operation, undone=undone, events=events)

    async def _keep(self, server: str, found: _Found, life: _Life) -> None:
        """Make durable what a comparison came to: the server gets work, numbers rise, and what is unknown is told."""
        if not life.held and found.highest > life.above:
            text = f"{server} knows operation {found.highest}, and those since the restore begin above {life.above}"
            _log.critical("%s; it gets no work: restore again while it answers", text)
            raise Unavailable(text, resource=server, retry_after=1.0)
        above = max(life.above, next_hundred_thousand(found.highest)) if found.highest > life.above else life.above
        key = f"events restored {life.incarnation} {server}"
        due = [Due(key=key, kind=EVENTS, body=found.events.SerializeToString())] if found.events.events else []

        def write(transaction: Transaction) -> None:
            transaction.execute("INSERT OR IGNORE INTO compared (server) VALUES (?)", (server,))
            transaction.execute("UPDATE restored SET above = max(above, ?)", (above,))
            transaction.execute("UPDATE left_live SET highest = max(highest, ?)", (above,))
            transaction.executemany(_PUT_DUE, [(item.key, item.kind, item.body) for item in due])
            for operation in _read_open(transaction.connection) if life.held else ():
                if operation.number in found.undone:
                    _abort(transaction, operation)
            transaction.transition("jobs.compared")

        await self._store.database.write(write)
        self._compared.add(server)
        if self._life is not None:
            self._life = replace(self._life, above=max(self._life.above, above))
        self.on_due(due)
        if due:
            _log.critical("%s has what the restored databases do not know: %d events", server, len(found.events.events))

    async def _let_go(self, life: _Life) -> None:
        """Say at the lock service what is held, take over the new tokens, and be held no more."""
        operations = await self._open_operations()
        holding = [operation for operation in operations if operation.record.tokens]
        request = lock_service_pb2.ReassertRequest(
            sets=[_held(operation) for operation in holding],
            waiting=[owner_of_locks(operation.record) for operation in operations if not operation.record.tokens],
        )
        with errors_named():
            answer = await self._locks.Reassert(request, timeout=_TIMEOUT)
        for operation, report in zip(holding, answer.reports, strict=True):
            tokens = {token.object: token.fencing_token for token in report.grant.tokens}
            for token in operation.record.tokens:
                token.fencing_token = tokens.get(token.object, token.fencing_token)

        def write(transaction: Transaction) -> None:
            rows = [(operation.record.SerializeToString(), operation.number) for operation in holding]
            transaction.executemany(_PUT_RECORD, rows)
            transaction.execute("UPDATE restored SET held = 0")
            transaction.transition("jobs.let_go")

        await self._store.database.write(write)
        self._life = replace(self._life or life, held=False)
        self._store.held = False
        _log.warning("the scheduler goes on after a restore, with numbers above %d", self._life.above)

    async def _servers(self) -> list[str]:
        """Return the names of the servers that the inventory has."""
        names: list[str] = []
        request = inventory_service_pb2.ListServersRequest(page_size=_PAGE)
        while True:
            with errors_named():
                page = await self._inventory.ListServers(request, timeout=_TIMEOUT)
            names += [server.name for server in page.servers]
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return names

    async def _open_operations(self) -> list[Operation]:
        return await self._store.database.read(_read_open)


def _read_open(connection: sqlite3.Connection) -> list[Operation]:
    return [load(row) for row in connection.execute(_OPEN).fetchall()]


def _held(operation: Operation) -> lock_service_pb2.LockSet:
    """Return the set that an operation holds by its record."""
    record = operation.record
    return lock_service_pb2.LockSet(
        owner=owner_of_locks(record),
        locks=[lock_service_pb2.LockRequest(object=token.object, mode=token.mode) for token in record.tokens],
        priority=record.options.priority,
        purpose=record.title,
        epoch=record.epoch,
        round=round_of_locks(record),
        under=record.options.under,
    )


def _abort(transaction: Transaction, operation: Operation) -> None:
    """Send an operation back that a host has undone, unless it is past its point of no return."""
    record = operation.record
    if pivot_started(operation.shape, record):
        return
    record.abort_requested, record.abort_reason = True, _UNDONE
    transaction.execute(_PUT_RECORD, (record.SerializeToString(), record.number))
