"""The watch over the storage of a host: whether each repository that is presented to it is there, told as it changes.

The kernel says at once when something is mounted or unmounted; a folder that is emptied or removed, or storage that
fails without a word, is found by a look each second. What does not answer is *unknown*, and the look is not repeated
until it does: a hung file system costs one thread for each of its repositories, and stops nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from virtyard.agent.drivers.storage.contract import Place
from virtyard.agent.drivers.storage.directory import DirectoryStorage
from virtyard.agent.drivers.storage.roots import StorageRoots
from virtyard.api.inventory.v1 import server_pb2
from virtyard.internal.inventory.v1 import host_service_pb2
from virtyard.kernel.errors import VirtyardError
from virtyard.runtime.scope import TaskScope

__all__ = ["StorageWatch"]

_MOUNTS = Path("/proc/self/mountinfo")
_LOOK_SECONDS = 1.0
_ANSWER_SECONDS = 2.0
_PRESENT = server_pb2.STORAGE_STATE_PRESENT
_LOST = server_pb2.STORAGE_STATE_LOST
_UNKNOWN = server_pb2.STORAGE_STATE_UNKNOWN
_log = logging.getLogger(__name__)


class StorageWatch:
    """Watches the repositories of one host; use `open` and `close`."""

    def __init__(self, roots: StorageRoots, changed: Callable[[], None]) -> None:
        """Watch nothing yet.

        Args:
            roots: the folders that may be touched.
            changed: is called whenever a repository is found otherwise than before.
        """
        # Threads of its own: storage that hangs must not take those that actions need.
        self._storage = DirectoryStorage(roots=roots, program="")
        self._changed = changed
        self._expected: dict[str, host_service_pb2.PresentedRepository] = {}
        self._found: dict[str, server_pb2.ObservedRepository] = {}
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._scope = TaskScope("agent.storage")

    async def open(self) -> None:
        """Look for the first time, then go on."""
        await self._look()
        _ = self._scope.start(self._follow(), name="storage", vital=True)

    async def close(self) -> None:
        """Look no more; a look that hangs is left alone."""
        self._storage.close()
        await self._scope.close()

    def expect(self, repositories: Sequence[host_service_pb2.PresentedRepository]) -> None:
        """Watch these repositories from now on, and no others."""
        expected = {each.uid: each for each in repositories}
        if expected != self._expected:
            self._expected = expected
            self._found = {uid: found for uid, found in self._found.items() if uid in expected}
            self._wake.set()

    def repositories(self) -> list[server_pb2.ObservedRepository]:
        """Return what was found last, by uid; one that was not looked at yet has no state."""
        nothing = server_pb2.STORAGE_STATE_UNSPECIFIED
        return [
            self._found.get(uid) or _observed(expected, nothing, "") for uid, expected in sorted(self._expected.items())
        ]

    async def _follow(self) -> None:
        with _mount_news(self._wake.set):
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await self._wake.wait()
                self._wake.clear()
                await self._look()

    async def _look(self) -> None:
        """Look at every repository; what does not answer in time is unknown until it does."""
        begun = {uid: each for uid, each in self._expected.items() if uid not in self._looks}
        for uid, expected in begun.items():
            self._looks[uid] = self._scope.start(self._look_at(expected), name=f"look {uid}")
        if begun:
            # Those that hang since an earlier round are not waited for again.
            await asyncio.wait([self._looks[uid] for uid in begun], timeout=_ANSWER_SECONDS)
        for uid in self._looks:
            if uid in self._expected:
                text = f"its storage has not answered for {_ANSWER_SECONDS:g} s"
                self._take(_observed(self._expected[uid], _UNKNOWN, text))

    async def _look_at(self, expected: host_service_pb2.PresentedRepository) -> None:
        try:
            found = await self._find(expected)
        finally:
            del self._looks[expected.uid]
        if self._expected.get(expected.uid) == expected:
            self._take(found)

    async def _find(self, expected: host_service_pb2.PresentedRepository) -> server_pb2.ObservedRepository:
        try:
            there = await self._storage.has_repository(Place(path=expected.path, uid=expected.uid))
        except (OSError, VirtyardError) as error:
            return _observed(expected, _LOST, f"{expected.path} cannot be read: {error}")
        if there is None:
            text = f"{expected.path} is not there, not mounted, or not this repository"
            return _observed(expected, _LOST, text)
        return _observed(expected, _PRESENT, "")

    def _take(self, found: server_pb2.ObservedRepository) -> None:
        before = self._found.get(found.uid)
        if before is None or before.state != found.state:
            self._found[found.uid] = found
            if found.state != _PRESENT:
                _log.warning("the storage of %s is %s: %s", found.repository, _word(found.state), found.reason)
            elif before is not None:
                _log.info("the storage of %s is back", found.repository)
            self._changed()


def _observed(
    expected: host_service_pb2.PresentedRepository, state: server_pb2.StorageState.ValueType, reason: str
) -> server_pb2.ObservedRepository:
    return server_pb2.ObservedRepository(repository=expected.repository, uid=expected.uid, state=state, reason=reason)


def _word(state: server_pb2.StorageState.ValueType) -> str:
    return server_pb2.StorageState.Name(state).removeprefix("STORAGE_STATE_").lower()


@contextlib.contextmanager
def _mount_news(changed: Callable[[], None]) -> Iterator[None]:
    """Call back on the event loop whenever something is mounted or unmounted in this mount namespace."""
    try:
        mounts = os.open(_MOUNTS, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield  # the looks find it
        return
    loop = asyncio.get_running_loop()
    # The file is always readable; only its exceptional condition is news, which the loop cannot wait for by itself.
    news = select.epoll()

    def tell() -> None:
        news.poll(0)
        changed()

    try:
        news.register(mounts, select.EPOLLPRI | select.EPOLLET)
        loop.add_reader(news.fileno(), tell)
        yield
    finally:
        loop.remove_reader(news.fileno())
        news.close()
        os.close(mounts)
