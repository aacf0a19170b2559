"""An agent's ledger is lost (P18, R14): nothing is done twice for it, and nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.integration.jobs.site import LIMIT, Site, machine
from virtyard.agent import rpc
from virtyard.api.jobs.v1 import job_service_pb2


async def forgotten(site: Site) -> tuple[str, str]:
    """Have a disk made whose ledger is lost before the result is in it; return the operation, still open, and where."""
    acted = asyncio.Event()

    def die(name: str) -> None:
        if name == "agent.acted" and not acted.is_set():
            acted.set()
            raise asyncio.CancelledError  # as the end of the process: there will be no record

    site.on_transition = die
    name = (await site.submit(machine("web", disks=1, vnics=0))).name
    async with asyncio.timeout(LIMIT):
        await acted.wait()
    assert site.faults.done["CreateDiskFile"] == 1
    steps = [step for job in await site.jobs_of(name) for step in job.steps]
    (agent,) = {step.participant.partition("/")[2] for step in steps if step.participant != "inventory"}
    await site.close_agent(agent)
    for path in (site.folder / "agents" / agent).glob("ledger.db*"):
        path.unlink()
    return name, agent


async def test_what_was_done_is_found_by_its_mark_and_not_done_again(site: Site) -> None:
    """The agent is told what is open before anything else, and answers from what it finds on the host."""
    name, agent = await forgotten(site)
    await site.open_agent(agent)
    operation = await site.wait(name)
    assert not operation.HasField("error"), operation.error
    assert site.faults.done["CreateDiskFile"] == 1


async def test_without_the_comparison_a_lost_ledger_lets_it_be_done_twice(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison of ledgers is what prevents it: without it the same effect runs as new."""
    whole: Callable[..., bool] = lambda *_: True  # noqa: E731 - stands in for the check
    monkeypatch.setattr(rpc, "is_whole", whole)
    name, agent = await forgotten(site)
    await site.open_agent(agent)
    await site.wait(name)
    assert site.faults.done["CreateDiskFile"] == 2


async def test_an_abort_over_a_lost_ledger_leaves_nothing(site: Site) -> None:
    """What the ledger has forgotten is not settled as never begun: it is found, and undone."""
    before = site.files()
    name, agent = await forgotten(site)
    jobs = await site.jobs_of(name)
    await site.service.AbortJob(job_service_pb2.AbortJobRequest(name=jobs[0].name))
    await site.open_agent(agent)
    operation = await site.wait(name)
    assert operation.error.code == 1
    assert site.files() == before
    await site.wait_released()
