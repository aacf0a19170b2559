"""A lock service and its client as histories use them: each call is made again until it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
import grpc.aio

from tests.integration.locks.lock_server import LockServer
from virtyard.api.locks.v1 import lock_service_pb2 as pb
from virtyard.api.locks.v1 import owner_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard.kernel.errors import RetryError, VirtyardError
from virtyard.kernel.lock_modes import LockMode
from virtyard.locks import wire
from virtyard.locks.model import LockSet, LockView, QueuePlace, Release, Report
from virtyard.runtime.status import named

__all__ = ["Stream", "World", "last_word"]

T = TypeVar("T")
PATIENCE = 60.0
"""Seconds after which an answer counts as never coming."""

Stream = Any
"""The call of one Acquire."""


class World:
    """A lock service and the loop that its client lives on; histories follow each other on it."""

    def __init__(self, server: LockServer) -> None:
        """Start the service."""
        self.server = server
        self.histories = 0
        self.steps = 0
        self.highest = 0
        self.broken: list[str] = []
        self._runner = asyncio.Runner()
        self.run(server.start())

    def run(self, work: Awaitable[T]) -> T:
        """Let the loop run until this is done."""

        async def within_patience() -> T:
            async with asyncio.timeout(PATIENCE):
                return await work

        return self._runner.run(within_patience())

    def close(self) -> None:
        """End the service and the loop."""
        self.run(self.server.close())
        self._runner.close()

    def check(self, name: str, holds: bool, detail: object = "") -> None:
        """Note that a property is broken, and fail."""
        if not holds:
            self.broken.append(name)
            raise AssertionError(f"{name}: {str(detail)[:1000]}")

    def answered(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call again until it is answered, and bring back a service that died.

        Raises:
            VirtyardError: the refusal.
        """
        refusal: VirtyardError | None = None
        for _ in range(5):
            try:
                return self.run(call())
            except grpc.RpcError as error:
                refusal = named(error)
                if not isinstance(refusal, RetryError):
                    raise refusal from error
            self.run(self.server.revive())
        raise AssertionError(f"the service never answers: {refusal}")

    def ask(self, wanted: LockSet) -> tuple[Stream, Report]:
        """Ask for a set on a stream of its own, and return what was told first: that is the answer to this."""

        async def ask() -> tuple[Stream, Report]:
            stream = self.server.stub.Acquire()
            await stream.write(pb.AcquireRequest(sets=[wire.lock_set_message(wanted)]))
            return stream, await hear(stream)

        return self.answered(ask)

    def release(self, releases: list[Release]) -> str:
        """Release; return the reason of the refusal, or nothing."""
        request = pb.ReleaseRequest(owners=[wire.release_message(each) for each in releases])

        async def release() -> None:
            await self.server.stub.Release(request)

        return self.refusal_of(release)

    def refusal_of(self, call: Callable[[], Awaitable[object]]) -> str:
        """Make a call again until it is answered; return the reason of the refusal, or nothing."""
        try:
            self.answered(call)
        except VirtyardError as refusal:
            return refusal.reason
        return ""

    def set_priority(self, owner: str, epoch: int, priority: int) -> str:
        """Give an owner another priority; return the reason of the refusal, or nothing."""
        request = owner_pb2.SetPriorityRequest(owner=owner, epoch=epoch, priority=priority)

        async def rerank() -> None:
            await self.server.stub.SetPriority(request)

        return self.refusal_of(rerank)

    def reassert(self, holds: list[LockSet], waiting: list[str]) -> tuple[str, list[Report]]:
        """Say what is held and waited for; return the reason of the refusal, or nothing, and what is held then."""
        request = pb.ReassertRequest(sets=[wire.lock_set_message(each) for each in holds], waiting=waiting)
        found: list[Report] = []

        async def reassert() -> None:
            answer = await self.server.stub.Reassert(request)
            found[:] = [wire.report(report) for report in answer.reports]

        return self.refusal_of(reassert), found

    def locks(self) -> tuple[list[LockView], str]:
        """Return all locks, with the resume token of that moment."""

        async def look() -> tuple[list[LockView], str]:
            page = await self.server.stub.ListLocks(pb.ListLocksRequest(page_size=1000))
            assert not page.next_page_token
            return [wire.lock_view(lock) for lock in page.locks], page.watch_token

        return self.answered(look)

    def replayed(self, since: str, until: str) -> dict[str, tuple[LockMode, int]]:
        """Return the locks, with mode and token, that the news between two resume tokens leave of nothing."""

        async def replay() -> dict[str, tuple[LockMode, int]]:
            state: dict[str, tuple[LockMode, int]] = {}
            token = since
            options = watch_pb2.WatchOptions(resume_token=since)
            watch: Any = self.server.stub.WatchLocks(pb.WatchLocksRequest(options=options))
            while token != until:
                frame = await watch.read()
                token = frame.resume_token
                if frame.kind == watch_pb2.FRAME_KIND_REMOVED:
                    state.pop(frame.name, None)
                elif frame.kind == watch_pb2.FRAME_KIND_CHANGED:
                    state[frame.name] = (LockMode(frame.lock.mode), frame.lock.fencing_token)
                else:
                    assert frame.kind in (watch_pb2.FRAME_KIND_KEEPALIVE, watch_pb2.FRAME_KIND_BOOKMARK), frame
            watch.cancel()
            return state

        return self.answered(replay)


async def hear(stream: Stream) -> Report:
    """Return the next report of a stream that asked for one set.

    Raises:
        grpc.RpcError: the stream broke.
    """
    response = await stream.read()
    if response is grpc.aio.EOF:
        raise AssertionError(f"the stream ended without a last word: {await stream.code()}")
    [report] = response.reports
    return wire.report(report)


async def last_word(stream: Stream) -> Report:
    """Return the report after which there are no more, whatever places come before it."""
    while isinstance(report := await hear(stream), QueuePlace):
        pass
    return report
