"""Submission: from a request to a durable plan, and to the operation that the caller is answered with.

It answers as soon as the plan is durable; what fails later is the operation's error, not the call's.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from google.longrunning import operations_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from virtyard.api.jobs.v1 import job_pb2, operation_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs.admission import new_record
from virtyard.jobs.causes import Cause
from virtyard.jobs.deadline import check_deadline
from virtyard.jobs.inventory_port import InventoryPort
from virtyard.jobs.model import Operation, Shape
from virtyard.jobs.on_failure import check_policy
from virtyard.jobs.proofs import Proofs
from virtyard.jobs.render import render_metadata, render_operation
from virtyard.jobs.store import JobStore
from virtyard.kernel.blocking import check_blocks
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import InvalidRequest, Unsupported, VirtyardError
from virtyard.kernel.plan import Ids, pack
from virtyard.kernel.validation import validate
from virtyard.operations.contract import OperationType
from virtyard.runtime.database import Transaction

Also = Callable[[Transaction, Operation], None]
_LOWEST_PRIORITY, _HIGHEST_PRIORITY = -20, 20


class Submission:
    """Accepts operations."""

    def __init__(
        self,
        operations: Mapping[str, OperationType],
        titles: Mapping[str, str],
        store: JobStore,
        inventory: InventoryPort,
        tokens: Callable[[], dict[str, str]],
        run: Callable[[Operation], None],
        clock: Clock,
        admit: Callable[[Operation], None],
    ) -> None:
        """Work with these.

        Args:
            operations: the operation types by method.
            titles: the title of each method.
            store: where operations become durable.
            inventory: what plans are made from.
            tokens: gives the resume tokens, by feed, from which everything that comes now is seen.
            run: begins to run an operation that is durable.
            clock: tells whether a deadline has passed, and when an operation was accepted.
            admit: raises for an operation that a filter rejects, or that could never begin.
        """
        self._operations = operations
        self._titles = titles
        self._store = store
        self._inventory = inventory
        self._tokens = tokens
        self._run = run
        self._clock = clock
        self._admit = admit
        self.proofs: Proofs | None = None
        """Stands by where a server is to be proven dead."""

    async def submit(
        self,
        method: str,
        request: Message,
        principal: str,
        trace: Mapping[str, str],
        cause: Cause | None = None,
        check: Callable[[], None] | None = None,
    ) -> operations_pb2.Operation | bytes:
        """Plan the request, make the operation durable, and answer.

        Args:
            method: full name of the rpc.
            request: its request message.
            principal: who asks, as `user/admin`.
            trace: the trace context of the call.
            cause: what led to it, if it was not a person.
            check: refuses the request by raising; a repeated one is answered with its operation all the same.

        Raises:
            RequestError: the request is wrong, or the inventory does not allow it; nothing was changed.
            AlreadyExists: the request id belongs to another request.
        """
        kind = self._operations.get(method)
        if kind is None:
            raise Unsupported(f"there is no operation type for {method}")
        kept, request_id = _without_call_fields(request)
        try:
            if check is not None:
                check()
            return await self._plan_and_keep(kind, request, kept, request_id, principal, dict(trace), cause)
        except VirtyardError:
            # A repeated request must be answered with its operation, also where the first one made it impossible (P26).
            # Looked up only here and by the unique key at the insert: most submissions are new.
            known = await self._store.find_request(principal, request_id, kept) if request_id else None
            if known is None:
                raise
            return render_operation(known)

    async def _plan_and_keep(
        self,
        kind: OperationType,
        request: Message,
        kept: AnyMessage,
        request_id: str,
        principal: str,
        trace: dict[str, str],
        cause: Cause | None,
    ) -> operations_pb2.Operation | bytes:
        validate(request)
        options = cast(Any, request).options
        _check_options(options)
        check_deadline(options, self._clock.now())
        before = self._tokens()
        view, inventory_token = await self._inventory.view_with_token(list(kind.selections(request)))
        seed = uuid.uuid4()
        shape = Shape.of(kind.plan(request, view, Ids(seed)))
        check_blocks(kind.method, shape.plan, view)
        check_policy(options, shape.plan)
        record = record_pb2.OperationRecord(
            method=kind.method,
            title=self._titles.get(kind.method, ""),
            options=options,
            principal=principal,
            seed=seed.hex,
            state=operation_pb2.OPERATION_STATE_ACTIVE,
            epoch=1,
            origin=cause.origin if cause is not None else job_pb2.ORIGIN_PERSON,
            reason_trail=cause.trail if cause is not None else (),
            resume_tokens={**before, "inventory": inventory_token},
            trace_context=trace,
        )
        record.create_time.FromDatetime(self._clock.now())
        new_record(record, shape)
        operation = Operation(shape=shape, request=kept, record=record)
        self._admit(operation)
        dead = kind.proves_dead(request) if kind.proves_dead is not None and self.proofs is not None else ""
        note = await self.proofs.begin(dead) if dead and self.proofs is not None else None
        if cast(Any, request).validate_only:
            return _preview(operation, self.proofs.previews(dead) if dead and self.proofs is not None else ())
        also = _both(cause.also if cause is not None else None, note)
        known = await self._store.insert(operation, request_id, also=also, run=self._run)
        if known is not operation:
            return render_operation(known)
        # Serialised for its journal already.
        return operation.bodies[operation.name]


def _without_call_fields(request: Message) -> tuple[AnyMessage, str]:
    """Return the request without what belongs to the call and not to the change, and its request id."""
    kept = type(request)()
    kept.CopyFrom(request)
    request_id = str(cast(Any, request).request_id)
    for field in ("request_id", "validate_only"):
        kept.ClearField(field)
    return pack(kept), request_id


def _check_options(options: Any) -> None:
    if not _LOWEST_PRIORITY <= options.priority <= _HIGHEST_PRIORITY:
        raise InvalidRequest.of("options.priority", f"{options.priority} is not allowed; it must be -20 to 20")


def _both(first: Also | None, second: Also | None) -> Also | None:
    """Return what writes what both of these write in the operation's first commit."""
    if first is None or second is None:
        return first or second

    def write(transaction: Transaction, operation: Operation) -> None:
        first(transaction, operation)
        second(transaction, operation)

    return write


def _preview(
    operation: Operation, settlements: Sequence[operation_pb2.SettlementPreview] = ()
) -> operations_pb2.Operation:
    """Return a plan as a finished operation without a name, with what it would settle."""
    metadata = render_metadata(operation, with_plan=True)
    metadata.validate_only = True
    metadata.settlements.extend(settlements)
    metadata.ClearField("jobs")
    answer = operations_pb2.Operation(done=True, response=pack(Empty()))
    answer.metadata.Pack(metadata)
    return answer
