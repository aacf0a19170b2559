"""Which job uses a lock now: told to the lock service as jobs take turns, for people who ask who is at an object.

Only what differs from before is told, on the stream that is there anyway: an operation of one job costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from virtyard.api.jobs.v1 import plan_pb2
from virtyard.jobs import schedule
from virtyard.jobs.model import Operation, job_name
from virtyard.kernel.job_states import StepState
from virtyard.kernel.names import collection_of
from virtyard.kernel.relations import ancestor_collections

__all__ = ["take_changes"]

_UNDER_WAY = frozenset({int(StepState.STARTED), int(StepState.UNDOING)})


def take_changes(operation: Operation, jobs: Iterable[str]) -> dict[str, str]:
    """Return the objects that another job than before uses now, with that job's name; the operation remembers it.

    Args:
        operation: the operation after a commit.
        jobs: ids of the jobs that look different since.
    """
    shape = operation.shape
    if len(shape.plan.jobs) < 2:
        return {}
    changed: dict[str, str] = {}
    for job in sorted(jobs, key=int):
        if not any(schedule.step_state(operation.record, each) in _UNDER_WAY for each in shape.own[job]):
            continue
        for lock in _used_by(shape.plan, shape.jobs[job]):
            if operation.uses.get(lock.object, lock.job) != job:
                operation.uses[lock.object] = job
                changed[lock.object] = job_name(operation.number, job)
    return changed


def _used_by(plan: plan_pb2.Plan, job: plan_pb2.PlannedJob) -> Iterator[plan_pb2.PlannedLock]:
    """Yield the locks on what a job writes, and on what may be above that."""
    targets = {job.object, *(step.target for step in job.steps)}
    above = frozenset[str]().union(*(ancestor_collections(collection_of(name)) for name in targets))
    return (lock for lock in plan.locks if lock.object in targets or collection_of(lock.object) in above)
