"""Activity: who locks which object, tailed from the lock service's feed and kept in memory (P35).

It is shown and never decides anything: absent while the lock service cannot be reached, and behind it by its stream.
A broken stream is begun anew with a snapshot, whose bookmark says at once that the view is whole again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Callable, Iterable

import grpc.aio

from virtyard.api.locks.v1 import lock_service_pb2, lock_service_pb2_grpc
from virtyard.api.type.v1 import activity_pb2, lock_pb2, watch_pb2
from virtyard.kernel.errors import VirtyardError
from virtyard.runtime.resume_point import ResumePoint
from virtyard.runtime.status import peer_cancels_named

__all__ = ["LockActivity"]

_log = logging.getLogger(__name__)
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_MOST_NEWS = 10_000
"""Objects of which it is remembered when their locks last changed; every name that ever was would be too many."""
_USES = frozenset({lock_pb2.LOCK_MODE_S, lock_pb2.LOCK_MODE_SIX, lock_pb2.LOCK_MODE_X})


class LockActivity:
    """The locks of all objects, as the lock service last told."""

    def __init__(self, channel: grpc.aio.Channel, changed: Callable[[Iterable[str]], None] | None = None) -> None:
        """Know nothing until `follow` runs.

        Args:
            channel: a channel to the lock service.
            changed: is told the names of objects whose locks changed.
        """
        self._channel = channel
        self._changed = changed
        self._known = False
        self._locks: dict[str, dict[str, lock_pb2.LockInfo]] = {}
        self._fresh: dict[str, dict[str, lock_pb2.LockInfo]] | None = None
        # The feed's sequence by which the locks of an object last changed, and that for objects which are not in it.
        self._news: dict[str, int] = {}
        self._since = 0

    @property
    def known(self) -> bool:
        """Return whether the lock service is being followed now."""
        return self._known

    def of(self, name: str) -> activity_pb2.Activity | None:
        """Return what is known of an object; None if the lock service is not being followed."""
        if not self._known:
            return None
        locks, sequence = self._locks.get(name), self._news.get(name, self._since)
        if not locks:
            return activity_pb2.Activity(locks_sequence=sequence)
        shown = sorted(locks.values(), key=lambda info: (info.waiting, info.holder))
        working = {info.holder for info in shown if info.mode in _USES and not info.waiting}
        operations = sorted({holder.partition("#")[0] for holder in working if holder.startswith("operations/")})
        return activity_pb2.Activity(locked_by=shown, current_operations=operations, locks_sequence=sequence)

    def held_by(self, operation: str) -> set[str]:
        """Return the objects that an operation, as operations/12, holds locks on now; any thread may ask."""
        # Copied first, each at once: the locks may change meanwhile.
        return {
            name
            for name, locks in list(self._locks.items())
            for info in list(locks.values())
            if not info.waiting and info.holder.partition("#")[0] == operation
        }

    async def follow(self) -> None:
        """Follow the lock service until cancelled, from a new snapshot whenever the stream breaks."""
        pause = _FIRST_PAUSE
        while True:
            try:
                with peer_cancels_named():
                    async for message in self._messages():
                        for frame in (message, *message.further):
                            self._take(frame)
                        pause = _FIRST_PAUSE
            except (grpc.RpcError, VirtyardError, OSError) as error:
                _log.debug("the lock service cannot be followed: %s", error)
            self._known, self._fresh = False, None
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _messages(self) -> AsyncIterable[lock_service_pb2.WatchLocksResponse]:
        stub = lock_service_pb2_grpc.LockServiceStub(self._channel)
        options = watch_pb2.WatchOptions(batch=True)
        return stub.WatchLocks(lock_service_pb2.WatchLocksRequest(options=options), wait_for_ready=True)

    def _take(self, frame: lock_service_pb2.WatchLocksResponse) -> None:
        match frame.kind:
            case watch_pb2.FRAME_KIND_GAP:
                self._fresh = None
            case watch_pb2.FRAME_KIND_SNAPSHOT:
                self._put(self._snapshot(), frame)
            case watch_pb2.FRAME_KIND_BOOKMARK:
                self._locks, self._fresh, before = self._fresh or {}, None, self._locks
                self._known = True
                self._news, self._since = {}, _sequence(frame)
                self._tell(before.keys() | self._locks.keys())
            case watch_pb2.FRAME_KIND_CHANGED:
                self._put(self._locks, frame)
                self._note(frame.lock.object, frame)
            case watch_pb2.FRAME_KIND_REMOVED:
                self._drop(frame)

    def _snapshot(self) -> dict[str, dict[str, lock_pb2.LockInfo]]:
        if self._fresh is None:
            self._fresh = {}
        return self._fresh

    def _put(self, locks: dict[str, dict[str, lock_pb2.LockInfo]], frame: lock_service_pb2.WatchLocksResponse) -> None:
        locks.setdefault(frame.lock.object, {})[frame.name] = _info(frame.lock)

    def _drop(self, frame: lock_service_pb2.WatchLocksResponse) -> None:
        name = frame.name.partition("|")[0]
        locks = self._locks.get(name)
        if locks is not None and locks.pop(frame.name, None) is not None:
            if not locks:
                del self._locks[name]
            self._note(name, frame)

    def _note(self, name: str, frame: lock_service_pb2.WatchLocksResponse) -> None:
        """Remember as of when the locks of an object are known, and tell of them."""
        sequence = _sequence(frame)
        if len(self._news) >= _MOST_NEWS:
            # Everything that came before is known, so this holds for all that are forgotten here.
            self._news, self._since = {}, sequence
        self._news[name] = sequence
        self._tell([name])

    def _tell(self, names: Iterable[str]) -> None:
        if self._changed is not None:
            self._changed(names)


def _sequence(frame: lock_service_pb2.WatchLocksResponse) -> int:
    return ResumePoint.parse(frame.resume_token).sequence


def _info(lock: lock_service_pb2.Lock) -> lock_pb2.LockInfo:
    return lock_pb2.LockInfo(
        object=lock.object,
        holder=lock.owner,
        purpose=lock.purpose,
        mode=lock.mode,
        waiting=lock.waiting,
        job=lock.job,
        since_time=lock.grant_time if lock.HasField("grant_time") else lock.request_time,
    )
