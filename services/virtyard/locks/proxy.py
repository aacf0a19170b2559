"""The lock service as its clients see it: one long-lived stream for all owners, near or far.

What waits to be asked goes in one message, what waits to be released in one call. A broken stream loses nothing: all
that is still unanswered is asked for again, and keeps its rank and its tokens (R6).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import grpc.aio
from google.rpc import error_details_pb2, status_pb2

from virtyard.api.locks.v1 import lock_service_pb2 as pb
from virtyard.api.locks.v1 import owner_pb2
from virtyard.api.locks.v1.lock_service_pb2_grpc import LockServiceStub
from virtyard.kernel.errors import RetryError, StopError, Superseded, Unavailable, VirtyardError
from virtyard.locks import wire
from virtyard.locks.model import Grant, LockSet, LockView, QueuePlace, Refusal, Release, Report, Rerank
from virtyard.runtime.scope import TaskScope
from virtyard.runtime.status import DOMAIN, answered, errors_named, from_status, named, peer_cancels_named

__all__ = ["LocksProxy"]

_log = logging.getLogger(__name__)
_MOST_SETS = 256
_PAGE = 1000
_USE_SHOWN_AFTER = 1.0
"""Seconds after which it is told which job uses a lock."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Ask:
    """A set that somebody waits for."""

    wanted: LockSet
    on_place: Callable[[QueuePlace], None] | None
    answer: asyncio.Future[Grant]


@dataclass(slots=True, kw_only=True, eq=False)
class _Return:
    """Releases that somebody waits for."""

    messages: list[pb.OwnerRelease]
    answer: asyncio.Future[None]


@dataclass(slots=True, eq=False)
class _Line:
    """What is to be sent on one stream."""

    unsent: dict[str, None] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    over: bool = False
    """Whether the stream is gone."""

    def send(self, owner: str) -> None:
        """Have the owner's set sent with whatever else is waiting."""
        self.unsent[owner] = None
        self.wake.set()

    def end(self) -> None:
        """Have nothing more sent: a call that broke leaves its requests waiting for ever, if they do not end."""
        self.over = True
        self.wake.set()


