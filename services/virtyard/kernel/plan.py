"""Plans: what an operation will do, as data that is durable before the operation is acknowledged.

A planner names jobs and steps with a `PlanBuilder`; `build` adds intention locks, the read set and the servers touched,
and refuses a plan that breaks one of the rules of `plan_rules`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, cast

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from virtyard.api.inventory.v1 import object_pb2, write_objects_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.kernel.lock_modes import LockMode, intention_for, supremum
from virtyard.kernel.names import INVENTORY, kind_of, wrap
from virtyard.kernel.plan_rules import check_plan, steps_of
from virtyard.kernel.view import View


class Ids:
    """Mints the uids of new objects; the same label gives the same uid however often a plan is made (P4)."""

    def __init__(self, seed: uuid.UUID) -> None:
        """Keep the operation's seed."""
        self._seed = seed

    def uid(self, label: str) -> str:
        """Return the uid that stands for a label, as 32 hexadecimal digits."""
        return uuid.uuid5(self._seed, label).hex


class JobBuilder:
    """One job of a plan that is being made; its methods add steps."""

    def __init__(self, planned: plan_pb2.PlannedJob) -> None:
        """Keep the job to add to."""
        self.planned = planned

    @property
    def id(self) -> str:
        """The job's name inside the plan."""
        return self.planned.id

    def step(
        self,
        title: str,
        participant: str,
        do: Message,
        *,
        undo: Message | None = None,
        target: str = "",
        pivot: bool = False,
        address: str = "",
        weight: float = 1.0,
        after_children: bool = False,
        counted: plan_pb2.CountedLock | None = None,
    ) -> str:
        """Add a step and return its reference, as `3/1`.

        Args:
            title: what it does, as a person reads it.
            participant: `inventory` or the name of a server.
            do: the effect's message.
            undo: the message that undoes it; None for the pivot and what comes after it.
            target: the object that it writes; the job's object if empty.
            pivot: whether it is the point of no return.
            address: host:port of the participant, where the inventory does not know it yet.
            weight: its share of the job's progress.
            after_children: start only when all children are completed.
            counted: what it takes of a counted lock while it runs; None if nothing limits how many run at once.
        """
        kind = plan_pb2.STEP_KIND_UNDOABLE if undo is not None else plan_pb2.STEP_KIND_FORWARD
        step = self.planned.steps.add(
            id=str(len(self.planned.steps) + 1),
            participant=participant,
            participant_address=address,
            target=target or self.planned.object,
            weight=weight,
            title=title,
            after_children=after_children,
            kind=plan_pb2.STEP_KIND_PIVOT if pivot else kind,
            counted=counted,
        )
        step.do.Pack(do)
        if undo is not None:
            step.undo.Pack(undo)
        return f"{self.planned.id}/{step.id}"

    def write(
        self,
        title: str,
        *writes: object_pb2.Object | Message,
        target: str = "",
        after_children: bool = False,
        forward: bool = False,
        pivot: bool = False,
    ) -> str:
        """Add a step that writes to the inventory; its undo puts back what was there.

        Args:
            title: what it does, as a person reads it.
            writes: typed objects to create, or `ObjectWrite` / `MemoryReservation` messages.
            target: the object that it writes; the job's object if empty.
            after_children: start only when all children are completed.
            forward: it comes after the pivot, so it has no undo.
            pivot: it is the point of no return, so it has no undo.
        """
        effect = write_objects_pb2.WriteObjects()
        for write in writes:
            if isinstance(write, write_objects_pb2.MemoryReservation):
                effect.memory_reservations.append(write)
            elif isinstance(write, write_objects_pb2.ObjectWrite):
                effect.writes.append(write)
            else:
                effect.writes.add(create=wrap(write))
        undo = None if forward or pivot else write_objects_pb2.RevertWrites()
        return self.step(
            title, INVENTORY, effect, undo=undo, target=target, pivot=pivot, after_children=after_children, weight=0.2
        )

    def if_deferred(self, title: str, *writes: write_objects_pb2.ObjectWrite) -> None:
        """Let the job be put off where its server cannot be reached (P16); to be called after all its steps are added.

        Args:
            title: what is noted then, as a person reads it.
            writes: how the inventory notes it, in place of all other steps of the job.
        """
        self.write(title, *writes)
        self.planned.steps[-1].if_deferred = True
        self.planned.deferrable = True

    def bind(self, field_path: str, step: str, result_path: str) -> None:
        """Set a field of the last added step's effect from the result of an earlier step.

        Args:
            field_path: path inside `do`, as `writes[0].create.virtual_disk.path`.
            step: the earlier step's reference, as `3/1`.
            result_path: path inside its result.
        """
        self.planned.steps[-1].bindings.add(field_path=field_path, step=step, result_path=result_path)


