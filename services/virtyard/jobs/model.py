"""What the scheduler keeps of one operation in memory: its plan, its request and its record.

The record is the durable state; a change is made on a copy, which takes the record's place once it is committed (P28).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from google.protobuf.any_pb2 import Any

from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.jobs.v1 import record_pb2


def operation_name(number: int) -> str:
    """Return the resource name of an operation."""
    return f"operations/{number}"


def operation_number(name: str) -> int:
    """Return the number in the resource name of an operation; 0 if it is none."""
    collection, _, number = name.partition("/")
    return int(number) if collection == "operations" and number.isdigit() else 0


def job_name(number: int, job: str) -> str:
    """Return the resource name of a job of an operation."""
    return f"jobs/{number}-{job}"


def owner_name(number: int) -> str:
    """Return the name under which an operation owns its locks."""
    return operation_name(number)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRef:
    """A step of a plan with the job that it belongs to."""

    job: plan_pb2.PlannedJob
    """The job."""
    step: plan_pb2.PlannedStep
    """The step."""
    reference: str
    """The step inside the plan, as `3/1`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A plan with its steps and families indexed; made once for each plan."""

    plan: plan_pb2.Plan
    """The plan."""
    jobs: dict[str, plan_pb2.PlannedJob]
    """Its jobs by id."""
    children: dict[str, list[plan_pb2.PlannedJob]]
    """The children of each job that has any."""
    steps: dict[str, StepRef]
    """Its steps by reference, in the order of the plan."""
    own: dict[str, tuple[str, ...]]
    """The references of each job's steps, in their order."""
    own_first: dict[str, tuple[str, ...]]
    """The references of those steps of each job that come before its children."""
    deferrable: tuple[plan_pb2.PlannedJob, ...]
    """The jobs that are put off where their server cannot be reached."""
    counted: tuple[StepRef, ...]
    """The steps that take a counted lock."""

    @classmethod
    def of(cls, plan: plan_pb2.Plan) -> Shape:
        """Index a plan."""
        children: dict[str, list[plan_pb2.PlannedJob]] = {}
        for job in plan.jobs:
            if job.parent:
                children.setdefault(job.parent, []).append(job)
        refs = [StepRef(job=job, step=step, reference=f"{job.id}/{step.id}") for job in plan.jobs for step in job.steps]
        own: dict[str, list[StepRef]] = {job.id: [] for job in plan.jobs}
        for ref in refs:
            own[ref.job.id].append(ref)
        return cls(
            plan=plan,
            jobs={job.id: job for job in plan.jobs},
            children=children,
            steps={ref.reference: ref for ref in refs},
            own={job: tuple(ref.reference for ref in found) for job, found in own.items()},
            own_first={
                job: tuple(ref.reference for ref in found if not ref.step.after_children) for job, found in own.items()
            },
            deferrable=tuple(job for job in plan.jobs if job.deferrable),
            counted=tuple(ref for ref in refs if ref.step.HasField("counted")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """How far an operation is at a moment, and when it is expected to end."""

    time: datetime
    """The moment."""
    progress: participant.Progress
    """How far the whole operation is, with its expected end where that can be told."""
    steady: bool = False
    """Whether it goes on by itself, so that an end of its jobs can be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockWait:
    """When an operation waited for its locks."""

    begin: datetime
    """When they were asked for."""
    end: datetime | None = None
    """When they were granted; None while they are not."""


@dataclass(slots=True, kw_only=True)
class Operation:
    """One operation; only its runner changes it, and only after a commit."""

    shape: Shape
    """The present plan."""
    request: Any
    """The request, as it was accepted."""
    record: record_pb2.OperationRecord
    """The durable state."""
    progress: dict[str, participant.Progress] = field(default_factory=dict)
    """How far the steps are that are under way, by reference; never stored."""
    bodies: dict[str, bytes] = field(default_factory=dict)
    """How it and its jobs were shown last, serialised, by name; what was not shown by this process is absent."""
    waiting_for: str = ""
    """Who is in the way of its locks, as a person reads it; never stored."""
    counted_waits: dict[str, str] = field(default_factory=dict)
    """The counted locks that steps wait for, as a person reads it, by the steps' references; never stored."""
    uses: dict[str, str] = field(default_factory=dict)
    """The job, by id, that was last told to use an object, where that is not the first one; never stored."""
    contact_lost: frozenset[str] = frozenset()
    """Participants that are silent while a step of theirs is open; never stored."""
    lock_wait: LockWait | None = None
    """Its wait for locks as this scheduler knows it; the record has it from the next commit on."""
    outlook: Outlook | None = None
    """The outlook at its last news, which whoever shows it takes; None for one that only is read. Never stored."""

    @property
    def number(self) -> int:
        """The operation's number."""
        return self.record.number

    @property
    def name(self) -> str:
        """The operation's resource name."""
        return operation_name(self.record.number)
