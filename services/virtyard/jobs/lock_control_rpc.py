"""The rpcs with which people steer locks; the lock service decides, and this knows what its owners do (P35)."""

from __future__ import annotations

from datetime import UTC, timedelta

from virtyard.api.jobs.v1 import lock_control_service_pb2 as pb
from virtyard.api.type.v1.annotations_pb2 import Role
from virtyard.internal.jobs.v1.record_pb2 import PersonLockRecord
from virtyard.jobs.broken import operation_of_owner
from virtyard.jobs.inventory_port import InventoryPort
from virtyard.jobs.lock_break import BreakRequest, Unsettled
from virtyard.jobs.lock_requests import AskedLock
from virtyard.jobs.model import operation_name, operation_number
from virtyard.jobs.person_lock_path import find_ancestors, path_of
from virtyard.jobs.person_locks import PersonLocks
from virtyard.jobs.scheduler import Scheduler
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import InvalidRequest, NotFound, PermissionDenied, VirtyardError
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.names import kind_of
from virtyard.kernel.permissions import Principal
from virtyard.kernel.validation import validate
from virtyard.locks.model import LockView
from virtyard.locks.proxy import LocksProxy
from virtyard.runtime.call import Call

__all__ = ["LONGEST", "LockControl", "UnderCheck"]

_PATIENCE = 10.0
"""Seconds for which a call waits for the locks to be free."""
LONGEST = timedelta(days=30)
"""The longest time for which a person may take a lock."""
_INTENTIONS = frozenset({LockMode.IS, LockMode.IX})