class LocksProxy:
    """Asks for locks and gives them back; use it as a context manager."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        first_pause: float = 0.05,
        longest_pause: float = 2.0,
        release_timeout: float = 10.0,
    ) -> None:
        """Talk to the lock service over this channel.

        Args:
            channel: a channel to the lock service.
            first_pause: seconds to wait after a stream broke before the next; doubles up to `longest_pause`.
            longest_pause: seconds.
            release_timeout: seconds after which a release that is not answered is reported as of unknown outcome.
        """
        self._stub = LockServiceStub(channel)
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._release_timeout = release_timeout
        self._scope = TaskScope("locks.proxy")
        self._asks: dict[str, _Ask] = {}
        self._line = _Line()
        self._uses: dict[tuple[str, str], str] = {}
        self._told_uses: dict[tuple[str, str], str] = {}
        self._uses_due: asyncio.TimerHandle | None = None
        self._returns: list[_Return] = []
        self._give_back = asyncio.Event()
        self.token = ""
        """A resume token of the locks' feed, the last that was heard of: what is changed from now on comes after it."""
        self._refused: dict[str, VirtyardError] = {}
        self.settled_below: Callable[[], int] = lambda: 0
        """Gives the number of the lowest open operation, which goes with every release (P18)."""

    async def __aenter__(self) -> Self:
        """Begin to talk."""
        self._tasks = [
            self._scope.start(self._talk(), name="ask"),
            self._scope.start(self._release_all(), name="release"),
            self._scope.start(self._learn_token(), name="token"),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop talking; what was asked for stays queued and held."""
        await self._scope.close()
        if self._uses_due is not None:
            self._uses_due.cancel()
        closed = Unavailable("the proxy of the lock service is closed", retry_after=1.0)
        for ask in self._asks.values():
            _refuse(ask.answer, closed)
        for one in self._returns:
            _refuse(one.answer, closed)

    async def acquire(self, wanted: LockSet, on_place: Callable[[QueuePlace], None] | None = None) -> Grant:
        """Wait until the whole set is held; the same set again gets the same tokens.

        Leaving early, by cancellation, gives nothing up: the owner stays queued until it is released.

        Args:
            wanted: the set.
            on_place: is told the place in the queue, at once if the set must wait and whenever it changes.

        Raises:
            OwnerClosed: the owner was released for ever.
            StaleEpoch: another scheduler speaks for the owner.
            Superseded: another set was asked for, for this owner.
            PayloadMismatch: another set was asked for in the same round.
            InvalidRequest: the set is not well formed.
        """
        answer: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        ask = _Ask(wanted=wanted, on_place=on_place, answer=answer)
        before = self._asks.get(wanted.owner)
        if before is not None:
            _refuse(before.answer, Superseded(f"{wanted.owner} is asked for anew", resource=wanted.owner))
        self._asks[wanted.owner] = ask
        self._line.send(wanted.owner)
        try:
            return await answer
        finally:
            if self._asks.get(wanted.owner) is ask:
                del self._asks[wanted.owner]
                self._refused.pop(wanted.owner, None)

    def refusal_of(self, owner: str) -> VirtyardError | None:
        """Return what the lock service, which is there, has said instead of answering for an owner, who asks again."""
        return self._refused.get(owner)

    def note_uses(self, owner: str, jobs: Mapping[str, str]) -> None:
        """Tell, soon, which jobs use which objects of an owner now; it may be lost with the stream."""
        self._uses.update({(owner, name): job for name, job in jobs.items()})
        if self._uses_due is None:
            # Whoever is done sooner is not told of: nobody could have seen it, and it would cost a message.
            self._uses_due = asyncio.get_running_loop().call_later(_USE_SHOWN_AFTER, self._tell_uses)

    def _tell_uses(self) -> None:
        self._uses_due = None
        self._told_uses.update(self._uses)
        self._uses.clear()
        if self._told_uses:
            self._line.wake.set()

    def _forget_uses(self, owners: Collection[str]) -> None:
        for uses in (self._uses, self._told_uses):
            for key in [key for key in uses if key[0] in owners]:
                del uses[key]

    async def release(self, releases: Sequence[Release | pb.OwnerRelease]) -> None:
        """Give back what these owners hold and wait for, for ever, or the part that they do not keep.

        Raises:
            Unavailable: the outcome is unknown; releasing again is safe.
            VirtyardError: the first refusal; all the other releases were carried out.
        """
        if not releases:
            return
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        messages = [wire.release_message(one) if isinstance(one, Release) else one for one in releases]
        self._forget_uses({message.owner for message in messages if not message.keep})
        self._returns.append(_Return(messages=messages, answer=answer))
        self._give_back.set()
        await answer

    async def set_priority(self, wanted: Rerank) -> None:
        """Give a waiting owner another priority; one that holds its set is not affected.

        Raises:
            NotFound: the owner has asked for nothing yet.
            OwnerClosed: the owner was released for ever.
            StaleEpoch: another scheduler speaks for the owner.
            Unavailable: the outcome is unknown; asking again is safe.
        """
        request = owner_pb2.SetPriorityRequest(owner=wanted.owner, epoch=wanted.epoch, priority=wanted.priority)
        with errors_named():
            await self._stub.SetPriority(request, timeout=self._release_timeout)

    async def explain(self, owner: str) -> owner_pb2.ExplainOwnerResponse:
        """Return what an owner waits for, and the same of everybody who is in its way.

        Raises:
            NotFound: the owner has asked for nothing, or was closed.
            Unavailable: the lock service cannot be reached.
        """
        with errors_named():
            return await self._stub.ExplainOwner(
                owner_pb2.ExplainOwnerRequest(owner=owner), timeout=self._release_timeout
            )

    async def locks(self, filter: str = "") -> list[LockView]:  # noqa: A002 - the rpc's word
        """Return the locks that match an AIP-160 filter, by object, holders first."""
        found: list[LockView] = []
        page_token = ""
        while True:
            request = pb.ListLocksRequest(page_size=_PAGE, page_token=page_token, filter=filter)
            with errors_named():
                page = await self._stub.ListLocks(request, timeout=self._release_timeout)
            found += [wire.lock_view(message) for message in page.locks]
            page_token = page.next_page_token
            if not page_token:
                return found

    async def _learn_token(self) -> None:
        """Ask for a first token, however long the lock service is away; every answer brings a newer one."""
        pause = self._first_pause
        while not self.token:
            try:
                page = await self._stub.ListLocks(pb.ListLocksRequest(page_size=1), timeout=self._release_timeout)
                self.token = page.watch_token
            except grpc.RpcError as error:
                _log.debug("the lock service gives no token yet: %s", named(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, self._longest_pause)

    async def _talk(self) -> None:
        """Keep a stream open while there is something to ask, and for as long as it lasts."""
        pause = self._first_pause
        while True:
            await self._line.wake.wait()
            line = self._line
            call = self._stub.Acquire(_requests(line, self._asks, self._told_uses))
            try:
                with peer_cancels_named():
                    async for response in call:
                        pause = self._first_pause
                        self.token = response.resume_token or self.token
                        for message in response.reports:
                            self._take(wire.report(message))
            except grpc.aio.AioRpcError as error:
                if (told := answered(error)) is not None:
                    self._refused = dict.fromkeys(self._asks, told)
                self._broke(named(error))
            except Unavailable as error:
                self._broke(error)
            finally:
                call.cancel()
                line.end()
            self._line = _Line()
            for owner in self._asks:
                self._line.send(owner)
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._longest_pause)

    def _broke(self, error: VirtyardError) -> None:
        """Go on after what passes; give up on what does not, for it would come again."""
        _log.info("the stream of the lock service broke: %s", error)
        if isinstance(error, RetryError | StopError):
            return
        for ask in tuple(self._asks.values()):
            _refuse(ask.answer, error)
        self._asks.clear()

    def _take(self, report: Report) -> None:
        ask = self._asks.get(report.owner)
        if ask is None or report.round != ask.wanted.round:
            return
        self._refused.pop(report.owner, None)
        match report:
            case QueuePlace():
                if ask.on_place is not None:
                    ask.on_place(report)
            case Grant():
                if not ask.answer.done():
                    ask.answer.set_result(report)
            case Refusal():
                _refuse(ask.answer, _error_of(report))

    async def _release_all(self) -> None:
        """Send what is to be released, everything that waits in one call."""
        while True:
            await self._give_back.wait()
            self._give_back.clear()
            due, self._returns = self._returns, []
            error = await self._release(due)
            if error is not None and not isinstance(error, RetryError) and len(due) > 1:
                # One of them is refused: each asks by itself, so that only that one is told.
                for one in due:
                    _settle(one.answer, await self._release([one]))
                continue
            for one in due:
                _settle(one.answer, error)

    async def _release(self, due: Sequence[_Return]) -> VirtyardError | None:
        request = pb.ReleaseRequest(
            owners=[message for one in due for message in one.messages], settled_below=self.settled_below()
        )
        try:
            await self._stub.Release(request, timeout=self._release_timeout, wait_for_ready=True)
        except grpc.RpcError as error:
            return named(error)
        return None


async def _requests(
    line: _Line, asks: dict[str, _Ask], uses: dict[tuple[str, str], str]
) -> AsyncIterator[pb.AcquireRequest]:
    """Yield what is waiting to be asked, in one message, whenever there is something, until the stream is gone."""
    while True:
        await line.wake.wait()
        if line.over:
            return
        chosen = list(line.unsent)[:_MOST_SETS]
        for owner in chosen:
            del line.unsent[owner]
        if not line.unsent:
            line.wake.clear()
        sets = [wire.lock_set_message(asks[owner].wanted) for owner in chosen if owner in asks]
        told = [pb.LockUse(owner=owner, object=name, job=job) for (owner, name), job in uses.items()]
        uses.clear()
        if sets or told:
            yield pb.AcquireRequest(sets=sets, uses=told)


def _error_of(refusal: Refusal) -> VirtyardError:
    status = status_pb2.Status(message=refusal.message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=refusal.reason, domain=DOMAIN))
    status.details.add().Pack(error_details_pb2.ResourceInfo(resource_name=refusal.owner))
    return from_status(status)


def _settle(answer: asyncio.Future[None], error: VirtyardError | None) -> None:
    if error is not None:
        _refuse(answer, error)
    elif not answer.done():
        answer.set_result(None)


def _refuse(answer: asyncio.Future[Grant] | asyncio.Future[None], error: VirtyardError) -> None:
    if not answer.done():
        answer.set_exception(error)
