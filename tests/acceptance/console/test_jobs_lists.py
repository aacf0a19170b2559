"""How people find their way in the lists of jobs, schedules and locks, in a real Chromium on a real site."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.acceptance.asking import (
    FAILED,
    LIMIT,
    ask,
    create_machine,
    create_repository,
    list_jobs,
    new_disk,
    prepare,
    run,
    start_machine,
)
from tests.acceptance.console.chromium import build_console, play_with_cues
from tests.acceptance.site import Site, open_site
from virtyard.api.inventory.v1 import filter_pb2, inventory_service_pb2, network_pb2, schedule_pb2, trigger_pb2
from virtyard.api.jobs.v1 import job_service_pb2, lock_control_service_pb2, lock_control_service_pb2_grpc
from virtyard.api.operations.v1 import (
    create_filter_pb2,
    create_network_pb2,
    create_schedule_pb2,
    create_trigger_pb2,
    refresh_server_pb2,
    rename_virtual_machine_pb2,
)
from virtyard_client.client import Client

pytestmark = pytest.mark.timeout(900)
TREE = "Create Network"
"""An operation whose job has children."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with one server, a pool, a repository, a network, machines, and one operation that failed."""
    build_console()
    with open_site() as opened:
        asyncio.run(furnish(opened))
        yield opened


async def furnish(site: Site) -> None:
    """Make what the scenarios are played on."""
    async with site.client() as client:
        await prepare(site, client)
        for name in ("web", "db"):
            await run(client, create_machine(site, name, [new_disk()]))
        network = create_network_pb2.CreateNetworkRequest(
            network_id="blue", network=network_pb2.Network(), servers=["servers/s1"]
        )
        await run(client, network)
        await run(client, create_repository(site, "outside", path="/etc/virtyard-test"), ended=FAILED)


def play(site: Site, scenario: str, cues: dict[str, Callable[[], None]] | None = None, **told: Any) -> dict[str, Any]:
    """Play a scenario in a browser of its own, and return what it said; axe must have found nothing serious."""
    found = play_with_cues("jobs_lists.mjs", site, cues or {}, scenario=scenario, **told)
    assert found["findings"] == []
    return dict(found["said"])


async def jobs_of(client: Client, text: str = "") -> list[str]:
    """Return the names of the jobs that a filter lets pass."""
    answer = await client.jobs.ListJobs(job_service_pb2.ListJobsRequest(filter=text, page_size=1000))
    return [job.name for job in answer.jobs]


def test_the_list_of_jobs_is_narrowed_gone_through_and_saved(site: Site) -> None:
    """Each field leaves what the API lists for it; keys and mouse open the tree; the file has what is listed."""
    filters = {
        "all": "",
        "state": "(state = FAILED OR state = ROLLBACK_FAILED)",
        "type": 'title:"Create Virtual Disk"',
        "object": 'object = "virtualMachines/db"',
    }

    async def look() -> dict[str, list[str]]:
        async with site.client() as client:
            return {key: await jobs_of(client, text) for key, text in filters.items()}

    async def rename() -> None:
        async with site.client() as client:
            request = rename_virtual_machine_pb2.RenameVirtualMachineRequest
            await run(client, request(name="virtualMachines/web", display_name="The web"))

    jobs = asyncio.run(look())
    counts = {key: len(names) for key, names in jobs.items()}
    assert 0 < counts["state"] < counts["all"]
    said = play(site, "jobs", {"rename": lambda: asyncio.run(rename())}, parent=TREE, counts=counts)
    assert said["first"] == said["back"]
    assert (said["first"]["place"], said["first"]["level"]) == (2, 1)
    assert "Discover Server" in said["last"]["text"], "End leads to the oldest one"
    assert [said[key]["open"] for key in ("closed", "opened", "shut")] == ["false", "true", "false"]
    assert [said[key]["level"] for key in ("opened", "child", "grandchild", "parent", "top")] == [1, 2, 3, 2, 1]
    assert (said["parent"]["open"], said["folded"]["open"], said["below"]["level"]) == ("true", "false", 1)
    assert said["entered"].startswith("?job=")
    assert said["stateAddress"] == "?state=FAILED%2CROLLBACK_FAILED"
    assert said["file"] == "jobs.jsonl"
    assert sorted(said["exported"]) == sorted(jobs["state"])
    assert said["columns"][-1] == "Ended"
    assert said["stayed"]["text"] == said["before"]["text"], "the keys are at another row, as one came before it"
    assert said["stayed"]["place"] == said["before"]["place"] + 1


