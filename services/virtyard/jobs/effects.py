"""Effects as they are sent: a step's messages with its key, locks, expected versions and order."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.duration_pb2 import Duration

from virtyard.api.inventory.v1 import write_objects_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.type.v1 import lock_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs.model import Operation, StepRef, job_name
from virtyard.kernel.any import get_path, set_path, unpack
from virtyard.kernel.job_states import StepState
from virtyard.kernel.names import INVENTORY, collection_of
from virtyard.kernel.relations import ancestor_collections
from virtyard.runtime import telemetry

STALL_SECONDS = 120
"""No progress for this long raises "job stuck"."""


def step_key(number: int, reference: str) -> str:
    """Return the key of a step, which also marks what it creates."""
    return f"{number}/{reference}"


def reference_of(key: str) -> str:
    """Return the step inside the plan, `3/1` of the step key `12/3/1`."""
    return key.partition("/")[2]


def make_round(
    operation: Operation, refs: Iterable[StepRef], phase: participant.Phase.ValueType
) -> list[participant.Effect]:
    """Return the effects of a round, each after the one before it."""
    made: list[participant.Effect] = []
    for ref in refs:
        effect = _make(operation, ref, phase)
        if made:
            effect.after = made[-1].step_key
        made.append(effect)
    if made and _is_first_round(operation, made) and phase == participant.PHASE_DO:
        made[0].require.CopyFrom(operation.shape.plan.read_set)
    return made


def _is_first_round(operation: Operation, made: list[participant.Effect]) -> bool:
    """Tell whether nothing else was begun and the inventory goes first, so that it checks the read set itself."""
    record = operation.record
    first = operation.shape.steps[reference_of(made[0].step_key)]
    if record.done_count or first.step.participant != INVENTORY:
        return False
    # Beside a round of somebody else the read set was checked before, and a new plan would come too late (P4).
    return sum(int(own.state) == StepState.STARTED for own in record.steps.values()) == len(made)


def _make(operation: Operation, ref: StepRef, phase: participant.Phase.ValueType) -> participant.Effect:
    record, step = operation.record, ref.step
    own = record.steps[ref.reference]
    effect = participant.Effect(
        step_key=step_key(record.number, ref.reference),
        attempt=own.attempt if phase == participant.PHASE_DO else own.undo_attempt,
        epoch=record.epoch,
        locks=_locks_for(record, step.target),
        do=step.do,
        phase=phase,
        stall_limit=Duration(seconds=STALL_SECONDS),
        target=step.target,
        job=job_name(record.number, ref.job.id),
        principal=record.principal,
        trace_context=telemetry.inject() or dict(record.trace_context),
    )
    if step.HasField("undo"):
        effect.undo.CopyFrom(step.undo)
    if step.bindings:
        _bind(effect, ref, record)
    if step.participant == INVENTORY and phase == participant.PHASE_DO:
        effect.expected.extend(_expected(operation, effect))
    return effect


def _locks_for(record: record_pb2.OperationRecord, target: str) -> list[lock_pb2.LockToken]:
    """Return the tokens for a target and for everything that may be above it."""
    above = ancestor_collections(collection_of(target))
    return [token for token in record.tokens if token.object == target or collection_of(token.object) in above]


def _bind(effect: participant.Effect, ref: StepRef, record: record_pb2.OperationRecord) -> None:
    """Set the fields that come from earlier results; those are durable, so this gives the same bytes each time."""
    do = unpack(effect.do)
    for binding in ref.step.bindings:
        set_path(do, binding.field_path, get_path(unpack(record.steps[binding.step].result), binding.result_path))
    effect.do.Pack(do, deterministic=True)


def _expected(operation: Operation, effect: participant.Effect) -> list[participant.ObjectVersion]:
    """Return the versions, as the plan read them, of the objects that an inventory effect changes."""
    if not effect.do.Is(write_objects_pb2.WriteObjects.DESCRIPTOR):
        return []
    written = write_objects_pb2.WriteObjects.FromString(effect.do.value)
    names = set()
    for write in written.writes:
        if write.HasField("update"):
            which = write.update.object.WhichOneof("object")
            names.add(getattr(write.update.object, str(which)).name)
        elif write.HasField("delete"):
            names.add(write.delete)
    return [version for version in operation.shape.plan.read_set.versions if version.object in names and version.uid]
