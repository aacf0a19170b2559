"""Which jobs of a plan need which others: what may go on when one of them failed, and what may not.

A job and its children are one family, and families are what is compared. A family needs one that comes before it if it
names something that the other makes or changes, or takes a value from a result of it. What makes or changes the object
that the operation answers with is needed by all that comes after: without it the rest has no purpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from google.protobuf.message import Message

from virtyard.api.inventory.v1 import write_objects_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.kernel.any import unpack
from virtyard.kernel.names import unwrap

__all__ = ["Families", "names_in"]


class Families:
    """The families of a plan; each goes by the id of its top-level job."""

    def __init__(self, plan: plan_pb2.Plan) -> None:
        """Sort the jobs of a plan by their families."""
        self._plan = plan
        self._head: dict[str, str] = {}
        self._jobs: dict[str, list[plan_pb2.PlannedJob]] = {}
        for job in plan.jobs:
            head = self._head[job.id] = self._head[job.parent] if job.parent else job.id
            self._jobs.setdefault(head, []).append(job)

    def head(self, job: str) -> str:
        """Return the id of the top-level job whose family a job belongs to."""
        return self._head[job]

    def members(self, head: str) -> list[plan_pb2.PlannedJob]:
        """Return the jobs of a family, its top-level job first."""
        return self._jobs[head]

    def needing(self, failed: str) -> list[str]:
        """Return the heads of the families that cannot do without the one with this head, in the order of the plan."""
        lost = {failed}
        touched = self._touched(failed)
        for head, jobs in self._jobs.items():
            if head in lost or not self._comes_after(head, lost):
                continue
            bound = {self._head[binding.step.partition("/")[0]] for step in _steps(jobs) for binding in step.bindings}
            if bound & lost or self._plan.result_object in touched or touched & _named(jobs):
                lost.add(head)
                touched |= self._touched(head)
        return [head for head in self._jobs if head in lost - {failed}]

    def _comes_after(self, head: str, others: AbstractSet[str]) -> bool:
        """Tell whether a family begins only when one of the others is through."""
        before = {self._head[each] for job in self._jobs[head] for each in job.after} - {head}
        return bool(before & others) or any(self._comes_after(each, others) for each in before)

    def _touched(self, head: str) -> set[str]:
        """Return the names, and the uids of what is new, of all that a family makes or changes."""
        found = {job.object for job in self._jobs[head]}
        for step in _steps(self._jobs[head]):
            found.add(step.target)
            if not step.do.Is(write_objects_pb2.WriteObjects.DESCRIPTOR):
                continue
            for write in write_objects_pb2.WriteObjects.FromString(step.do.value).writes:
                if write.HasField("create"):
                    created = unwrap(write.create)
                    found |= {created.name, created.uid}  # type: ignore[attr-defined]  # all kinds have both
                elif write.HasField("update"):
                    found.add(unwrap(write.update.object).name)  # type: ignore[attr-defined]  # all kinds have a name
                else:
                    found.add(write.delete)
        return found - {""}


def _steps(jobs: list[plan_pb2.PlannedJob]) -> Iterator[plan_pb2.PlannedStep]:
    return (step for job in jobs for step in job.steps)


def _named(jobs: list[plan_pb2.PlannedJob]) -> set[str]:
    """Return every text that a family's effects carry, and what they are about: names and uids are among them."""
    found = {job.object for job in jobs}
    for step in _steps(jobs):
        found.add(step.target)
        found.update(names_in(unpack(step.do)))
    return found


def names_in(message: Message) -> Iterator[str]:
    """Yield every text in a message, wherever it is."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            yield from [value] if isinstance(value, str) else value
        elif field.type == field.TYPE_MESSAGE:
            if isinstance(value, Mapping):
                yield from (text for pair in value.items() for text in pair if isinstance(text, str))
            else:
                for each in [value] if isinstance(value, Message) else value:
                    yield from names_in(each)
