"""The auditor: looks again and again whether the databases of a running site contradict each other (P36).

It reads locks first, then jobs, then ledgers, so that what is on its way from one to the next is no finding. It reads
only, from copies that no writer waits for. What did not answer is shown as not checked, and never as fine.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import grpc.aio

from virtyard.api.agent.v1 import agent_service_pb2, agent_service_pb2_grpc
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.locks.v1 import lock_service_pb2, lock_service_pb2_grpc
from virtyard.api.type.v1 import watch_pb2
from virtyard.internal.inventory.v1 import control_service_pb2, control_service_pb2_grpc
from virtyard.jobs.audit import (
    Finding,
    Held,
    done_twice,
    held_by_ended,
    held_in_conflict,
    key_of,
    released_late,
    tokens_out_of_order,
)
from virtyard.jobs.broken import operation_of_owner
from virtyard.jobs.participants import Participants
from virtyard.kernel import event_types
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import VirtyardError
from virtyard.kernel.invariants import Invariant
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.names import INVENTORY
from virtyard.runtime.database import Database
from virtyard.runtime.metrics import Metrics
from virtyard.runtime.status import errors_named, peer_cancels_named

__all__ = ["Auditor"]

_log = logging.getLogger(__name__)
_TIMEOUT = 5.0
_LOCKS_TIMEOUT = 30.0
_TWICE = 5.0
"""Seconds that must lie between the first and the last look at something before it counts."""
_LOOKS_AFTER_THE_END = 3
"""How often an operation that has ended is looked at still."""
_LOOKS_KNOWN = 2
"""How many looks a lock may be left out of, because it changed meanwhile, without being taken for a new one."""
_MOST_OPERATIONS = 1000
_NONE_ABOVE = (1 << 63) - 1
_OPEN_OF = "SELECT number FROM operation WHERE open = 1 AND number IN (SELECT value FROM json_each(?))"
_DUE = "SELECT key FROM due WHERE kind = 'release'"
_NEW = """
    SELECT number, open, plan FROM operation WHERE open = 1 AND number <= :last
    UNION ALL
    SELECT number, open, plan FROM operation WHERE number > :last ORDER BY number DESC LIMIT :most
