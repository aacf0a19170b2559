"""Networks of servers that cannot be reached: put off, not waited for, and made up for when they return (P16)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf.message import Message

from tests.integration.jobs.site import Site, furnish, running
from tests.integration.jobs.test_deferral import PARTIAL, kill_at, metadata_of, server
from tests.integration.jobs.test_failure import Tries, state_of
from tests.integration.jobs.test_leftovers import DELETE, NETWORK, REFRESH, findings
from virtyard.api.jobs.v1 import job_pb2
from virtyard.api.operations.v1 import present_repository_pb2
from virtyard.jobs import roll_call


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a second for a server that does not answer."""
    monkeypatch.setattr(roll_call, "PATIENCE", 1.0)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Run a site of two servers with a pool and a repository."""
    async with running(tmp_path, "s1", "s2") as site:
        await furnish(site)
        await site.wait_released()
        site.transitions.clear()
        yield site


def bridged(site: Site) -> list[str]:
    """Return the servers whose hosts have a bridge."""
    return sorted({path.parts[-4] for path in (site.folder / "agents").glob("*/sim/bridges/*.json")})


async def test_a_network_is_made_without_a_server_that_does_not_answer(site: Site) -> None:
    """The operation ends PARTIAL and holds nothing; the server gets its bridge when it is refreshed."""
    await site.close_agent("s2")
    operation = await site.run(NETWORK)
    metadata = metadata_of(operation)
    assert (metadata.state, metadata.outcome) == (PARTIAL, job_pb2.OUTCOME_PARTIAL)
    assert metadata.residue[0].startswith("servers/s2: ")
    await site.wait_released()
    assert bridged(site) == ["s1"]
    await site.open_agent("s2")
    await site.succeed(REFRESH)
    assert bridged(site) == ["s1", "s2"]
    assert await findings(site) == []


@pytest.mark.parametrize("shown", [True, False], ids=["offline", "silent"])
async def test_a_network_is_deleted_without_a_server_that_is_away(site: Site, shown: bool) -> None:
    """Whether it was found to be offline or not; it loses its bridge when it is refreshed."""
    await site.succeed(NETWORK)
    await site.close_agent("s2")
    if shown:
        await site.show_offline("s2")
    assert metadata_of(await site.run(DELETE)).state == PARTIAL
    await site.wait_released()
    assert bridged(site) == ["s2"]
    late = await server(site, "servers/s2")
    assert (late.desired_revision, late.applied_revision) == (1, 0)
    await site.open_agent("s2")
    await site.succeed(REFRESH)
    assert await findings(site) == []


async def test_what_reaches_the_server_next_has_it_catch_up_with_its_networks(site: Site) -> None:
    """One number counts all that it missed, so whoever says that it is up to date makes up for all."""
    await site.close_agent("s2")
    await site.run(NETWORK)
    await site.open_agent("s2")
    await site.succeed(present_repository_pb2.PresentRepositoryRequest(name="repositories/R", servers=["servers/s2"]))
    late = await server(site, "servers/s2")
    assert (late.desired_revision, late.applied_revision) == (1, 1)
    assert await findings(site) == []


@pytest.mark.parametrize("transition", ["jobs.C1", "jobs.C2", "jobs.Ck", "inventory.I", "jobs.Ct"])
@pytest.mark.parametrize("request_", [NETWORK, DELETE], ids=["create", "delete"])
async def test_a_scheduler_that_ends_in_between_puts_off_once(site: Site, transition: str, request_: Message) -> None:
    """Adopted between any two commits, it ends partial, with one change that is missed."""
    if request_ is DELETE:
        await site.succeed(NETWORK)
        await site.wait_released()
    await site.close_agent("s2")
    site.transitions.clear()
    operation = await kill_at(site, transition, request_)
    assert metadata_of(operation).state == PARTIAL
    assert [job.deferred for job in await site.jobs_of(operation.name)] == [False, False, True]
    late = await server(site, "servers/s2")
    assert (late.desired_revision, late.applied_revision) == (1, 0)


async def test_a_failure_beside_it_takes_the_deferral_back(site: Site) -> None:
    """Nothing is left, not even that the missing one is behind."""
    before = await state_of(site)
    await site.close_agent("s2")
    site.faults.before["CreateBridge"] = Tries(1)
    operation = await site.run(NETWORK)
    assert operation.error.message == "the disk is full"
    assert await state_of(site) == before
    await site.open_agent("s2")
    assert await findings(site) == []
