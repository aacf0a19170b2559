"""Broken locks as the record shows them: who owns the locks then, what is quarantined, what must still be as it was.

Pure: from the plan and the record of an operation. The way back itself is in `lock_break` (P11).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from google.rpc import status_pb2

from virtyard.api.inventory.v1 import write_objects_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import schedule
from virtyard.jobs.model import Operation, Shape, StepRef, operation_name, operation_number, owner_name
from virtyard.jobs.store import RELEASE, Due
from virtyard.kernel import event_types
from virtyard.kernel.errors import Cancelled
from virtyard.kernel.job_states import StepState
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.names import collection_of, unwrap
from virtyard.kernel.relations import ancestor_collections
from virtyard.runtime.status import to_status

Record = record_pb2.OperationRecord
_ROLLBACK = "#rollback"
_INTENTIONS = frozenset({LockMode.IS, LockMode.IX})
_UNDER_WAY = frozenset({int(StepState.STARTED), int(StepState.UNDOING)})


def rollback_owner(number: int) -> str:
    """Return the name under which an operation whose locks were broken owns those of its undos."""
    return f"{owner_name(number)}{_ROLLBACK}"


def operation_of_owner(owner: str) -> int:
    """Return the number of the operation that owns locks under this name, for its undos too; 0 if none does."""
    return operation_number(owner.removesuffix(_ROLLBACK))


def owner_of_locks(record: Record) -> str:
    """Return the name under which an operation owns its locks now."""
    return rollback_owner(record.number) if record.broken.freed else owner_name(record.number)


def round_of_locks(record: Record) -> int:
    """Return the round in which an operation has asked for its locks; those of its undos it asks for in none but 0."""
    return 0 if record.broken.freed else record.lock_round


def unsettled(shape: Shape, record: Record) -> list[StepRef]:
    """Return the steps that are being done or undone, as far as is known."""
    return [ref for reference, ref in shape.steps.items() if schedule.step_state(record, reference) in _UNDER_WAY]


def phase_of(record: Record, ref: StepRef) -> participant.Phase.ValueType:
    """Return which phase of a step is under way."""
    undoing = schedule.step_state(record, ref.reference) == StepState.UNDOING
    return participant.PHASE_UNDO if undoing else participant.PHASE_DO


def status_of(record: Record) -> status_pb2.Status:
    """Return the error of an operation whose locks were broken."""
    broken = record.broken
    text = f"its locks were broken by {broken.principal}: {broken.reason}"
    return to_status(Cancelled(text, metadata={"broken_by": broken.principal}))


def releases(before: Record, after: Record, *, ended: bool) -> Iterator[Due]:
    """Yield the releases that are due with a change: of the locks that are broken, and of all at the end (P5)."""
    number = after.number
    newly_freed = after.broken.freed and not before.broken.freed
    owners = [owner_name(number)] if newly_freed or (ended and not after.broken.freed) else []
    if ended and after.HasField("broken"):
        owners.append(rollback_owner(number))
    for owner in owners:
        release = lock_service_pb2.OwnerRelease(owner=owner, epoch=after.epoch, heir=after.superseded_by)
        yield Due(key=f"release {owner.partition('/')[2]}", kind=RELEASE, body=release.SerializeToString())


def event_of(operation: Operation) -> control_service_pb2.RaiseEventsRequest:
    """Return the event that tells of the break."""
    record, name = operation.record, operation_name(operation.record.number)
    broken = record.broken
    message = f"{broken.principal} broke the locks of {name} ({record.title}): {broken.reason}"
    event = event_types.new_event(event_types.LOCK_BROKEN, broken.object, message, operation=name)
    request = control_service_pb2.RaiseEventsRequest()
    request.events.add(key=f"{name}/broken", event=event)
    return request


def quarantine(shape: Shape, record: Record) -> None:
    """Note what the steps that are not settled may still act on, and what is above it in the lock tree."""
    left = unsettled(shape, record)
    jobs = {ref.job.id for ref in left}
    exclusive = [lock for lock in shape.plan.locks if LockMode(lock.mode) not in _INTENTIONS]
    objects = {ref.step.target for ref in left} | {lock.object for lock in exclusive if lock.job in jobs}
    record.broken.quarantined[:] = sorted(objects)
    record.broken.above[:] = sorted(_above(shape.plan.locks, objects) - objects)


def lift_quarantine(record: Record) -> None:
    """Note that everything is settled."""
    del record.broken.quarantined[:], record.broken.above[:]


def in_quarantine(record: Record, locks: Iterable[plan_pb2.PlannedLock]) -> list[str]:
    """Return those of the locks, by their objects, that reach into the quarantine of a broken operation."""
    objects, above = set(record.broken.quarantined), set(record.broken.above)
    if not objects:
        return []
    return [
        lock.object
        for lock in locks
        if lock.object in objects or (lock.object in above and LockMode(lock.mode) not in _INTENTIONS)
    ]


def locks_to_undo(shape: Shape, record: Record) -> list[plan_pb2.PlannedLock]:
    """Return those of the plan's locks that the undos of the operation need; none if nothing is to be undone."""
    targets = {ref.step.target for ref in _to_undo(shape, record)}
    wanted = targets | _above(shape.plan.locks, targets)
    return [lock for lock in shape.plan.locks if lock.object in wanted]


