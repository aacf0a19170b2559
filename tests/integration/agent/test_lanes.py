"""The lanes of an agent, over mutual TLS: with each of them full, facts, settlements and kills get through."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from google.protobuf.message import Message

from tests.integration.agent.scenario import ABORTED, DONE, MIB, Scheduler, effect, settings, settlement
from virtyard.agent.actions.catalogue import AnyAction, load
from virtyard.agent.actions.claim_host import ACTION as CLAIM_HOST
from virtyard.agent.actions.contract import Context, Lane, Outcome
from virtyard.agent.actions.create_disk_file import ACTION as CREATE_DISK
from virtyard.agent.actions.join_cluster import ACTION as JOIN_CLUSTER
from virtyard.agent.actions.shut_down_guest import ACTION as SHUT_DOWN
from virtyard.agent.actions.start_guest import ACTION as START
from virtyard.agent.main import open_agent
from virtyard.agent.reports import Reporter
from virtyard.agent.runner import LANE_WIDTHS
from virtyard.api.actions.v1 import kill_guest_pb2, shut_down_guest_pb2, start_guest_pb2
from virtyard.api.agent.v1 import agent_service_pb2, agent_service_pb2_grpc
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.inventory.v1 import host_service_pb2
from virtyard.runtime.channel import open_channel
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.pki import Authority, Credentials
from virtyard.runtime.server import serve

GUESTS = 20
"""More than any lane is wide."""
HOUR = 3600
STUCK = {action.lane: action for action in (CLAIM_HOST, CREATE_DISK, START, JOIN_CLUSTER)}


class Crowd:
    """Actions that are counted while they are in their lanes, and that hang there once they are told to."""

    def __init__(self) -> None:
        """Begin with nothing under way."""
        self.hang = False
        self.under_way: Counter[Lane] = Counter()
        self._news = asyncio.Event()

    def catalogue(self) -> dict[str, AnyAction]:
        """Return all actions, one of each lane and the shutdown of guests counted."""
        counted = {action.message.DESCRIPTOR.full_name: self._counted(action) for action in STUCK.values()}
        shut_down = {SHUT_DOWN.message.DESCRIPTOR.full_name: self._counted(SHUT_DOWN)}
        return {**load(), **counted, **shut_down}

    async def wait(self, expected: dict[Lane, int]) -> None:
        """Wait until as many are under way in each lane."""
        async with asyncio.timeout(20):
            while self.under_way != Counter(expected):
                self._news.clear()
                await self._news.wait()

    def _counted(self, action: AnyAction) -> AnyAction:
        async def do(message: Message, context: Context) -> Outcome:
            self.under_way[action.lane] += 1
            self._news.set()
            try:
                if self.hang and action.lane in LANE_WIDTHS:
                    await asyncio.Event().wait()
                return await action.do(message, context)
            finally:
                self.under_way[action.lane] -= 1

        return replace(action, do=do, probe=_nothing if action.lane in LANE_WIDTHS else action.probe)


async def _nothing(_: Message, __: Context) -> Outcome | None:
    return None


@asynccontextmanager
async def crowded(folder: Path, crowd: Crowd) -> AsyncIterator[tuple[Scheduler, Any]]:
    """Run an agent whose guests all wait through an hour's grace; gives a scheduler and a reader of facts."""
    authority = Authority.create(folder / "pki", "test.internal")
    for identity in ("agent/s1", "service/jobs"):
        authority.issue(identity, folder / identity, hosts=["127.0.0.1"])
    (folder / "state" / "sim").mkdir(parents=True)
    (folder / "state" / "sim" / "settings.json").write_text(json.dumps({"shutdown_seconds": HOUR}))
    async with AsyncExitStack() as stack:
        agent = await stack.enter_async_context(open_agent(settings(folder), SystemClock(), crowd.catalogue()))
        serving = serve(agent.services, credentials=Credentials.load(folder / "agent/s1"), grace=1.0)
        address = (await stack.enter_async_context(serving)).address
        channel = open_channel(address, Credentials.load(folder / "service/jobs"), "agent/s1")
        stack.push_async_callback(channel.close)
        jobs = Scheduler(agent, channel)
        await jobs.run(*(start(number) for number in range(GUESTS)))
        waiting = asyncio.ensure_future(jobs.run(*(shut_down(number) for number in range(GUESTS))))
        await crowd.wait({Lane.ENDING: GUESTS})
        yield jobs, cast(Any, agent_service_pb2_grpc.AgentServiceStub(channel))
        waiting.cancel()
        await asyncio.wait([waiting])


