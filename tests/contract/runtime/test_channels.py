# ruff: noqa: N802 - an implementation's methods are named like the rpcs
"""One suite for both ways to call: what the wire does to a call, the local channel does too (P30)."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable

import grpc
import pytest

from tests.contract.runtime.conftest import Connect
from virtyard.api.locks.v1.lock_service_pb2 import (
    AcquireRequest,
    AcquireResponse,
    ListLocksRequest,
    ListLocksResponse,
    ReleaseRequest,
    ReleaseResponse,
    WatchLocksRequest,
    WatchLocksResponse,
)
from virtyard.api.locks.v1.lock_service_pb2_grpc import LockServiceStub
from virtyard.kernel import errors
from virtyard.kernel.errors import FieldViolation, LockHolder, VirtyardError
from virtyard.runtime.call import MAX_MESSAGE_BYTES
from virtyard.runtime.rpc import Call
from virtyard.runtime.status import errors_named


def leaves(kind: type[VirtyardError]) -> list[type[VirtyardError]]:
    """Return the errors that are raised: the leaves of the tree."""
    below = kind.__subclasses__()
    return [leaf for one in below for leaf in leaves(one)] if below else [kind]


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds, at most two seconds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def drain(stream: AsyncIterable[WatchLocksResponse], got: list[str] | None = None) -> None:
    """Read a stream to its end, keeping the tokens."""
    async for message in stream:
        if got is not None:
            got.append(message.resume_token)


async def number(stream: grpc.aio.UnaryStreamCall[WatchLocksRequest, WatchLocksResponse]) -> int:
    """Read one message and return its number."""
    message = await stream.read()
    assert isinstance(message, WatchLocksResponse)
    return int(message.resume_token)


class Locks:
    """An implementation whose behaviour each test sets."""

    def __init__(self) -> None:
        """Behave well."""
        self.calls: list[Call] = []
        self.requests: list[ListLocksRequest] = []
        self.error: BaseException | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self.written = 0
        self.left = asyncio.Event()
        self.seen_by_callee = ""

    async def ListLocks(self, request: ListLocksRequest, call: Call) -> ListLocksResponse:
        """Read: answer after the gate has opened."""
        self.calls.append(call)
        self.requests.append(request)
        self.seen_by_callee = _leak.get()
        self.entered.set()
        try:
            await self.gate.wait()
        finally:
            self.left.set()
        if self.error is not None:
            raise self.error
        answer = ListLocksResponse(next_page_token=request.filter)
        request.filter = "changed by the callee"
        return answer

    async def Release(self, request: ReleaseRequest, call: Call) -> ReleaseResponse:
        """Change something after the gate has opened."""
        self.entered.set()
        await self.gate.wait()
        self.written += 1
        return ReleaseResponse()

    async def WatchLocks(self, request: WatchLocksRequest, call: Call) -> AsyncIterator[WatchLocksResponse | bytes]:
        """Stream without end; `filter` says what."""
        try:
            if request.filter == "bytes":
                yield WatchLocksResponse(resume_token="ready").SerializeToString()
                return
            if request.filter == "silent":
                self.entered.set()
                await asyncio.Event().wait()
            while self.written < 100_000:
                yield WatchLocksResponse(resume_token=str(self.written).zfill(1000))
                self.written += 1
                await asyncio.sleep(0)
                if self.error is not None and self.written == 3:
                    raise self.error
        finally:
            self.left.set()

    async def Acquire(self, requests: AsyncIterator[AcquireRequest], call: Call) -> AsyncIterator[AcquireResponse]:
        """Answer each request with as many reports as it has sets."""
        try:
            async for request in requests:
                yield AcquireResponse(reports=[AcquireResponse().reports.add() for _ in request.sets])
        finally:
            self.left.set()


_leak: contextvars.ContextVar[str] = contextvars.ContextVar("leak", default="nothing")


@pytest.fixture
async def locks() -> Locks:
    """Return the implementation."""
    return Locks()


async def stub_of(connect: Connect, implementation: object, identity: str = "user/ann", *roles: str) -> LockServiceStub:
    """Return a stub; an operator's if no role is given."""
    return LockServiceStub(await connect(implementation, identity, *(roles or ("operator",))))


async def test_call_carries_principal_deadline_and_metadata(connect: Connect, locks: Locks) -> None:
    """The implementation learns who calls, until when, and what came along."""
    stub = await stub_of(connect, locks)
    answer = await stub.ListLocks(ListLocksRequest(filter="x"), timeout=5, metadata=(("note", "hello"),))
    assert answer.next_page_token == "x"
    call = locks.calls[0]
    assert call.principal.identity == "user/ann"
    assert call.metadata["note"] == "hello"
    remaining = call.remaining()
    assert remaining is not None
    assert 3 < remaining <= 5