def expected(operation: Operation) -> dict[str, participant.ObjectVersion]:
    """Return the versions that the objects must still have, so that the undos do not destroy what others did since.

    What the operation wrote must be as it wrote it, what it locked for itself and did not write as it was read. What
    was undone in part already cannot be told, and is left out.
    """
    shape, record = operation.shape, operation.record
    own = {lock.object for lock in locks_to_undo(shape, record) if LockMode(lock.mode) not in _INTENTIONS}
    versions = {each.object: each for each in shape.plan.read_set.versions if each.object in own}
    steps = sorted(record.steps.items(), key=lambda item: item[1].order)
    for reference, step in steps:
        if not shape.steps[reference].step.do.Is(write_objects_pb2.WriteObjects.DESCRIPTOR):
            continue
        written = list(_written(shape.steps[reference].step))
        if int(step.state) != StepState.DONE:
            unknown = () if int(step.state) in (StepState.SKIPPED, StepState.FAILED) else written
            for name in unknown:
                versions.pop(name, None)
            continue
        result = write_objects_pb2.WriteObjectsResult.FromString(step.result.value)
        versions.update({name: participant.ObjectVersion(object=name) for name in written})
        for message in map(unwrap, result.objects):
            name, uid, generation = message.name, message.uid, message.generation  # type: ignore[attr-defined]
            versions[name] = participant.ObjectVersion(object=name, uid=uid, generation=generation)
    return versions


def refuse_undos(shape: Shape, record: Record, status: status_pb2.Status) -> None:
    """Mark everything that is to be undone as refused, with the reason: a person must look."""
    for ref in _to_undo(shape, record):
        if schedule.step_state(record, ref.reference) != StepState.UNDOING:
            schedule.change_step(record, ref.reference, StepState.UNDOING).undo_attempt += 1
        schedule.change_step(record, ref.reference, StepState.UNDO_FAILED).error.CopyFrom(status)
    schedule.mark_stuck(shape, record)


def is_settled(record: Record) -> bool:
    """Tell whether the locks are free and everything that was under way at the break is settled."""
    return record.broken.freed and not record.broken.quarantined


def turn_back(shape: Shape, record: Record) -> None:
    """Turn the operation round, unless it is on its way back already; steps may still be under way."""
    if not record.rolling_back:
        record.error.CopyFrom(status_of(record))
        schedule.begin_rollback(shape, record, record.number)


def passed_pivot(shape: Shape, record: Record) -> bool:
    """Tell whether the pivot, which is settled, was done or left something."""
    pivots = (reference for reference, ref in shape.steps.items() if ref.step.kind == plan_pb2.STEP_KIND_PIVOT)
    return any(
        schedule.step_state(record, reference) == StepState.DONE
        or record.steps[reference].left_residue
        or record.steps[reference].accepted  # what is behind it may be done
        for reference in pivots
        if reference in record.steps
    )


def has_undos(shape: Shape, record: Record) -> bool:
    """Tell whether something is to be undone whose undo was not refused."""
    return bool(_to_undo(shape, record))


def _to_undo(shape: Shape, record: Record) -> list[StepRef]:
    found = []
    for reference, ref in shape.steps.items():
        state = schedule.step_state(record, reference)
        if state in (StepState.DONE, StepState.UNDOING) or (
            state == StepState.FAILED and record.steps[reference].left_residue
        ):
            found.append(ref)
    return found


def _above(locks: Sequence[plan_pb2.PlannedLock], objects: Iterable[str]) -> set[str]:
    """Return the objects of these locks that may be above one of the objects in the lock tree."""
    collections = set().union(*(ancestor_collections(collection_of(name)) for name in objects))
    return {lock.object for lock in locks if collection_of(lock.object) in collections}


def _written(step: plan_pb2.PlannedStep) -> Iterator[str]:
    for write in write_objects_pb2.WriteObjects.FromString(step.do.value).writes:
        match write.WhichOneof("write"):
            case "create":
                yield unwrap(write.create).name  # type: ignore[attr-defined]  # all kinds have a name
            case "update":
                yield unwrap(write.update.object).name  # type: ignore[attr-defined]  # all kinds have a name
            case "delete":
                yield write.delete
