"""Early release: the locks of an operation that no step and no undo of it can need any more (P3, P5).

What is taken out of the record's tokens is released by a row that is due with the same commit; nothing is ever added.
"""

from __future__ import annotations

from virtyard.api.type.v1.submission_pb2 import ON_FAILURE_CONTINUE, ON_FAILURE_STOP
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import schedule
from virtyard.jobs.model import Shape, StepRef
from virtyard.kernel.any import unpack
from virtyard.kernel.dependence import names_in
from virtyard.kernel.job_states import JobState, StepState
from virtyard.kernel.names import collection_of
from virtyard.kernel.relations import ancestor_collections

__all__ = ["KEEPING", "kept_families", "shrink"]

Record = record_pb2.OperationRecord
KEEPING = frozenset({ON_FAILURE_STOP, ON_FAILURE_CONTINUE})
"""The policies under which what is finished is kept."""
_OPEN = frozenset({StepState.PENDING, StepState.STARTED, StepState.UNDOING, StepState.UNDO_FAILED})


def kept_families(shape: Shape, record: Record) -> set[str]:
    """Return the ids of the jobs that are kept for good: of families that are through, under STOP and CONTINUE."""
    if record.options.on_failure not in KEEPING:
        return set()
    kept: set[str] = set()
    for job in shape.plan.jobs:
        if job.parent in kept or (not job.parent and schedule.job_state(record, job.id) == JobState.COMPLETED):
            kept.add(job.id)
    return kept


def shrink(shape: Shape, record: Record) -> None:
    """Take the tokens out of the record that no remaining step or undo needs; some are always left."""
    kept = kept_families(shape, record)
    remaining = [ref for ref in shape.steps.values() if _is_needed(record, ref, kept)]
    if not remaining or not record.tokens:
        return
    names, above, jobs = set[str](), set[str](), set[str]()
    for ref in remaining:
        for name in (ref.step.target, ref.job.object):
            names.add(name)
            above.update(ancestor_collections(collection_of(name)))
        names.update(names_in(unpack(ref.step.do)))
        jobs.add(ref.job.id)
    users = {lock.object: lock.job for lock in shape.plan.locks}
    # What lies above is kept by its kind: which of them is the ancestor is not in the plan, and the others do no harm.
    needed = [
        token
        for token in record.tokens
        if token.object in names or collection_of(token.object) in above or users.get(token.object) in jobs
    ]
    if needed and len(needed) < len(record.tokens):
        del record.tokens[:]
        record.tokens.extend(needed)


def _is_needed(record: Record, ref: StepRef, kept: set[str]) -> bool:
    """Tell whether a step may still be done or undone."""
    state = schedule.step_state(record, ref.reference)
    if state in _OPEN:
        return True
    if state == StepState.FAILED:
        return record.steps[ref.reference].left_residue
    return state == StepState.DONE and ref.job.id not in kept
