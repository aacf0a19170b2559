"""What people have accepted as left behind: the checker is told, as it may lie there for ever.

An operation's record says which steps a person has let stand, and so which of its objects, and of the things that bear
its marks, are allowed not to be as they would be. Whatever else is found counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf import text_format

from tests.invariants.records import Records, read
from virtyard.jobs.model import Operation
from virtyard.kernel.job_states import StepState
from virtyard.kernel.lock_modes import LockMode

_UID = re.compile(r"\b[0-9a-f]{32}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_PLACE = re.compile(r'"(/[^"]+)"')


def not_accepted(found: Iterable[str], site: Path) -> list[str]:
    """Return the findings that no residue explains, of what lies in the folder of a site."""
    words = accepted_words(read(site))
    return [line for line in found if line.startswith("operations/") or not any(word in line for word in words)]


def accepted_words(records: Records) -> frozenset[str]:
    """Return the names, uids, paths and marks of what operations have left behind that people let end."""
    return frozenset(word for one in records.ended.values() if _is_accepted(one) for word in _words(one))


def _is_accepted(operation: Operation) -> bool:
    return any(
        step.accepted or StepState(step.state or 1) is StepState.UNDO_FAILED for step in operation.record.steps.values()
    )


def _words(operation: Operation) -> Iterator[str]:
    plan = operation.shape.plan
    yield from (lock.object for lock in plan.locks if LockMode(lock.mode) is LockMode.X)
    yield f"{operation.name} "
    text = text_format.MessageToString(plan)
    yield from _UID.findall(text)
    # The shared storage as a whole is nobody's.
    yield from (place for place in _PLACE.findall(text) if place.count("/") > 4)