class LockControl:
    """Serves LockControlService."""

    def __init__(
        self, scheduler: Scheduler, locks: LocksProxy, people: PersonLocks, inventory: InventoryPort, clock: Clock
    ) -> None:
        """Steer the operations of this scheduler and the locks of this service.

        Args:
            scheduler: runs the operations.
            locks: shows who holds what.
            people: the locks of people.
            inventory: where the objects above an object are looked up.
            clock: the process's clock.
        """
        self._scheduler = scheduler
        self._locks = locks
        self._people = people
        self._inventory = inventory
        self._clock = clock

    async def BreakLock(self, request: pb.BreakLockRequest, call: Call) -> pb.BreakLockResponse:
        """Break the locks of an owner."""
        validate(request)
        held = await self._holder(request.target)
        number = operation_of_owner(held.owner)
        if not number:
            await self._people.break_lock(held.owner, call.principal.identity, request.reason)
            return pb.BreakLockResponse(owner=held.owner, freed=True)
        asked = BreakRequest(
            principal=call.principal.identity,
            reason=request.reason,
            object="" if request.target == held.owner else request.target,
            force=request.force,
        )
        remaining = call.remaining()
        patience = _PATIENCE if remaining is None else min(_PATIENCE, remaining * 0.8)
        left = await self._scheduler.break_locks(number, asked, patience)
        operation = await self._scheduler.look(number)
        record = operation.record
        return pb.BreakLockResponse(
            owner=operation_name(number),
            freed=record.broken.freed or record.HasField("end_time"),
            unsettled=[_unsettled(each) for each in left],
            quarantined=record.broken.quarantined,
        )

    async def TakeLock(self, request: pb.TakeLockRequest, call: Call) -> pb.PersonLock:
        """Take a lock for the caller, or tell how the one is that the same request has taken."""
        validate(request)
        asked = AskedLock.of(call.principal.identity, request)
        try:
            record = await self._take(asked)
        except VirtyardError:
            # A repeated request is answered with its lock, also where the object is gone or its end has passed (P26).
            earlier = await self._people.taken(asked)
            if earlier is None:
                raise
            record = earlier
        if request.HasField("max_wait"):
            await self._people.wait_held(record.name, request.max_wait.ToTimedelta().total_seconds())
        return self._people.told(record)

    async def _take(self, asked: AskedLock) -> PersonLockRecord:
        """Take the lock that is asked for."""
        request = asked.request
        duration = self._duration(request)
        mode = LockMode(request.mode) if request.mode else LockMode.X
        path = path_of(request.object, mode, await self._ancestors(request.object))
        return await self._people.take(asked, path=path, duration=duration)

    async def ReleaseLock(self, request: pb.ReleaseLockRequest, call: Call) -> pb.PersonLock:
        """Release a lock of the caller, or of anybody for an administrator."""
        validate(request)
        check_own(call.principal, self._people.principal_of(request.name), request.name)
        return await self._people.release(request.name)

    async def ListPersonLocks(self, request: pb.ListPersonLocksRequest, call: Call) -> pb.ListPersonLocksResponse:
        """List people's locks."""
        return pb.ListPersonLocksResponse(locks=self._people.show())

    def _duration(self, request: pb.TakeLockRequest) -> timedelta:
        """Return for how long a lock is wanted."""
        if request.HasField("duration") == request.HasField("end_time"):
            raise InvalidRequest.of("duration", "either this or end_time is required, and not both")
        if request.HasField("duration"):
            field, duration = "duration", request.duration.ToTimedelta()
        else:
            field, duration = "end_time", request.end_time.ToDatetime(UTC) - self._clock.now()
        if not timedelta(0) < duration <= LONGEST:
            raise InvalidRequest.of(field, f"allowed is more than nothing, and at most {LONGEST.days} days from now")
        return duration

    async def _ancestors(self, name: str) -> list[str]:
        """Return what is above an object in the lock tree.

        Raises:
            NotFound: there is no such object.
        """
        kind_of(name)
        above = await find_ancestors(self._inventory.view, name)
        if above is None:
            raise NotFound(f"object: {name} does not exist", resource=name, metadata={"field": "object"})
        return above

    async def _holder(self, target: str) -> LockView:
        """Return a lock that is held by the owner that is meant.

        Raises:
            NotFound: nobody holds it, or the owner holds nothing.
            InvalidRequest: several hold it, so that one of them must be named.
        """
        number = operation_number(target) or target.startswith("locks/")
        found = await self._locks.locks(f'{"owner" if number else "object"} = "{_quotable(target)}"')
        held = [lock for lock in found if lock.granted is not None]
        if not held:
            waits = f"; {found[0].owner} only waits for it, and can be aborted" if found else ""
            what = f"{target} holds no locks" if number else f"nobody holds a lock on {target}"
            raise NotFound(what + waits, resource=target)
        strong = [lock for lock in held if lock.mode not in _INTENTIONS] or held
        owners = sorted({lock.owner for lock in strong})
        if len(owners) > 1:
            raise InvalidRequest.of("target", f"{target} is held by several; name one of them: {', '.join(owners)}")
        return strong[0]


class UnderCheck:
    """Refuses operations that are submitted under a lock that they may not use."""

    def __init__(self, people: PersonLocks) -> None:
        """Look at these locks."""
        self._people = people

    def __call__(self, under: str, principal: Principal) -> None:
        """Check the lock that a request is submitted under.

        Raises:
            NotFound: there is no such lock.
            WrongState: it is not held.
            PermissionDenied: it is somebody else's.
        """
        check_own(principal, self._people.principal_of(under), under)
        self._people.check_usable(under)


def check_own(principal: Principal, owner: str, name: str) -> None:
    """Refuse who is neither the person that took a lock nor an administrator.

    Raises:
        PermissionDenied: it is somebody else's.
    """
    if principal.identity != owner and Role.ROLE_ADMINISTRATOR not in principal.roles:
        raise PermissionDenied(f"{name} is {owner}'s; only that person or an administrator may use it", resource=name)


def _quotable(target: str) -> str:
    if '"' in target or "\\" in target:
        raise InvalidRequest.of("target", "only a name is allowed: an owner, as operations/12, or an object")
    return target


def _unsettled(step: Unsettled) -> pb.UnsettledStep:
    return pb.UnsettledStep(job=step.job, title=step.title, participant=step.participant, reason=step.why)
