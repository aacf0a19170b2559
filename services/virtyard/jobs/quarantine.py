"""The quarantine: objects that a silent participant may still act on though their locks were broken and freed (P11).

It follows from the operations that are open, so that it is there again after a restart before anything is run.
"""

from __future__ import annotations

from virtyard.jobs.broken import in_quarantine
from virtyard.jobs.model import Operation
from virtyard.kernel.errors import WrongState
from virtyard.operations.contract import OperationType

__all__ = ["Quarantine"]


class Quarantine:
    """Knows which operations have left something unsettled behind broken locks."""

    def __init__(self) -> None:
        """Begin with nothing in quarantine."""
        self._operations: dict[int, Operation] = {}

    def note(self, operation: Operation) -> None:
        """Take over what an operation has in quarantine now."""
        if operation.record.broken.quarantined:
            self._operations[operation.number] = operation
        else:
            self._operations.pop(operation.number, None)

    def check(self, kind: OperationType, operation: Operation) -> None:
        """Refuse an operation that reaches into the quarantine, unless it is of a type that is safe there.

        Raises:
            WrongState: an object is in quarantine; the message says because of what.
        """
        if kind.safe_in_quarantine:
            return
        for other in self._operations.values():
            objects = in_quarantine(other.record, operation.shape.plan.locks)
            if objects:
                raise WrongState(
                    f"{objects[0]} is in quarantine: the locks of {other.name} were broken by force, and a host may "
                    "still act on it; until that host has answered, only a refresh, a kill or a forgetting is allowed",
                    resource=objects[0],
                    metadata={"quarantined_by": other.name},
                )
