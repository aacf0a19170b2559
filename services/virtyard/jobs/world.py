"""What a runner needs of the world: store, locks, the inventory's view, participants, a way to show progress."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from virtyard.api.locks.v1 import owner_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.jobs.counted_locks import CountedLocks
from virtyard.jobs.job_filters import JobFilters
from virtyard.jobs.participants import Participants
from virtyard.jobs.quarantine import Quarantine
from virtyard.jobs.store import Due, JobStore
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import VirtyardError
from virtyard.kernel.view import View
from virtyard.locks.model import Grant, LockSet, LockView, QueuePlace, Release, Rerank
from virtyard.operations.contract import OperationType
from virtyard.runtime.scope import TaskScope


class Locks(Protocol):
    """The lock service, near or far."""

    async def acquire(self, lock_set: LockSet, on_place: Callable[[QueuePlace], None]) -> Grant:
        """Wait until the whole set is held.

        Raises:
            OwnerClosed: the owner's locks were released for ever.
            StaleEpoch: another scheduler speaks for the owner.
        """
        ...

    async def set_priority(self, wanted: Rerank) -> None:
        """Give a waiting owner another priority; one that holds its set is not affected.

        Raises:
            NotFound: the owner has asked for nothing yet.
        """
        ...

    async def explain(self, owner: str) -> owner_pb2.ExplainOwnerResponse:
        """Return what an owner waits for, and the same of everybody who is in its way.

        Raises:
            NotFound: the owner has asked for nothing, or was closed.
        """
        ...

    def refusal_of(self, owner: str) -> VirtyardError | None:
        """Return what the lock service, which is there, has said instead of answering for an owner, who asks again."""
        ...

    def note_uses(self, owner: str, jobs: Mapping[str, str]) -> None:
        """Tell, some time soon, which jobs use which objects of an owner now; for people only."""
        ...

    async def locks(self, filter: str = "") -> list[LockView]:  # noqa: A002 - the rpc's word
        """Return the locks that match an AIP-160 filter, held and waited for."""
        ...

    async def release(self, releases: Sequence[Release]) -> None:
        """Give back, for ever, what these owners hold and wait for."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The ports of every runner."""

    store: JobStore
    """The scheduler's database."""
    locks: Locks
    """The lock service."""
    view: Callable[[Sequence[participant.Selection]], Awaitable[View]]
    """Reads the inventory, at one position of its feed."""
    has_changed: Callable[[participant.Requirement, int], Awaitable[bool]]
    """Tells whether what was read, at a position of the inventory's feed, is different now."""
    participants: Participants
    """The links to those who carry out effects."""
    operations: Mapping[str, OperationType]
    """The operation types by method."""
    show: Callable[[str, str, bytes], None]
    """Shows a state that is not durable: topic, key, body."""
    filters: JobFilters
    """Keeps operations back before their locks are asked for."""
    counted: CountedLocks
    """Keeps steps back that would be too many at once on a server."""
    tasks: TaskScope
    """Runs what goes on beside a runner."""
    clock: Clock
    """The process's clock."""
    on_due: Callable[[Sequence[Due]], None]
    """Hands over what is due in other services."""
    quarantine: Quarantine = field(default_factory=Quarantine)
    """What may still be acted on though its locks were broken."""
