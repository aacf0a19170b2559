"""The links to participants, over mutual TLS: kept up while there is nothing to send, and right about who is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest

from tests.integration.agent.scenario import DONE, create_disk, create_repository, settings, settlement
from tests.ports import lasting_address
from virtyard.agent.actions.catalogue import load
from virtyard.agent.main import open_agent
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.jobs import deaths
from virtyard.jobs import participants as participants_module
from virtyard.jobs.death_records import DeathRecords
from virtyard.jobs.greeter import Greeter
from virtyard.jobs.participants import GRACE, Participants
from virtyard.jobs.store import JobStore
from virtyard.kernel.errors import InternalError
from virtyard.runtime.channel import open_channel
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.database import Database
from virtyard.runtime.feed import Feed
from virtyard.runtime.pki import Authority, Credentials
from virtyard.runtime.scope import TaskScope
from virtyard.runtime.server import serve

S1 = "servers/s1"


class Host:
    """A host whose agent comes and goes, and what the links to it have told."""

    def __init__(self, folder: Path) -> None:
        """Make the certificates; the agent is not there yet."""
        self.folder = folder
        self.address = lasting_address()
        self.told: list[frozenset[str]] = []
        self._news = asyncio.Event()
        authority = Authority.create(folder / "pki", "test.internal")
        for identity in ("agent/s1", "service/jobs"):
            authority.issue(identity, folder / identity, hosts=["127.0.0.1"])

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[None]:
        """Run the agent, each time on the same port."""
        async with AsyncExitStack() as stack:
            agent = await stack.enter_async_context(open_agent(settings(self.folder), SystemClock(), load()))
            credentials = Credentials.load(self.folder / "agent/s1")
            serving = serve(agent.services, self.address, credentials, on_closing=[agent.end_streams], grace=0.1)
            await stack.enter_async_context(serving)
            yield

    async def connect(self, name: str, planned: str) -> grpc.aio.Channel:
        """Dial the agent."""
        assert name == S1
        del planned
        return open_channel(self.address, Credentials.load(self.folder / "service/jobs"), "agent/s1")

    def tell(self, silent: frozenset[str]) -> None:
        """Take what the links tell."""
        self.told.append(silent)
        self._news.set()

    async def wait_told(self, times: int, seconds: float) -> None:
        """Wait until so much has been told."""
        async with asyncio.timeout(seconds):
            while len(self.told) < times:
                self._news.clear()
                await self._news.wait()


@pytest.fixture
async def host(tmp_path: Path) -> Host:
    """A host without its agent."""
    return Host(tmp_path)


@asynccontextmanager
async def linked(host: Host) -> AsyncIterator[Participants]:
    """Make the links of a scheduler, with a database of its own in which it knows the agent's ledger."""
    feed = Feed("jobs", keepalive=15.0)
    database = await Database.open(host.folder / "jobs.db", "virtyard.jobs.migrations", feed, SystemClock())
    async with database, TaskScope("test") as tasks:
        store = JobStore(database)
        greeter = Greeter(store.ledgers, store.settled, store.open_operations, DeathRecords(store.database))
        participants = Participants(host.connect, tasks, greeter)
        participants.listen(host.tell)
        yield participants
        await participants.close()


async def send(participants: Participants, effect: participant.Effect) -> participant.EffectRecord:
    """Send one effect and return what came of it."""
    ended: asyncio.Future[participant.EffectRecord] = asyncio.get_running_loop().create_future()
    listen: Callable[[participant.EffectReport], None] = lambda report: (  # noqa: E731 - only results count
        ended.set_result(report.result) if report.HasField("result") else None
    )
    participants.link(S1).send([effect], listen)
    async with asyncio.timeout(20):
        return await ended


async def test_an_idle_link_notices_that_its_host_went_and_came(host: Host) -> None:
    """With nothing to send, the loss is told soon after the grace, and the return when the host is back."""
    async with linked(host) as participants:
        async with host.agent():
            assert (await send(participants, create_repository(host.folder))).state == DONE
            assert participants.silent() == frozenset()
        loop = asyncio.get_running_loop()
        gone = loop.time()
        await host.wait_told(1, 10)
        assert (host.told, participants.silent()) == ([frozenset({S1})], frozenset({S1}))
        assert loop.time() - gone >= GRACE / 2, "a host has a little time to come back in"
        assert participants.waited_for() == 0, "nothing is open there"
        sent = asyncio.ensure_future(send(participants, create_disk(host.folder)))
        await asyncio.sleep(0)
        assert participants.waited_for() == 1
        async with host.agent():
            await host.wait_told(2, 30)
            assert participants.silent() == frozenset()
            assert (await sent).state == DONE
        assert participants.waited_for() == 0


async def test_a_host_that_comes_back_in_time_was_never_lost(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that is restarted within the grace is not told of."""
    monkeypatch.setattr(participants_module, "GRACE", 30.0)
    async with linked(host) as participants:
        for _ in range(2):
            async with host.agent():
                assert (await send(participants, create_repository(host.folder))).state == DONE
        assert host.told == []


async def test_a_settlement_alone_shows_a_silent_host(host: Host) -> None:
    """A scheduler that was started while it undoes asks for settlements only; the silence is told all the same."""
    async with host.agent():
        pass
    async with linked(host) as participants:
        request = settlement(create_repository(host.folder), stop=True)
        settling = asyncio.ensure_future(participants.link(S1).settle(request))
        await host.wait_told(1, 10)
        assert not settling.done()
        async with host.agent():
            assert (await settling).state == participant.EFFECT_STATE_NOT_BEGUN
        assert host.told == [frozenset({S1}), frozenset()]


async def test_a_defect_in_a_line_does_not_end_it(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken up again with all that is open: else every step of the participant would wait for ever."""
    failed = asyncio.Event()
    judge = deaths.OpenStep.of

    def fail_once(effect: participant.Effect) -> deaths.OpenStep:
        if not failed.is_set():
            failed.set()
            raise InternalError("a defect, for a test")
        return judge(effect)

    monkeypatch.setattr(participants_module, "_LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(deaths.OpenStep, "of", fail_once)
    async with linked(host) as participants:
        async with host.agent():
            assert (await send(participants, create_repository(host.folder))).state == DONE
        effect = create_repository(host.folder)
        effect.step_key = "2/1/1"
        sending = asyncio.create_task(send(participants, effect))
        async with asyncio.timeout(20):
            await failed.wait()
        async with host.agent():
            assert (await sending).step_key == effect.step_key
