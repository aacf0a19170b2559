"""The rules that every plan keeps, checked before it is durable.

Steps that can be undone come first, then at most one pivot, then steps that are only tried forward (P6). What comes
first is what is certainly done first: a plan is a partial order, in which a parent's steps surround its children's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from google.protobuf import descriptor_pool
from google.protobuf.any_pb2 import Any
from google.protobuf.descriptor import Descriptor

from virtyard.api.jobs.v1 import plan_pb2
from virtyard.kernel.any import get_path, unpack
from virtyard.kernel.errors import InternalError
from virtyard.kernel.field_paths import assignable, field_at
from virtyard.kernel.lock_modes import LockMode, covers_write
from virtyard.kernel.names import INVENTORY
from virtyard.kernel.options import descriptor_of

_COUNTED = re.compile(r"capacity/servers/[^/]+/[a-z_]+")
Steps = Mapping[str, plan_pb2.PlannedStep]


def steps_of(plan: plan_pb2.Plan) -> Iterator[tuple[plan_pb2.PlannedJob, plan_pb2.PlannedStep]]:
    """Yield every step with its job, in the order in which people read the plan."""
    for job in plan.jobs:
        for step in job.steps:
            yield job, step


def check_plan(plan: plan_pb2.Plan) -> None:
    """Refuse a plan that breaks a rule.

    Raises:
        InternalError: a job is empty, jobs or steps refer to what does not come before them, the order is not that of
            P6, a job that may be put off is not made for it, a binding does not fit, a step writes what no exclusive
            lock covers, or takes none of a counted lock.
    """
    order = Order(plan)
    parents = {job.parent for job in plan.jobs}
    for job in plan.jobs:
        if not job.steps and job.id not in parents:
            raise InternalError(f"job {job.id} {job.title!r} has neither steps nor children")
    steps = {f"{job.id}/{step.id}": step for job, step in steps_of(plan)}
    _check_kinds(steps, order)
    _check_deferral(plan)
    locks = [(lock.object, LockMode(lock.mode)) for lock in plan.locks]
    for reference, step in steps.items():
        if not step.target or not covers_write(step.target, locks):
            raise InternalError(f"step {reference} writes {step.target!r}, which no exclusive lock covers")
        if step.HasField("counted") and (step.counted.count < 1 or not _COUNTED.fullmatch(step.counted.name)):
            text = f"step {reference} takes {step.counted.count} of {step.counted.name!r}; it must be at least 1 of"
            raise InternalError(f"{text} capacity/servers/ID/WHAT")
        if step.bindings:
            _check_bindings(reference, steps, order)


def _check_kinds(steps: Steps, order: Order) -> None:
    pivots = [reference for reference, step in steps.items() if step.kind == plan_pb2.STEP_KIND_PIVOT]
    if len(pivots) > 1:
        raise InternalError(f"a plan has at most one pivot, this one has {pivots}")
    for reference, step in steps.items():
        if step.kind == plan_pb2.STEP_KIND_UNDOABLE:
            if not step.HasField("undo") or not all(order.is_before(reference, pivot) for pivot in pivots):
                raise InternalError(f"step {reference} must have an undo and come before the pivot")
        elif step.HasField("undo"):
            raise InternalError(f"step {reference} has an undo, so it must be of the undoable kind")
        elif step.kind == plan_pb2.STEP_KIND_FORWARD:
            if not any(order.is_before(pivot, reference) for pivot in pivots):
                raise InternalError(f"step {reference} has no undo, so a pivot must come before it")
        elif step.kind != plan_pb2.STEP_KIND_PIVOT:
            raise InternalError(f"step {reference} has no kind")


def _check_deferral(plan: plan_pb2.Plan) -> None:
    """A job that may be put off is a child on one server, with one step in place of the others, and nobody needs it."""
    parents = {job.parent for job in plan.jobs}
    deferrable = {job.id for job in plan.jobs if job.deferrable}
    for job in plan.jobs:
        instead = [step for step in job.steps if step.if_deferred]
        hosts = {step.participant for step in job.steps} - {INVENTORY}
        if not job.deferrable:
            if instead:
                raise InternalError(f"job {job.id} has a step for being put off, and cannot be put off")
        elif not job.parent or job.id in parents or len(hosts) != 1:
            raise InternalError(f"job {job.id} cannot be put off: it must be a child, without children, on one server")
        elif instead != list(job.steps[-1:]) or instead[0].participant != INVENTORY or instead[0].bindings:
            raise InternalError(f"job {job.id} must have its last step, a plain write, for being put off")
        elif any(step.kind != plan_pb2.STEP_KIND_UNDOABLE for step in job.steps):
            raise InternalError(f"job {job.id} can be put off, so each of its steps must have an undo")
        for binding in (binding for step in job.steps for binding in step.bindings):
            source = binding.step.partition("/")[0]
            if source in deferrable - {job.id}:
                raise InternalError(f"job {job.id} is bound to {binding.step}, which may be put off")


def _check_bindings(reference: str, steps: Steps, order: Order) -> None:
    do = unpack(steps[reference].do)
    for binding in steps[reference].bindings:
        if binding.step not in steps or not order.is_before(binding.step, reference):
            raise InternalError(f"step {reference} is bound to {binding.step!r}, which does not come before it")
        target = field_at(descriptor_of(do), binding.field_path)
        try:
            get_path(do, binding.field_path)
        except IndexError:
            raise InternalError(f"step {reference} binds {binding.field_path}, where there is no such item") from None
        source = field_at(result_type(steps[binding.step].do), binding.result_path)
        if not assignable(source, target):
            text = f"step {reference} binds {source.full_name} to {target.full_name}, which is of another type"
            raise InternalError(text)


def result_type(packed: Any) -> Descriptor:
    """Return the type of what an effect results in: that of the same name with `Result` after it.

    Raises:
        InternalError: there is none.
    """
    return _descriptor(packed.TypeName() + "Result")


def _descriptor(name: str) -> Descriptor:
    try:
        return descriptor_pool.Default().FindMessageTypeByName(name)
    except KeyError:
        raise InternalError(f"there is no message type {name}") from None


class Order:
    """Which steps are certainly done when another starts; sets of steps are bits of a number."""

    def __init__(self, plan: plan_pb2.Plan) -> None:
        """Work the order out.

        Raises:
            InternalError: a job refers to one that does not come before it in the list, or waits for itself.
        """
        self._jobs: dict[str, plan_pb2.PlannedJob] = {}
        self._children: dict[str, list[str]] = {}
        self._bits: dict[str, int] = {}
        for job in plan.jobs:
            unknown = ({*job.after, job.parent} - {""}) - self._jobs.keys()
            if unknown or job.id in self._jobs:
                what = f"refers to {sorted(unknown)}, which do not come before it" if unknown else "is there twice"
                raise InternalError(f"job {job.id} {job.title!r} {what}")
            self._jobs[job.id] = job
            self._children.setdefault(job.parent, []).append(job.id)
            for step in job.steps:
                self._bits[f"{job.id}/{step.id}"] = 1 << len(self._bits)
        self._starts: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        self._before: dict[str, int] = {}
        for name in self._jobs:
            self._end(name, ())

    def is_before(self, first: str, second: str) -> bool:
        """Tell whether one step, as `3/1`, is certainly done when another starts."""
        return bool(self._before[second] & self._bits[first])

    def sequence(self) -> list[str]:
        """Return all steps in an order in which they may be done; what may run together as the plan lists it."""
        return sorted(self._bits, key=lambda reference: (self._before[reference].bit_count(), self._bits[reference]))

    def _start(self, name: str, waiting: tuple[str, ...]) -> int:
        """Return the steps that are done when a job starts."""
        if name not in self._starts:
            job, done = self._jobs[name], 0
            if job.parent:
                done |= self._start(job.parent, waiting) | self._own_first(job.parent)
            for earlier in job.after:
                done |= self._end(earlier, (*waiting, name))
            self._starts[name] = done
        return self._starts[name]

    def _end(self, name: str, waiting: tuple[str, ...]) -> int:
        """Return the steps that are done when a job is completed, and note the order of its own."""
        if name in waiting:
            raise InternalError(f"job {name} {self._jobs[name].title!r} waits for itself by {list(waiting)}")
        if name not in self._ends:
            job, done = self._jobs[name], self._start(name, waiting)
            surrounded = False
            for step in job.steps:
                if surrounded and not step.after_children:
                    raise InternalError(
                        f"step {name}/{step.id} must come after the children, as the steps before it do"
                    )
                if step.after_children and not surrounded:
                    surrounded = True
                    done |= self._all_children(name, waiting)
                self._before[f"{name}/{step.id}"] = done
                done |= self._bits[f"{name}/{step.id}"]
            self._ends[name] = done if surrounded else done | self._all_children(name, waiting)
        return self._ends[name]

    def _all_children(self, name: str, waiting: tuple[str, ...]) -> int:
        done = 0
        for child in self._children.get(name, ()):
            done |= self._end(child, (*waiting, name))
        return done

    def _own_first(self, name: str) -> int:
        done = 0
        for step in self._jobs[name].steps:
            if not step.after_children:
                done |= self._bits[f"{name}/{step.id}"]
        return done
