"""The verbs of people, at random: what they hold, move, abort, break and lock while everything else goes on.

What is set aside is let go on soon, a lock that is taken has an end, and `people` decides what is left to be decided.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from google.protobuf.duration_pb2 import Duration

from tests.acceptance.asking import list_objects
from tests.acceptance.site import Site
from tests.faults.killing import steps_in_flight
from virtyard.api.jobs.v1 import job_control_pb2, job_service_pb2, lock_control_service_pb2
from virtyard.api.jobs.v1.lock_control_service_pb2_grpc import LockControlServiceStub
from virtyard_client.client import Client
from virtyard_client.errors import ClientError

WANTED = 10
"""A run in which a verb was obeyed less often says that it is void."""
_PAUSE_SECONDS: Mapping[str, float] = {"abort": 15.0, "abort-all": 30.0, "break by force": 8.0}
"""The longest time between two of a verb, where it is not the usual one: what is aborted is nothing to meddle with."""
_USUAL_SECONDS = 4.0
_LIMIT_SECONDS = 15.0
_OPEN = "state = PENDING OR state = WAITING_FOR_LOCKS OR state = RUNNING OR state = ROLLING_BACK"
_WHY = "torture"
_LOCK_SECONDS = 3
_NOUNS = ("ServerPools", "Servers", "Repositories", "VirtualMachines")


class Meddler:
    """Somebody who meddles with what others have asked for."""

    def __init__(self, site: Site, client: Client, rng: random.Random) -> None:
        """Choose by `rng` what to do, and to whom."""
        self._site = site
        self._client = client
        self.rng = rng
        channel = client.channel("virtyard.api.jobs.v1.LockControlService")
        self._locks: Any = LockControlServiceStub(channel)
        self.obeyed: Counter[str] = Counter()
        """How often each verb was obeyed."""
        self.decided: Counter[str] = Counter()
        """How often what was left to people was retried, and accepted."""
        self.beside: Counter[str] = Counter()
        """How often a step was running when it was."""
        self.refused: Counter[str] = Counter()
        """How often each was refused, as what it named had gone on or ended, or not answered."""
        self.verbs: Mapping[str, Callable[[], Awaitable[bool]]] = {
            "hold and release": self._hold,
            "set-priority": self._move,
            "abort": self._abort,
            "abort-all": self._abort_all,
            "break": self._break,
            "break by force": self._force,
            "take": self._take,
        }

    async def run(self, verb: str, stop: asyncio.Event) -> None:
        """Do one of the verbs again and again until told to stop."""
        pause = _PAUSE_SECONDS.get(verb, _USUAL_SECONDS)
        while not stop.is_set():
            await asyncio.sleep(self.rng.random() * pause)
            busy = bool(await asyncio.to_thread(steps_in_flight, self._site))
            try:
                async with asyncio.timeout(_LIMIT_SECONDS):
                    done = await self.verbs[verb]()
            except ClientError as error:
                self.refused[f"{verb} {error.reason or error.code}"] += 1
            except TimeoutError:
                self.refused[f"{verb} not answered"] += 1
            else:
                self.obeyed[verb] += done
                self.beside[verb] += done and busy

    def void(self) -> Sequence[str]:
        """Return the verbs that were obeyed too rarely for the run to say anything of them."""
        return [f"{verb} was obeyed {self.obeyed[verb]} times" for verb in self.verbs if self.obeyed[verb] < WANTED]

    async def _job(self, which: str = _OPEN) -> Any:
        """Return a job that has not ended; None if there is none."""
        request = job_service_pb2.ListJobsRequest(filter=which, page_size=100)
        jobs = (await self._client.jobs.ListJobs(request)).jobs
        return self.rng.choice(jobs) if jobs else None

    async def _hold(self) -> bool:
        if (job := await self._job()) is None:
            return False
        await self._client.jobs.HoldJob(job_control_pb2.HoldJobRequest(name=job.name, reason=_WHY))
        await asyncio.sleep(self.rng.random())
        await self._client.jobs.ReleaseJob(job_control_pb2.ReleaseJobRequest(name=job.name, reason=_WHY))
        return True

    async def _move(self) -> bool:
        if (job := await self._job()) is None:
            return False
        priority = self.rng.randrange(-20, 21)
        request = job_control_pb2.SetJobPriorityRequest(name=job.name, priority=priority, reason=_WHY)
        await self._client.jobs.SetJobPriority(request)
        return True

    async def _abort(self) -> bool:
        if (job := await self._job()) is None:
            return False
        await self._client.jobs.AbortJob(job_service_pb2.AbortJobRequest(name=job.name, reason=_WHY))
        return True

    async def _abort_all(self) -> bool:
        if (job := await self._job()) is None:
            return False
        request = job_control_pb2.AbortJobsRequest(filter=f'title = "{job.title}"', reason=_WHY)
        request.validate_only = self.rng.random() < 0.3
        return bool((await self._client.jobs.AbortJobs(request)).jobs)

    async def _break(self, *, force: bool = False) -> bool:
        if (job := await self._job("state = RUNNING")) is None:
            return False
        request = lock_control_service_pb2.BreakLockRequest(target=job.operation, reason=_WHY, force=force)
        return bool((await self._locks.BreakLock(request)).owner)

    async def _force(self) -> bool:
        return await self._break(force=True)

    async def _take(self) -> bool:
        found = await list_objects(self._client, self.rng.choice(_NOUNS))
        if not found:
            return False
        request = lock_control_service_pb2.TakeLockRequest(
            object=self.rng.choice(found).name,
            purpose=_WHY,
            duration=Duration(seconds=_LOCK_SECONDS),
        )
        lock = await self._locks.TakeLock(request)
        if self.rng.random() < 0.5:
            await asyncio.sleep(self.rng.random())
            await self._locks.ReleaseLock(lock_control_service_pb2.ReleaseLockRequest(name=lock.name))
        return True