async def test_deadline_ends_the_wait(connect: Connect, locks: Locks) -> None:
    """A call that is not answered in time ends with DEADLINE_EXCEEDED, and a read is given up by the callee."""
    stub = await stub_of(connect, locks)
    locks.gate.clear()
    begun = time.monotonic()
    with pytest.raises(errors.DeadlineExceeded), errors_named():
        await stub.ListLocks(ListLocksRequest(), timeout=0.1)
    assert time.monotonic() - begun < 10
    await asyncio.wait_for(locks.left.wait(), 10)


async def test_deadline_ends_a_stream(connect: Connect, locks: Locks) -> None:
    """A stream ends at its deadline, and its generator is closed."""
    stub = await stub_of(connect, locks)
    with pytest.raises(errors.DeadlineExceeded), errors_named():
        async for _ in stub.WatchLocks(WatchLocksRequest(filter="silent"), timeout=0.1):
            pass
    await asyncio.wait_for(locks.left.wait(), 10)


@pytest.mark.parametrize(
    ("identity", "role", "reads", "changes"),
    [
        ("user/ann", "viewer", True, False),
        ("user/ann", "operator", True, False),
        ("user/ann", "administrator", True, False),
        ("service/jobs", "", True, True),
        ("agent/s1", "", False, False),
        ("user/nobody", "", False, False),
    ],
)
async def test_permission_is_checked(
    connect: Connect, locks: Locks, identity: str, role: str, reads: bool, changes: bool
) -> None:
    """ListLocks and WatchLocks need a viewer, Release and Acquire a service; nobody else is let in."""
    stub = LockServiceStub(await connect(locks, identity, *([role] if role else [])))

    async def allowed(call: Callable[[], object]) -> bool:
        for _ in range(10):
            try:
                with errors_named():
                    await call()  # type: ignore[misc]  # the stubs' calls are awaitables of many types
            except errors.PermissionDenied:
                return False
            except errors.Unavailable:
                continue  # refused before the request was sent: which status arrives is a race inside gRPC
            return True
        raise AssertionError("it never answered")

    assert await allowed(lambda: stub.ListLocks(ListLocksRequest(), timeout=5)) is reads
    assert await allowed(lambda: stub.WatchLocks(WatchLocksRequest(filter="bytes"), timeout=5).read()) is reads
    assert await allowed(lambda: stub.Release(ReleaseRequest(), timeout=5)) is changes
    assert await allowed(lambda: stub.Acquire(iter([AcquireRequest()]), timeout=5).read()) is changes


@pytest.mark.parametrize("kind", leaves(VirtyardError), ids=lambda kind: kind.reason)
async def test_error_arrives_whole(connect: Connect, locks: Locks, kind: type[VirtyardError]) -> None:
    """Every error of the tree arrives as the same class with the same details."""
    locks.error = kind(
        "a sentence, with ümlaut",
        resource="servers/a",
        violations=[FieldViolation(field="disks[1].size_bytes", description="must be positive")],
        metadata={"one": "1", "two": "zwei"},
        retry_after=1.25,
        locks=[LockHolder(object="servers/a", holder="operations/7", purpose="Create Cluster")],
    )
    stub = await stub_of(connect, locks)
    with pytest.raises(kind) as arrived, errors_named():
        await stub.ListLocks(ListLocksRequest(), timeout=5)
    sent, got = locks.error, arrived.value
    for name in ("message", "resource", "violations", "metadata", "retry_after", "locks"):
        assert getattr(got, name) == getattr(sent, name), name


