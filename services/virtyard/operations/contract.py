"""What an operation type is: the method that asks for it, what it reads, and how it plans.

A module of this package that has an `OPERATION` is an operation type; a package elsewhere adds its own by an entry
point of the group `virtyard.operations` that names such a value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.plan import Ids
from virtyard.kernel.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationType:
    """One kind of operation."""

    method: str
    """Full name of the rpc, as `virtyard.api.operations.v1.OperationService.CreateServerPool`."""
    selections: Callable[[Any], Sequence[participant.Selection]]
    """From the request to what must be read from the inventory before planning."""
    plan: Callable[[Any, View, Ids], plan_pb2.Plan]
    """From the request, the view and the ids of new objects to the plan; raises `RequestError` for what cannot be."""
    yields_to: frozenset[str] = frozenset()
    """Methods whose operations end one of this type that is in their way, as what it would undo is void then (P12)."""
    safe_in_quarantine: bool = False
    """Whether it may act on objects that a silent host may still be acting on, as a kill or a refresh may (P11)."""
    proves_dead: Callable[[Any], str] | None = None
    """From the request to the server whose death it proves, which must not answer when it is asked for (P17)."""
    descriptor_set: bytes = b""
    """Serialised `FileDescriptorSet` with comments of the method's files, for help texts; empty for Virtyard's own."""
