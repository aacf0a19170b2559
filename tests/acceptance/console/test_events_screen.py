"""The screen of events, by the keyboard, in a real Chromium on a real site."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from tests.acceptance.asking import FAILED, LIMIT, ask, create_machine, list_jobs, prepare, run, start_machine
from tests.acceptance.console.chromium import build_console, play_with_cues
from tests.acceptance.site import Site, open_site
from virtyard.api.inventory.v1 import event_pb2, inventory_service_pb2
from virtyard.api.jobs.v1 import job_service_pb2
from virtyard.api.operations.v1 import rename_virtual_machine_pb2
from virtyard_client.client import Client

pytestmark = pytest.mark.timeout(900)
FILTERS = {
    "all": "",
    "critical": "severity >= CRITICAL",
    "open": "open = true",
    "failed": "type = JOB_FAILED",
    "web": "object:web",
}
"""What the scenario narrows the list by, as the API has it."""


@pytest.fixture
def site() -> Iterator[Site]:
    """A site with three machines, on each of which something has gone wrong."""
    build_console()
    with open_site() as opened:
        yield opened


async def furnish(site: Site) -> tuple[dict[str, int], str]:
    """Fail a job of one machine and refuse the undos of two; return the counts of events, and the last operation."""
    async with site.client() as client:
        await prepare(site, client)
        for machine in ("web", "db", "app"):
            await run(client, create_machine(site, machine))
        site.fail_file.write_text("1/1")
        rename = rename_virtual_machine_pb2.RenameVirtualMachineRequest(name="virtualMachines/web", display_name="W")
        await run(client, rename, ended=FAILED)
        behave(site, refuse_kill="the power switch is broken")
        site.fail_file.write_text("1/3")
        stuck = [(await ask(client, start_machine(machine))).name for machine in ("db", "app")]
        for operation in stuck:
            await wait_for_event(client, f'operation = "{operation}" AND type = ROLLBACK_FAILED')
        site.fail_file.unlink()
        behave(site)
        return {key: len(await events_of(client, text)) for key, text in FILTERS.items()}, stuck[-1]


def behave(site: Site, **settings: object) -> None:
    """Have the simulated host refuse things, or do as it is told."""
    (state,) = {path.parent for path in (site.folder / "state").glob("**/s1/**/guests")}
    (state / "settings.json").write_text(json.dumps(settings))


async def events_of(client: Client, text: str) -> list[event_pb2.Event]:
    """Return the events that a filter lets pass, the newest first."""
    asked = inventory_service_pb2.ListEventsRequest(filter=text, page_size=1000)
    return list((await client.inventory.ListEvents(asked)).events)


async def wait_for_event(client: Client, text: str) -> event_pb2.Event:
    """Wait until there is an event that a filter lets pass, and return it."""
    async with asyncio.timeout(LIMIT):
        while not (events := await events_of(client, text)):
            await asyncio.sleep(0.05)
    return events[0]


async def free(site: Site, operation: str) -> None:
    """Have the undo tried again that nothing is in the way of any more, which clears its event."""
    async with site.client() as client:
        (job,) = await list_jobs(client, operation)
        await client.jobs.RetryJob(job_service_pb2.RetryJobRequest(name=job.name, reason="the switch is mended"))
        await client.wait(operation, timeout=LIMIT)


def test_events_are_narrowed_and_acknowledged_by_keys_and_cleared_ones_leave_the_open_list(site: Site) -> None:
    """Each field leaves what the API lists for it; what still holds is acknowledged by force only, and says so."""
    counts, last = asyncio.run(furnish(site))
    assert counts["all"] > max(count for key, count in counts.items() if key != "all"), "each leaves something out"
    found = play_with_cues(
        "events_screen.mjs",
        site,
        {"free": lambda: asyncio.run(free(site, last))},
        scenario="events",
        counts=counts,
    )
    said = found["said"]
    assert found["findings"] == []
    assert said["typed"] == "web"
    assert said["addresses"] == [
        "?severity=CRITICAL",
        "?standing=open",
        "?type=JOB_FAILED",
        "?object=web",
        "?severity=CRITICAL&object=db&since=2020-01-01T12%3A00",
    ]
    assert said["file"] == "events.jsonl"
    assert len(said["exported"]) == counts["critical"], "an export has what is listed"
    assert said["exported"] == sorted(said["exported"], key=lambda name: -int(name.partition("/")[2]))
    assert said["archiveAddress"] == "?archived=yes"
    assert said["exportedOfArchive"] == []
    assert said["watched"] != []
    assert said["watchedInArchive"] == [], "what never changes is not watched"
    assert "a typing error" in said["became"]
    assert "by force" not in said["became"]
    assert "still" in said["refusal"]
    assert said["comment"] == "seen by the night shift", "what was typed is there when it is asked again"
    assert "by force" in said["becameByForce"]
    assert "cleared" in said["cleared"]
    assert said["acknowledged"] == [1, 1]
    asyncio.run(assert_kept(site))


async def assert_kept(site: Site) -> None:
    """Assert that the events say what became of them."""
    async with site.client() as client:
        for machine, kind, who, comment, forced in (
            ("web", "JOB_FAILED", "user/admin", "a typing error", False),
            ("db", "ROLLBACK_FAILED", "user/admin", "seen by the night shift", True),
            ("app", "ROLLBACK_FAILED", "", "", False),
        ):
            (event,) = await events_of(client, f'object = "virtualMachines/{machine}" AND type = {kind}')
            assert (event.acknowledged_by, event.comment, event.forced) == (who, comment, forced)
            assert event.cleared == (machine == "app")
            assert not event.open