"""
_NEWEST = "SELECT coalesce(max(number), 0) FROM operation"


@dataclass(slots=True, kw_only=True)
class _Watched:
    """An operation whose effects are looked at."""

    hosts: frozenset[str]
    """The participants of its plan, and of those that it had before: hosts, and the inventory."""
    plan: int
    """The hash of the plan that they were read from."""
    looks: int = _LOOKS_AFTER_THE_END
    """How often it is looked at still."""


class Auditor:
    """Looks at a whole site; what it finds is counted, logged, and told as an event."""

    def __init__(
        self,
        *,
        locks: grpc.aio.Channel,
        database: Database,
        participants: Participants,
        raise_events: Callable[[control_service_pb2.RaiseEventsRequest], Awaitable[None]],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """Look at these.

        Args:
            locks: a channel to the lock service.
            database: jobs.db.
            participants: the links to the hosts.
            raise_events: tells the inventory of a finding; repeated until it is done.
            clock: for the time between two looks.
            metrics: where findings are counted.
        """
        self._locks: Any = lock_service_pb2_grpc.LockServiceStub(locks)
        self._database = database
        self._participants = participants
        self._raise_events = raise_events
        self._clock = clock
        self._metrics = metrics
        self._looks: deque[list[Held]] = deque(maxlen=_LOOKS_KNOWN)
        self._highest = 0
        self._last: int | None = None
        self._watched: dict[int, _Watched] = {}
        self._first_seen: dict[tuple[Invariant, str], float] = {}
        self._told: set[tuple[Invariant, str]] = set()
        self._untold: list[control_service_pb2.KeyedEvent] = []

    async def run(self, interval: float) -> None:
        """Look every `interval` seconds, for ever."""
        while True:
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - a defect of the auditor must not end the scheduler
                _log.exception("the audit failed")
            await asyncio.sleep(interval)

    async def look(self) -> None:
        """Look at everything once."""
        began = self._clock.monotonic()
        findings: list[Finding] = []
        locks = await self._read_locks()
        self._metrics.audit_unchecked.set(float(locks is None), "locks")
        if locks is not None:
            findings += held_in_conflict(locks)
            findings += self._check_tokens(locks)
            findings += await self._check_owners(locks)
        ledgers, silent = await self._read_ledgers()
        self._metrics.audit_unchecked.set(silent, "ledgers")
        findings += done_twice(ledgers)
        # Time in which the lock service does not answer is none in which a release is overdue.
        checked = {Invariant.RELEASE_OVERDUE}
        if locks is not None:
            checked |= {Invariant.LOCK_EXCLUSION, Invariant.TOKEN_ORDER, Invariant.ENDED_HOLDS_NOTHING}
        if not silent:
            checked.add(Invariant.EFFECT_ONCE)
        await self._weigh(findings, checked)
        self._metrics.audit_duration.set(self._clock.monotonic() - began)

    async def _read_locks(self) -> list[Held] | None:
        """Return what is held, as it was durable at one moment; None if the lock service does not answer."""
        held: list[Held] = []
        # No filter: what waits is less than what a filter costs.
        request = lock_service_pb2.WatchLocksRequest(options=watch_pb2.WatchOptions(batch=True))
        call = self._locks.WatchLocks(request, timeout=_LOCKS_TIMEOUT)
        try:
            with errors_named(), peer_cancels_named():
                async for response in call:
                    for frame in (response, *response.further):
                        if frame.kind == watch_pb2.FRAME_KIND_SNAPSHOT and not frame.lock.waiting:
                            held.append(_held(frame.lock))
                        elif frame.kind == watch_pb2.FRAME_KIND_BOOKMARK:
                            return held
        except VirtyardError as error:
            _log.info("the audit cannot read locks: %s", error)
        finally:
            call.cancel()
        return None

    def _check_tokens(self, locks: list[Held]) -> list[Finding]:
        """Compare the tokens with those of the looks before; a lock that is out of order stays so while it is held.

        A lock that changes while a look is under way is left out of it. So what is new is compared with the tokens of
        some looks ago, and whatever was seen since is known.
        """
        known = {(lock.object, lock.owner, lock.token) for look in self._looks for lock in look}
        wrong = list(tokens_out_of_order(locks, known, self._highest))
        out_of_order = {finding.key for finding in wrong}
        if len(self._looks) == self._looks.maxlen:
            self._highest = max([self._highest, *(lock.token for lock in self._looks[0])])
        self._looks.append([lock for lock in locks if key_of(lock) not in out_of_order])
        return wrong

    async def _check_owners(self, locks: list[Held]) -> list[Finding]:
        """Look whether the operations that hold locks have ended; they are read after the locks."""
        numbers = sorted({operation_of_owner(lock.owner) for lock in locks} - {0})

        def read(sql: sqlite3.Connection) -> tuple[set[int], set[str]]:
            still_open = {number for (number,) in sql.execute(_OPEN_OF, (json.dumps(numbers),))}
            due = {f"operations/{key.partition(' ')[2]}" for (key,) in sql.execute(_DUE)}
            return still_open, due

        still_open, due = await self._database.read(read)
        return [*held_by_ended(locks, still_open, due), *released_late(locks, still_open, due)]

    async def _read_ledgers(self) -> tuple[dict[str, Iterable[agent_service_pb2.LedgerEntry]], int]:
        """Return what the ledgers of all hosts say of the operations that are watched, and how many did not answer."""
        await self._choose_operations()
        asked: dict[str, list[int]] = defaultdict(list)
        for number, watched in self._watched.items():
            for host in watched.hosts:
                asked[host].append(number)
        answers = await asyncio.gather(*(self._read_ledger(host, numbers) for host, numbers in asked.items()))
        found = {host: effects for host, effects in zip(asked, answers, strict=True) if effects is not None}
        return found, len(asked) - len(found)

    async def _choose_operations(self) -> None:
        """Watch what is open or new, and what has ended until it was looked at a few times more."""

        def read(sql: sqlite3.Connection) -> tuple[int, list[tuple[int, int, bytes]]]:
            (newest,) = sql.execute(_NEWEST).fetchone()
            last = newest if self._last is None else self._last
            return newest, sql.execute(_NEW, {"last": last, "most": _MOST_OPERATIONS}).fetchall()

        self._last, rows = await self._database.read(read)
        for number, watched in tuple(self._watched.items()):
            watched.looks -= 1
            if watched.looks <= 0:
                del self._watched[number]
        for number, is_open, plan in rows:
            known = self._watched.get(number)
            if known is not None and is_open:
                known.looks = _LOOKS_AFTER_THE_END
            if known is None or known.plan != hash(plan):
                hosts = _hosts_of(plan) | (known.hosts if known is not None else frozenset())
                self._watched[number] = _Watched(hosts=hosts, plan=hash(plan))

    async def _read_ledger(self, host: str, numbers: list[int]) -> Iterable[agent_service_pb2.LedgerEntry] | None:
        request = _ledger_request(host, numbers[-_MOST_OPERATIONS:])
        entries: list[agent_service_pb2.LedgerEntry] = []
        try:
            async with asyncio.timeout(_TIMEOUT):
                channel = await self._participants.link(host).reached()
                stub = _ledger_stub(host, channel)
                with errors_named(), peer_cancels_named():
                    while True:
                        page = await stub.ListLedger(request)
                        entries += page.entries
                        request.after_sequence = page.next_sequence
                        if not page.next_sequence:
                            return entries
        except (TimeoutError, VirtyardError) as error:
            _log.info("the audit cannot read the ledger of %s: %s", host, error)
            return None

    async def _weigh(self, findings: list[Finding], checked: set[Invariant]) -> None:
        """Count what was there before too, long enough ago; forget what is there no more."""
        now = self._clock.monotonic()
        found = {(finding.invariant, finding.key): finding for finding in findings}
        for key in [key for key in self._first_seen if key not in found and key[0] in checked]:
            del self._first_seen[key]
            self._told.discard(key)
        for key, finding in found.items():
            if now - self._first_seen.setdefault(key, now) >= _TWICE and key not in self._told:
                self._told.add(key)
                self._metrics.violated(finding.invariant)
                _log.critical("%s: %s", finding.object, finding.message)
                event = event_types.new_event(event_types.SAFETY_VIOLATED, finding.object, finding.message)
                name = f"safety/{finding.invariant.value}/{finding.key}"
                self._untold.append(control_service_pb2.KeyedEvent(key=name, event=event))
        if self._untold:
            try:
                await self._raise_events(control_service_pb2.RaiseEventsRequest(events=self._untold))
            except VirtyardError as error:
                _log.warning("the inventory cannot be told of what the audit found: %s", error)
            else:
                self._untold.clear()


def _ledger_request(host: str, numbers: list[int]) -> Any:
    if host == INVENTORY:
        return control_service_pb2.ListLedgerRequest(operations=numbers)
    return agent_service_pb2.ListLedgerRequest(operation_above=_NONE_ABOVE, operations=numbers)


def _ledger_stub(host: str, channel: grpc.aio.Channel) -> Any:
    """Return what lists a ledger: of the inventory, whose ledger is beside its objects, or of an agent."""
    if host == INVENTORY:
        return control_service_pb2_grpc.ControlServiceStub(channel)
    return agent_service_pb2_grpc.AgentServiceStub(channel)


def _hosts_of(plan: bytes) -> frozenset[str]:
    """Return the participants of a plan, the inventory among them."""
    return frozenset(step.participant for job in plan_pb2.Plan.FromString(plan).jobs for step in job.steps)


def _held(lock: lock_service_pb2.Lock) -> Held:
    return Held(object=lock.object, mode=LockMode(lock.mode), owner=lock.owner, token=lock.fencing_token)