class PlanBuilder:
    """A plan that is being made from a view."""

    def __init__(self, view: View) -> None:
        """Start an empty plan."""
        self._view = view
        self._plan = plan_pb2.Plan()
        self._locks: dict[str, tuple[LockMode, str]] = {}
        self._last_top: list[str] = []

    def job(
        self,
        title: str,
        target: str,
        *,
        after: Sequence[JobBuilder] | None = None,
        parent: JobBuilder | None = None,
        lock: str = "",
    ) -> JobBuilder:
        """Add a job, with an exclusive lock on what it changes.

        Args:
            title: the title, as people know it.
            target: the object that it changes.
            after: the jobs that must be completed before; if None, top-level jobs follow each other in the order in
                which they are added, and the children of a job run together.
            parent: the job that it is a child of.
            lock: what is locked in place of the object, where only what is observed of it changes: that is not what
                the locks of an object protect, and must go on while somebody holds it.
        """
        following = [] if parent else self._last_top
        before = following if after is None else [job.id for job in after]
        planned = self._plan.jobs.add(
            id=str(len(self._plan.jobs) + 1),
            title=title,
            object=target,
            after=before,
            parent=parent.id if parent else "",
        )
        if not parent:
            self._last_top = [planned.id]
        self.lock(lock or target, LockMode.X, planned.id)
        return JobBuilder(planned)

    def lock(self, target: str, mode: LockMode, job: str = "", *, parent: str = "") -> None:
        """Add a lock, with the intention locks on the object's ancestors.

        Args:
            target: the object.
            mode: the mode.
            job: id of the job that uses it first; the last job if empty.
            parent: the lock parent of an object that does not exist yet.
        """
        job = job or (self._plan.jobs[-1].id if self._plan.jobs else "1")
        above = [parent, *self._view.ancestors(parent)] if parent else list(self._view.ancestors(target))
        for name, wanted in [(target, mode), *((name, intention_for(mode)) for name in above)]:
            held, first = self._locks.get(name, (wanted, job))
            self._locks[name] = (supremum(held, wanted), first)

    def build(self, result_object: str = "") -> plan_pb2.Plan:
        """Return the finished plan.

        Args:
            result_object: the object that the operation answers with; empty for none.

        Raises:
            InternalError: the plan breaks a rule.
        """
        plan = self._plan
        for name in sorted(self._locks):
            mode, job = self._locks[name]
            plan.locks.add(object=name, mode=cast("Any", int(mode)), job=job)
        plan.read_set.CopyFrom(self._view.requirement())
        participants = {step.participant for _, step in steps_of(plan)}
        plan.servers.extend(sorted(participants - {INVENTORY}))
        plan.result_object = result_object
        plan.inventory_sequence = self._view.sequence
        check_plan(plan)
        return plan


def update(target: Message, *paths: str) -> write_objects_pb2.ObjectWrite:
    """Return a write that takes over these fields of a typed object."""
    write = write_objects_pb2.ObjectWrite()
    write.update.object.CopyFrom(wrap(target))
    write.update.update_mask.paths.extend(paths)
    return write


def delete(name: str) -> write_objects_pb2.ObjectWrite:
    """Return a write that removes an object."""
    kind_of(name)
    return write_objects_pb2.ObjectWrite(delete=name)


def pack(message: Message) -> AnyMessage:
    """Return the message inside an `Any`."""
    packed = AnyMessage()
    packed.Pack(message)
    return packed


__all__ = ["Ids", "JobBuilder", "PlanBuilder", "check_plan", "delete", "pack", "steps_of", "update"]
