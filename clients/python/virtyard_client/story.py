"""The story of one operation as a watch tells it: the operation and its jobs, each in its latest state.

It is a pure value holder: frames go in, changes come out; the tree, the plain lines and the SDK's `wait` all read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from virtyard.api.jobs.v1 import job_pb2, operation_pb2
from virtyard_client.errors import ClientError

State = operation_pb2.OperationState


@dataclass(frozen=True, slots=True)
class Change:
    """What one frame changed."""

    job: job_pb2.Job | None
    """The job as it is now; None if the operation itself changed."""
    before: job_pb2.Job | None
    """The job as it was; None if it is new or if the operation changed."""
    state_before: int
    """The operation's state before the frame."""
    waiting_before: str
    """Whom the operation waited for before the frame."""


class Story:
    """An operation with its jobs, brought up to date frame by frame."""

    def __init__(self, operation: Any) -> None:
        self.operation: Any = operation
        """The google.longrunning.Operation in its latest state."""
        self.metadata = operation_pb2.OperationMetadata()
        """Its metadata, unpacked."""
        self.jobs: dict[str, job_pb2.Job] = {}
        """Its jobs by name, in their latest states."""
        self._take(operation)

    def _take(self, operation: Any) -> None:
        self.operation = operation
        metadata = operation_pb2.OperationMetadata()
        if operation.metadata.Unpack(metadata):
            self.metadata = metadata

    def apply(self, frame: Any) -> Change | None:
        """Take in one frame of WatchOperation; None if nothing changed by it."""
        item = frame.WhichOneof("item")
        state, waiting = self.state, self.waiting
        if item == "operation":
            self._take(frame.operation)
            return Change(None, None, state, waiting)
        if item == "job":
            before = self.jobs.get(frame.job.name)
            self.jobs[frame.job.name] = frame.job
            return Change(frame.job, before, state, waiting)
        return None

    @property
    def waiting(self) -> str:
        """Whom the operation waits for while its locks are queued, as it or a job of it says; empty if for nobody."""
        if self.metadata.waiting_for:
            return self.metadata.waiting_for
        return next((job.waiting_for for job in self.jobs.values() if job.waiting_for), "")

    @property
    def name(self) -> str:
        """The operation's name; empty for a preview."""
        return str(self.operation.name)

    @property
    def title(self) -> str:
        """The operation's title."""
        return self.metadata.title or self.metadata.method.rpartition("/")[2] or "Operation"

    @property
    def state(self) -> int:
        """The operation's state as a number of OperationState."""
        return int(self.metadata.state)

    @property
    def done(self) -> bool:
        """True once the operation has ended and all its jobs are known as they ended."""
        return bool(self.operation.done)

    @property
    def error(self) -> ClientError | None:
        """Why it failed or was cancelled; None if it did not."""
        if self.operation.WhichOneof("result") != "error":
            return None
        return ClientError.from_status(self.operation.error)

    def roots(self) -> Sequence[job_pb2.Job]:
        """The jobs that are no children, in the order of the plan."""
        return self._ordered(job for job in self.jobs.values() if job.parent_job not in self.jobs)

    def children(self, job: job_pb2.Job) -> Sequence[job_pb2.Job]:
        """The children of a job, in the order of the plan."""
        return self._ordered(child for child in self.jobs.values() if child.parent_job == job.name)

    def _ordered(self, jobs: Any) -> list[job_pb2.Job]:
        places = {name: place for place, name in enumerate(self.metadata.jobs)}
        return sorted(jobs, key=lambda job: (places.get(job.name, len(places)), _number(job.name)))


def _number(name: str) -> int:
    digits = name.rpartition("-")[2]
    return int(digits) if digits.isdigit() else 0