def machine(number: int) -> dict[str, Any]:
    """Return the fields that name a machine."""
    return {"virtual_machine": f"virtualMachines/m{number}", "uid": f"m{number}"}


def start(number: int) -> participant.Effect:
    """The effect that starts a guest."""
    do = start_guest_pb2.StartGuest(**machine(number), cpus=1, memory_bytes=MIB)
    return effect(f"1/{number}/1", do, target=f"virtualMachines/m{number}")


def shut_down(number: int) -> participant.Effect:
    """The effect that waits for a guest's own shutdown."""
    do = shut_down_guest_pb2.ShutDownGuest(**machine(number), grace_seconds=HOUR)
    return effect(f"2/{number}/1", do, target=f"virtualMachines/m{number}", token=2)


def kill(number: int) -> participant.Effect:
    """The effect that ends a guest at once."""
    do = kill_guest_pb2.KillGuest(**machine(number))
    return effect(f"3/{number}/1", do, target=f"virtualMachines/m{number}", token=3)


async def test_guests_that_take_their_time_hold_no_start_and_no_kill(tmp_path: Path) -> None:
    """While more stops than any lane is wide wait for their guests, another guest is started, and killed."""
    async with crowded(tmp_path, Crowd()) as (jobs, _):
        (started,) = await jobs.run(start(GUESTS))
        (killed,) = await jobs.run(kill(GUESTS))
        assert [started.state, killed.state] == [DONE, DONE]


async def test_full_lanes_hold_up_no_facts_no_settlement_and_no_kill(tmp_path: Path) -> None:
    """With every place of every lane taken for ever, the host is seen, effects are stopped, and guests are killed."""
    crowd = Crowd()
    async with crowded(tmp_path, crowd) as (jobs, facts):
        crowd.hang = True
        sent = {
            lane: [effect(f"{9 + place}/{number}/1", action.message()) for number in range(LANE_WIDTHS[lane] + 1)]
            for place, (lane, action) in enumerate(STUCK.items())
        }
        running = asyncio.ensure_future(jobs.run(*(each for lane in sent.values() for each in lane)))
        await crowd.wait({**LANE_WIDTHS, Lane.ENDING: GUESTS})

        async with asyncio.timeout(10):
            host = await facts.GetHost(agent_service_pb2.GetHostRequest())
            assert len(host.guests) == GUESTS
            assert len((await reported(jobs)).guests) == GUESTS
            for number in range(GUESTS):
                (record,) = await jobs.run(kill(number))
                assert (record.state, record.changed) == (DONE, True)
            for lane in sent.values():
                waiting, first = lane[-1], lane[0]
                assert (await jobs.settle(settlement(waiting, stop=True))).state == ABORTED
                assert (await jobs.settle(settlement(first, stop=True))).state == ABORTED
            stopped = await jobs.settle(settlement(shut_down(0), stop=True))
            assert stopped.state == DONE, "its guest is down, if not by itself"
        running.cancel()
        await asyncio.wait([running])


async def reported(jobs: Scheduler) -> agent_service_pb2.Host:
    """Return what the agent tells the inventory by itself."""
    told: asyncio.Future[agent_service_pb2.Host] = asyncio.get_running_loop().create_future()

    async def send(request: host_service_pb2.ReportHostRequest) -> host_service_pb2.ReportHostResponse:
        if not told.done():
            told.set_result(request.host)
        return host_service_pb2.ReportHostResponse(known=True, report_interval_seconds=30)

    reporter = Reporter(jobs.agent.facts.look, send)
    await reporter.open()
    try:
        return await told
    finally:
        await reporter.close()
