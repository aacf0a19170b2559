"""The rpcs with which people steer locks; the lock service decides, and this knows what its owners do (P35)."""

from __future__ import annotations

from virtyard.api.jobs.v1 import lock_control_service_pb2 as pb
from virtyard.jobs.lock_break import BreakRequest, Unsettled
from virtyard.jobs.model import operation_name, operation_number
from virtyard.jobs.scheduler import Scheduler
from virtyard.kernel.errors import InvalidRequest, NotFound, WrongState
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.validation import validate
from virtyard.locks.model import LockView
from virtyard.locks.proxy import LocksProxy
from virtyard.runtime.call import Call

__all__ = ["LockControl"]

_PATIENCE = 10.0
"""Seconds for which a call waits for the locks to be free."""
_INTENTIONS = frozenset({LockMode.IS, LockMode.IX})


class LockControl:
    """Serves LockControlService."""

    def __init__(self, scheduler: Scheduler, locks: LocksProxy) -> None:
        """Steer the operations of this scheduler and the locks of this service."""
        self._scheduler = scheduler
        self._locks = locks

    async def BreakLock(self, request: pb.BreakLockRequest, call: Call) -> pb.BreakLockResponse:
        """Break the locks of an owner."""
        validate(request)
        held = await self._holder(request.target)
        number = operation_number(held.owner.removesuffix("#rollback"))
        if not number:
            raise WrongState(f"{held.owner} is no operation", resource=held.owner)
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

    async def _holder(self, target: str) -> LockView:
        """Return a lock that is held by the owner that is meant.

        Raises:
            NotFound: nobody holds it, or the owner holds nothing.
            InvalidRequest: several hold it, so that one of them must be named.
        """
        number = operation_number(target)
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


def _quotable(target: str) -> str:
    if '"' in target or "\\" in target:
        raise InvalidRequest.of("target", "only a name is allowed: an owner, as operations/12, or an object")
    return target


def _unsettled(step: Unsettled) -> pb.UnsettledStep:
    return pb.UnsettledStep(job=step.job, title=step.title, participant=step.participant, reason=step.why)
