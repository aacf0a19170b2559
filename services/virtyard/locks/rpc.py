"""The lock service on the wire."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator
from contextlib import aclosing

from google.protobuf.message import Message

from virtyard.api.locks.v1 import lock_service_pb2 as pb
from virtyard.api.locks.v1 import owner_pb2
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.filters import compile_filter
from virtyard.locks import owner_wire, wire
from virtyard.locks.service import LocksService, refused
from virtyard.locks.session import Session
from virtyard.runtime import telemetry
from virtyard.runtime.batches import messages
from virtyard.runtime.entry import Frame
from virtyard.runtime.frame_bytes import with_body
from virtyard.runtime.rpc import Call
from virtyard.runtime.scope import TaskScope

__all__ = ["LocksRpc"]

_DEFAULT_PAGE = 100
_LARGEST_PAGE = 1000


class LocksRpc:
    """Serves LockService."""

    def __init__(self, service: LocksService) -> None:
        """Serve this lock service."""
        self._service = service

    async def Acquire(
        self, requests: AsyncIterator[pb.AcquireRequest], call: Call
    ) -> AsyncIterator[pb.AcquireResponse]:
        """Take sets from the stream and tell, in commit order, what becomes of them."""
        del call
        session = Session()
        async with TaskScope("locks.acquire") as scope:
            asking = scope.start(self._ask_all(session, requests))
            try:
                async with aclosing(session.reports()) as news:
                    async for reports in news:
                        yield pb.AcquireResponse(
                            reports=[wire.report_message(report) for report in reports],
                            resume_token=self._service.feed.token(),
                        )
            finally:
                asking.cancel()
                self._service.leave(session)

    async def _ask_all(self, session: Session, requests: AsyncIterator[pb.AcquireRequest]) -> None:
        async with session.asking():
            async for request in requests:
                self._service.note_uses([(use.owner, use.object, use.job) for use in request.uses])
                for message in request.sets:
                    try:
                        wanted = wire.lock_set(message)
                    except InvalidRequest as error:
                        session.tell(refused(message.owner, message.round, error))
                    else:
                        with telemetry.span("ask for locks", wanted.trace_context, owner=wanted.owner):
                            await self._service.ask(session, wanted)

    async def Reassert(self, request: pb.ReassertRequest, call: Call) -> pb.ReassertResponse:
        """Take what the scheduler says is open and held."""
        del call
        grants = await self._service.reassert([wire.lock_set(each) for each in request.sets], request.waiting)
        return pb.ReassertResponse(reports=[wire.report_message(grant) for grant in grants])

    async def Release(self, request: pb.ReleaseRequest, call: Call) -> pb.ReleaseResponse:
        """Release owners, or parts of what they hold."""
        del call
        await self._service.release([wire.release(message) for message in request.owners])
        self._service.settle_below(request.settled_below)
        return pb.ReleaseResponse()

    async def SetPriority(self, request: owner_pb2.SetPriorityRequest, call: Call) -> owner_pb2.SetPriorityResponse:
        """Give a waiting owner another priority."""
        del call
        await self._service.set_priority(owner_wire.rerank(request))
        return owner_pb2.SetPriorityResponse()

    async def ExplainOwner(self, request: owner_pb2.ExplainOwnerRequest, call: Call) -> owner_pb2.ExplainOwnerResponse:
        """Explain what an owner waits for."""
        del call
        return owner_wire.story_message(await self._service.explain_owner(owner_wire.owner_of(request)))

    async def ListLocks(self, request: pb.ListLocksRequest, call: Call) -> pb.ListLocksResponse:
        """List locks."""
        del call
        if not 0 <= request.page_size <= _LARGEST_PAGE:
            raise InvalidRequest.of("page_size", f"{request.page_size} is not allowed; 0 to {_LARGEST_PAGE} is")
        passes = compile_filter(request.filter, pb.Lock.DESCRIPTOR)
        page = await self._service.page(
            _place_of(request.page_token), request.page_size or _DEFAULT_PAGE, lambda view: passes(wire.lock(view))
        )
        return pb.ListLocksResponse(
            locks=[wire.lock(view) for view in page.locks],
            next_page_token=base64.urlsafe_b64encode(page.next.encode()).decode(),
            watch_token=page.token,
        )

    async def WatchLocks(self, request: pb.WatchLocksRequest, call: Call) -> AsyncIterator[bytes]:
        """Watch locks."""
        del call
        passes = compile_filter(request.filter, pb.Lock.DESCRIPTOR)

        def matches(topic: str, key: str, body: bytes) -> bool:
            del topic, key
            return passes(pb.Lock.FromString(body))

        batches = self._service.watch(request.options, matches if request.filter.strip() else None)
        async for message in messages(batches, _encode, pb.WatchLocksResponse.DESCRIPTOR, request.options):
            yield message


def _encode(frame: Frame) -> bytes:
    head: Message = pb.WatchLocksResponse(kind=frame.kind, resume_token=frame.token, name=frame.key)
    return with_body(head, pb.WatchLocksResponse.LOCK_FIELD_NUMBER, frame.body)


def _place_of(page_token: str) -> str:
    try:
        return base64.b64decode(page_token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest.of("page_token", "must be the next_page_token of a page, as it was received") from error