async def test_unexpected_exception_is_an_internal_error_with_a_reference(
    connect: Connect, locks: Locks, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody foresaw is told as INTERNAL with a reference, and only the log says what it was."""
    locks.error = ZeroDivisionError("secret detail")
    stub = await stub_of(connect, locks)
    with caplog.at_level(logging.ERROR), pytest.raises(errors.InternalError) as arrived, errors_named():
        await stub.ListLocks(ListLocksRequest(), timeout=5)
    reference = arrived.value.metadata["reference"]
    assert "secret" not in arrived.value.message
    assert any(reference in record.getMessage() and record.exc_info for record in caplog.records)


@pytest.mark.parametrize("call", ["answer", "stream"])
async def test_a_callee_that_is_cancelled_alone_leaves_nobody_waiting(
    connect: Connect, locks: Locks, call: str
) -> None:
    """A cancellation inside the callee, of which its caller knows nothing, is told as UNAVAILABLE."""
    locks.error = asyncio.CancelledError()
    stub = await stub_of(connect, locks)
    asked = _list(stub, timeout=None) if call == "answer" else drain(stub.WatchLocks(WatchLocksRequest()))
    with pytest.raises(errors.Unavailable), errors_named():
        await asyncio.wait_for(asked, 20)


async def test_leaving_a_mutation_does_not_cancel_it(connect: Connect, locks: Locks) -> None:
    """Who cancels a mutation in flight only stops waiting; what follows its commit is done all the same (P30)."""
    stub = await stub_of(connect, locks, "service/jobs")
    locks.gate.clear()
    waiting = asyncio.ensure_future(_release(stub))
    await asyncio.wait_for(locks.entered.wait(), 2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    locks.gate.set()
    await eventually(lambda: locks.written == 1)


async def _release(stub: LockServiceStub, timeout: float = 5) -> None:
    await stub.Release(ReleaseRequest(), timeout=timeout)


async def test_deadline_of_a_mutation_does_not_cancel_it(connect: Connect, locks: Locks) -> None:
    """A mutation whose caller's deadline has passed is finished too."""
    stub = await stub_of(connect, locks, "service/jobs")
    locks.gate.clear()
    with pytest.raises(errors.DeadlineExceeded), errors_named():
        await _release(stub, timeout=0.1)
    locks.gate.set()
    await eventually(lambda: locks.written == 1)


async def test_leaving_a_read_cancels_it(connect: Connect, locks: Locks) -> None:
    """A read whose caller has left is given up."""
    stub = await stub_of(connect, locks)
    locks.gate.clear()
    waiting = asyncio.ensure_future(_list(stub))
    await asyncio.wait_for(locks.entered.wait(), 2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(locks.left.wait(), 10)


async def _list(stub: LockServiceStub, timeout: float | None = 5) -> None:
    await stub.ListLocks(ListLocksRequest(), timeout=timeout)


async def test_call_object_can_be_cancelled(connect: Connect, locks: Locks) -> None:
    """`cancel()` of a unary call and of a stream make their waiters raise CancelledError, and close the callee."""
    stub = await stub_of(connect, locks)
    locks.gate.clear()
    call = stub.ListLocks(ListLocksRequest(), timeout=5)
    await asyncio.wait_for(locks.entered.wait(), 2)
    assert call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert call.cancelled()
    assert await call.code() is grpc.StatusCode.CANCELLED
    await asyncio.wait_for(locks.left.wait(), 10)
    locks.left.clear()
    stream = stub.WatchLocks(WatchLocksRequest())
    frames = aiter(stream)
    await anext(frames)
    stream.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drain(frames)
    await asyncio.wait_for(locks.left.wait(), 10)


async def test_stream_of_a_stalled_reader_is_bounded(connect: Connect, locks: Locks) -> None:
    """A reader that takes one message and stops lets the callee write a bounded number, and loses none of them."""
    stub = await stub_of(connect, locks)
    stream = stub.WatchLocks(WatchLocksRequest(), timeout=20)
    first = await number(stream)
    before = -1
    while before != locks.written:
        before = locks.written
        await asyncio.sleep(0.05)
    assert locks.written < 1000
    numbers = [first, *[await number(stream) for _ in range(2000)]]
    assert numbers == list(range(2001))
    stream.cancel()
    await asyncio.wait_for(locks.left.wait(), 10)


async def test_error_comes_behind_the_messages_before_it(connect: Connect, locks: Locks) -> None:
    """A stream that fails shows first what it had sent."""
    locks.error = errors.Unavailable("gone", retry_after=2.0)
    stub = await stub_of(connect, locks)
    got: list[str] = []
    with pytest.raises(errors.Unavailable) as arrived, errors_named():
        await drain(stub.WatchLocks(WatchLocksRequest(), timeout=5), got)
    assert [int(number) for number in got] == [0, 1, 2]
    assert arrived.value.retry_after == 2.0


async def test_messages_are_never_shared(connect: Connect, locks: Locks) -> None:
    """Neither side sees what the other does to a message after it was sent."""
    stub = await stub_of(connect, locks)
    request = ListLocksRequest(filter="mine")
    locks.gate.clear()
    call = stub.ListLocks(request, timeout=5)
    await asyncio.wait_for(locks.entered.wait(), 2)
    request.filter = "changed by the caller"
    locks.gate.set()
    assert (await call).next_page_token == "mine"
    assert locks.requests[0] is not request
    assert request.filter == "changed by the caller"


async def test_context_variables_do_not_leak(connect: Connect, locks: Locks) -> None:
    """The callee sees nothing of the caller's context."""
    stub = await stub_of(connect, locks)
    token = _leak.set("leaked")
    await stub.ListLocks(ListLocksRequest(), timeout=5)
    _leak.reset(token)
    assert locks.seen_by_callee == "nothing"


async def test_ready_bytes_pass_unchanged(connect: Connect, locks: Locks) -> None:
    """A stream may yield bytes that were serialised once for everybody."""
    stub = await stub_of(connect, locks)
    got = [message async for message in stub.WatchLocks(WatchLocksRequest(filter="bytes"), timeout=5)]
    assert got == [WatchLocksResponse(resume_token="ready")]


async def test_conversation_by_iterator_and_by_hand(connect: Connect, locks: Locks) -> None:
    """A stream of requests may come from an iterator, plain or asynchronous, or be written one by one."""
    stub = await stub_of(connect, locks, "service/jobs")
    requests = [AcquireRequest(sets=[AcquireRequest().sets.add() for _ in range(n)]) for n in (1, 2, 0)]

    async def later() -> AsyncIterator[AcquireRequest]:
        for request in requests:
            yield request

    for source in (iter(requests), later()):
        assert [len(answer.reports) async for answer in stub.Acquire(source, timeout=5)] == [1, 2, 0]
    call = stub.Acquire(timeout=5)
    for request in requests:
        await call.write(request)
        answer = await call.read()
        assert isinstance(answer, AcquireResponse)
        assert len(answer.reports) == len(request.sets)
    await call.done_writing()
    assert await call.read() == grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_leaving_a_conversation_closes_the_callee(connect: Connect, locks: Locks) -> None:
    """When the caller cancels, the callee's generator is closed."""
    stub = await stub_of(connect, locks, "service/jobs")
    call = stub.Acquire()
    await call.write(AcquireRequest())
    await call.read()
    call.cancel()
    await asyncio.wait_for(locks.left.wait(), 10)


async def test_unknown_fields_are_refused_with_their_path(connect: Connect, locks: Locks) -> None:
    """What this release does not know is refused and named, at any depth, in unary calls and in streams."""
    stub = await stub_of(connect, locks, "service/jobs")
    strange = b"\x98\x3f\x01"
    request = ListLocksRequest.FromString(ListLocksRequest(filter="x").SerializeToString() + strange)
    with pytest.raises(errors.InvalidRequest) as arrived, errors_named():
        await stub.ListLocks(request, timeout=5)
    assert [violation.field for violation in arrived.value.violations] == ["#1011"]
    nested = AcquireRequest.FromString(b"\x0a\x03" + strange)
    with pytest.raises(errors.InvalidRequest) as arrived, errors_named():
        await stub.Acquire(iter([nested]), timeout=5).read()
    assert [violation.field for violation in arrived.value.violations] == ["sets[0].#1011"]


async def test_method_that_is_not_served_is_unsupported(connect: Connect) -> None:
    """An implementation without a method answers UNSUPPORTED, unary and streaming."""
    stub = await stub_of(connect, object(), "service/jobs")
    with pytest.raises(errors.Unsupported), errors_named():
        await stub.Release(ReleaseRequest(), timeout=5)
    with pytest.raises(errors.Unsupported), errors_named():
        await stub.WatchLocks(WatchLocksRequest(), timeout=5).read()


async def test_handle_serves_what_has_no_method_of_its_own(connect: Connect) -> None:
    """One `handle` serves all unary methods of a service, told apart by their descriptors."""

    class Generic:
        """Answers with the method's name."""

        async def handle(self, method: object, request: object, call: Call) -> ListLocksResponse:
            """Answer."""
            return ListLocksResponse(next_page_token=getattr(method, "name", ""))

    stub = await stub_of(connect, Generic())
    assert (await stub.ListLocks(ListLocksRequest(), timeout=5)).next_page_token == "ListLocks"


async def test_gateway_speaks_for_people_and_nobody_else_does(connect: Connect, locks: Locks) -> None:
    """The person whom the gateway has signed in is the caller; the same claim of another service is refused."""
    claim = (("virtyard-user", "ann"), ("virtyard-roles", "viewer,nonsense"))
    stub = await stub_of(connect, locks, "service/gateway")
    await stub.ListLocks(ListLocksRequest(), timeout=5, metadata=claim)
    assert locks.calls[0].principal.identity == "user/ann"
    with pytest.raises(errors.PermissionDenied), errors_named():
        await stub.Release(ReleaseRequest(), timeout=5, metadata=claim)


async def test_only_the_gateway_speaks_for_people(connect: Connect, locks: Locks) -> None:
    """Another service that claims to speak for an administrator is refused."""
    stub = await stub_of(connect, locks, "service/jobs")
    claim = (("virtyard-user", "ann"), ("virtyard-roles", "administrator"))
    with pytest.raises(errors.PermissionDenied), errors_named():
        await stub.ListLocks(ListLocksRequest(), timeout=5, metadata=claim)


async def test_message_that_is_too_large_is_refused(connect: Connect, locks: Locks) -> None:
    """A request above the limit is RESOURCE_EXHAUSTED and does not reach the implementation."""
    stub = await stub_of(connect, locks)
    with pytest.raises(errors.CapacityExhausted), errors_named():
        await stub.ListLocks(ListLocksRequest(filter="x" * (MAX_MESSAGE_BYTES + 1)), timeout=5)
    assert locks.requests == []
