"""What an operation type is: the method that asks for it, what it reads, and how it plans.

A module of this package that has an `OPERATION` is an operation type; a package elsewhere adds its own by an entry
point of the group `virtyard.operations` that names such a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.plan import Ids
from virtyard.kernel.view import View
from virtyard.operations.needs import Need, check_needs


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationType:
    """One kind of operation."""

    method: str
    """Full name of the rpc, as `virtyard.api.operations.v1.OperationService.CreateServerPool`."""
    selections: Callable[[Any], Sequence[participant.Selection]]
    """From the request to what must be read from the inventory before planning."""
    plan: Callable[[Any, View, Ids], plan_pb2.Plan]
    """From the request, the view and the ids of new objects to the plan; raises `RequestError` for what cannot be.

    Whoever calls it has the needs below checked first: there is no planning without them."""
    needs: Mapping[str, Sequence[Need]] = field(default_factory=dict)
    """What must be so of the objects that the request names, by the name of the field, as `name`.

    Said of an object's own record alone, so that every object can show which operations it allows; see `allowed`. What
    depends on the rest of the request or on other objects is for `plan` to refuse."""
    yields_to: frozenset[str] = frozenset()
    """Methods whose operations end one of this type that is in their way, as what it would undo is void then (P12)."""
    safe_in_quarantine: bool = False
    """Whether it may act on objects that a silent host may still be acting on, as a kill or a refresh may (P11)."""
    proves_dead: Callable[[Any], str] | None = None
    """From the request to the server whose death it proves, which must not answer when it is asked for (P17)."""
    descriptor_set: bytes = b""
    """Serialised `FileDescriptorSet` with comments of the method's files, for help texts; empty for Virtyard's own."""

    def __post_init__(self) -> None:
        """Put the needs before the plan, so that what an object shows as refused cannot be planned, nor the reverse."""
        if self.needs:
            object.__setattr__(self, "plan", partial(_plan, self.needs, self.plan))


def _plan(
    needs: Mapping[str, Sequence[Need]],
    plan: Callable[[Any, View, Ids], plan_pb2.Plan],
    request: Any,
    view: View,
    ids: Ids,
) -> plan_pb2.Plan:
    check_needs(needs, request, view)
    return plan(request, view, ids)