def test_a_failed_operation_is_run_again_and_a_refused_undo_tried_again(site: Site) -> None:
    """The form is as it was filled in; put right, it succeeds. The undo leaves nothing once nothing is in its way."""

    async def get_stuck() -> tuple[str, str]:
        behave(site, refuse_kill="the power switch is broken")
        site.fail_file.write_text("1/3")
        async with site.client() as client:
            (failed,) = await jobs_of(client, 'object = "repositories/outside"')
            stuck = str((await ask(client, start_machine("db"))).name)
            async with asyncio.timeout(LIMIT):
                while not await jobs_of(client, f'operation = "{stuck}" AND state = ROLLBACK_FAILED'):
                    await asyncio.sleep(0.05)
        site.fail_file.unlink()
        behave(site)
        return f"operations/{failed.removeprefix('jobs/').partition('-')[0]}", stuck

    async def look(stuck: str) -> tuple[str, int, list[str]]:
        async with site.client() as client:
            asked = inventory_service_pb2.GetRepositoryRequest(name="repositories/outside")
            made = await client.inventory.GetRepository(asked)
            ended = (await client.wait(stuck, timeout=LIMIT)).state
            (job,) = await list_jobs(client, stuck)
            return made.path, ended, [hop.reason for hop in job.reason_trail if "the switch is mended" in hop.reason]

    failed, stuck = asyncio.run(get_stuck())
    path = str(site.shared / "inside")
    said = play(site, "again", failed=failed, stuck=stuck, path=path, reason="the switch is mended")
    assert (said["form"]["id"], said["form"]["path"]) == ("outside", "/etc/virtyard-test")
    assert said["form"]["pool"].endswith("pool")
    assert said["back"] == "?object=virtualMachines%2Fweb"
    made, ended, reasons = asyncio.run(look(stuck))
    assert (made, ended) == (path, FAILED)
    assert len(reasons) == 1


def behave(site: Site, **settings: object) -> None:
    """Have the simulated host refuse things, or do as it is told."""
    (state,) = {path.parent for path in (site.folder / "state").glob("**/s1/**/guests")}
    (state / "settings.json").write_text(json.dumps(settings))


def test_what_recurs_is_turned_on_edited_and_deleted_by_its_cards(site: Site) -> None:
    """The next runs follow the schedule; what the forms change and delete is changed and deleted in the inventory."""

    async def prepare_automation() -> None:
        resting, limited = schedule_pb2.SCHEDULE_STATE_DISABLED, filter_pb2.FILTER_ACTION_RATE_LIMIT
        schedule = schedule_pb2.Schedule(cron="30 2 * * *", time_zone="UTC", state=resting)
        trigger = trigger_pb2.Trigger(event_filter='object = "servers/none"')
        for recurring in (schedule, trigger):
            recurring.request.Pack(refresh_server_pb2.RefreshServerRequest(name="servers/s1"))
        slow = filter_pb2.Filter(matches='title:"Migrate"', action=limited, limit_per_minute=5)
        async with site.client() as client:
            await run(client, create_schedule_pb2.CreateScheduleRequest(schedule_id="nightly", schedule=schedule))
            await run(client, create_trigger_pb2.CreateTriggerRequest(trigger_id="look", trigger=trigger))
            await run(client, create_filter_pb2.CreateFilterRequest(filter_id="slow", filter=slow))

    async def look() -> tuple[schedule_pb2.Schedule, int, int]:
        async with site.client() as client:
            kept = inventory_service_pb2.GetScheduleRequest(name="schedules/nightly")
            triggers = await client.inventory.ListTriggers(inventory_service_pb2.ListTriggersRequest())
            filters = await client.inventory.ListFilters(inventory_service_pb2.ListFiltersRequest())
            own = [trigger for trigger in triggers.triggers if trigger.name == "triggers/look"]
            return await client.inventory.GetSchedule(kept), len(own), len(filters.filters)

    asyncio.run(prepare_automation())
    said = play(site, "automation", schedule="schedules/nightly", trigger="triggers/look", filter="filters/slow")
    schedule, triggers, filters = asyncio.run(look())
    assert said["resting"] == 0
    assert said["due"] == ["02:30"] * 5
    assert said["dueLater"] == ["04:15"] * 5
    assert (schedule.cron, schedule.state) == ("15 4 * * *", schedule_pb2.SCHEDULE_STATE_ENABLED)
    assert (triggers, filters) == (0, 0)


def test_a_lock_is_taken_and_given_back_by_keys_and_the_screen_says_when_it_is_not_live(site: Site) -> None:
    """What was refused in the dialog is not there when it is opened again; the bar comes and goes with the services."""
    held: list[Any] = []

    async def look() -> None:
        async with site.client() as client:
            control: Any = lock_control_service_pb2_grpc.LockControlServiceStub(client.channel("jobs"))
            held.extend((await control.ListPersonLocks(lock_control_service_pb2.ListPersonLocksRequest())).locks)

    cues = {
        "locks": lambda: asyncio.run(look()),
        "kill": lambda: site.kill("up"),
        "start": lambda: site.start("up"),
    }
    said = play(site, "locksAndAway", cues)
    assert "servers/none" in said["refusal"]
    assert said["emptied"] == ["", 0]
    assert [(lock.object, lock.purpose) for lock in held] == [("virtualMachines/db", "a look at its disk")]
    assert "the gateway cannot be reached" in said["notLive"]
