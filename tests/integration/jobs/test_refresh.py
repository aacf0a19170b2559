"""Refreshing on real services: what was seen is recorded, what does not belong raises events, no file is changed."""

from __future__ import annotations

from tests.integration.jobs.site import GIB, Site, machine
from tests.integration.jobs.test_failure import Gate, Tries, state_of
from virtyard.api.inventory.v1 import event_pb2, repository_pb2, server_pb2
from virtyard.api.operations.v1 import (
    present_repository_pb2,
    refresh_repository_pb2,
    refresh_server_pb2,
    remove_server_from_server_pool_pb2,
)
from virtyard.kernel.view import select

REFRESH = refresh_repository_pb2.RefreshRepositoryRequest(name="repositories/R")


async def repository(site: Site) -> repository_pb2.Repository:
    """Return the repository."""
    return (await site.view(select("repositories/R"))).get("repositories/R", repository_pb2.Repository)


async def test_what_is_missing_and_what_does_not_belong_raises_a_warning_each(site: Site) -> None:
    """On the disk whose image is gone, and on the repository; the operation succeeds, and its space is recorded."""
    await site.succeed(machine("web"))
    folder = site.share / "R"
    next((folder / "disks").glob("*.raw")).unlink()
    (folder / "stray.iso").write_text("nobody's")
    before = site.files()
    operation = await site.succeed(REFRESH)
    assert site.files() == before
    seen = await repository(site)
    assert 0 < seen.free_bytes <= seen.total_bytes
    await site.wait_released()

    async def are_told() -> bool:
        return len(await site.events("repositories/R")) == 1

    await site.wait_until(are_told)
    (foreign,) = await site.events("repositories/R")
    assert (foreign.type, foreign.severity) == ("FOREIGN_FILE", event_pb2.SEVERITY_WARNING)
    assert "stray.iso" in foreign.message
    assert foreign.operation == operation.name
    missing = [event for disk in range(2) for event in await site.events(f"virtualDisks/web-disk{disk}")]
    assert [event.type for event in missing] == ["IMAGE_MISSING"]


async def test_a_repository_in_order_raises_nothing(site: Site) -> None:
    """A look that finds what should be there is no news."""
    await site.succeed(machine("web"))
    await site.succeed(REFRESH)
    await site.wait_released()
    assert await site.events("repositories/R") == []


async def test_a_refresh_that_fails_raises_its_failure_alone(site: Site) -> None:
    """What was noticed by a step that is undone with its operation is not told."""
    (site.share / "R" / "stray.iso").write_text("nobody's")
    before = await state_of(site)
    site.faults.before["ScanRepository"] = Tries(1)
    operation = await site.run(REFRESH)
    assert operation.error.message == "the disk is full"
    assert await state_of(site) == before
    await site.wait_released()

    async def is_told() -> bool:
        return bool(await site.events("repositories/R"))

    await site.wait_until(is_told)
    assert [event.type for event in await site.events("repositories/R")] == ["JOB_FAILED"]


async def test_a_refreshed_server_shows_its_facts_of_now(site: Site) -> None:
    """What changed on the host since is in its record, and its generation is as it was."""
    before = (await site.view(select("servers/s1"))).get("servers/s1", server_pb2.Server)
    site.agents["s1"].facts._resources = type(site.agents["s1"].facts._resources)(memory_bytes=32 * GIB, cpus=8)
    await site.succeed(refresh_server_pb2.RefreshServerRequest(name="servers/s1"))
    after = (await site.view(select("servers/s1"))).get("servers/s1", server_pb2.Server)
    assert (after.observed.memory_bytes, after.observed.cpus) == (32 * GIB, 8)
    assert after.observed.ledger_sequence > before.observed.ledger_sequence
    assert (after.generation, after.state) == (before.generation, before.state)


async def test_a_plan_that_begins_with_children_is_checked_under_its_locks(site: Site) -> None:
    """What it was made from changed while it waited, so it is made again, and refused (P4)."""
    gate = site.faults.before["DetachRepository"] = Gate()
    leaving = remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest(
        name="serverPools/Finance", server="servers/s2"
    )
    first = (await site.submit(leaving)).name
    await gate.reached.wait()
    presenting = present_repository_pb2.PresentRepositoryRequest(name="repositories/R", servers=["servers/s2"])
    second = (await site.submit(presenting)).name
    gate.opened.set()
    assert not (await site.wait(first)).HasField("error")
    refused = await site.wait(second)
    assert "servers/s2 is in no pool" in refused.error.message
    assert list((await repository(site)).servers) == ["servers/s1"]
    await site.wait_released()
