"""The screens of jobs, recurring jobs, events and locks, in a real Chromium on a real site: what people do, and see."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
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
from tests.acceptance.console.chromium import SCREENS, assert_as_cheap, build_console, link_to, one_browser
from tests.acceptance.console.costs import list_costs
from tests.acceptance.site import Site, open_site
from tests.integration.jobs.receiver import receiving
from virtyard.api.inventory.v1 import inventory_service_pb2, schedule_pb2, webhook_pb2
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.operations.v1 import (
    create_schedule_pb2,
    create_webhook_pb2,
    delete_webhook_pb2,
    kill_virtual_machine_pb2,
    refresh_server_pb2,
    rename_virtual_machine_pb2,
    restart_virtual_machine_pb2,
)
from virtyard.api.type.v1 import submission_pb2
from virtyard_client.client import Client
from virtyard_client.render.advice import advice

HERE = Path(__file__).parent
PATIENCE = 300
"""Seconds in which a scenario must end, on a machine that is busy."""
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with one server, a pool, a repository and machines."""
    build_console()
    SCREENS.mkdir(parents=True, exist_ok=True)
    with open_site() as opened:
        asyncio.run(furnish(opened))
        yield opened


async def furnish(site: Site) -> None:
    """Make what the scenarios are played on."""
    async with site.client() as client:
        await prepare(site, client)
        for name in ("web", "db"):
            await run(client, create_machine(site, name, [new_disk()], cards=1))


def behave(site: Site, **settings: object) -> None:
    """Have the simulated host take its time, or refuse."""
    (state,) = {path.parent for path in (site.folder / "state").glob("**/s1/**/guests")}
    (state / "settings.json").write_text(json.dumps(settings))


async def play(
    site: Site,
    scenario: str,
    on_cue: Callable[[], Awaitable[object]] | None = None,
    *,
    script: str = "jobs_screens.mjs",
    **asked: object,
) -> dict[str, Any]:
    """Play a scenario in a browser that is signed in by a link of its own; axe must find nothing serious.

    Args:
        site: where it is played.
        scenario: its name in the script.
        on_cue: what is done when the scenario says that it is ready for it.
        script: the script beside this file.
        asked: what the scenario needs to know.
    """
    told = {"scenario": scenario, "link": await asyncio.to_thread(link_to, site), "shots": str(SCREENS), **asked}
    with ExitStack() as stack:
        await asyncio.to_thread(stack.enter_context, one_browser())
        process = await asyncio.create_subprocess_exec(
            "node", str(HERE / script), json.dumps(told), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(PATIENCE):
                assert process.stdout is not None
                if on_cue is not None and b"cue" in await process.stdout.readline():
                    await on_cue()
                out, err = await process.communicate()
        except TimeoutError:
            process.kill()
            raise
    assert process.returncode == 0, err.decode()
    answer = json.loads(out)
    assert answer["findings"] == []
    return dict(answer["said"])


async def test_a_running_operations_page_shows_bars_that_move_and_its_end(site: Site) -> None:
    """The bar rises by more than one step, the abort button goes with the end, and timeline and transcript tell all."""
    async with site.client() as client:
        behave(site, start_seconds=0.0, shutdown_seconds=3.0)
        await run(client, start_machine("db"))
        behave(site, start_seconds=6.0, shutdown_seconds=6.0)
        request = restart_virtual_machine_pb2.RestartVirtualMachineRequest(name="virtualMachines/db")
        said = await play(site, "watchToEnd", lambda: ask(client, request), title="Restart Virtual Machine")
        behave(site)
        await run(client, kill_virtual_machine_pb2.KillVirtualMachineRequest(name="virtualMachines/db"))
        drawn = [await client.jobs.GetJob(job_service_pb2.GetJobRequest(name=lane)) for lane in dict(said["steps"])]
    assert drawn
    for job in drawn:
        check_drawn_in_time(job, [x for lane, x in said["steps"] if lane == job.name])
    bars = said["bars"]
    assert bars == sorted(bars)
    assert len(set(bars)) >= 3
    assert bars[-1] == 100
    assert said["buttons"] == 0
    assert said["spans"] == said["rows"] > 0
    assert ": Restart Virtual Machine" in said["transcript"].splitlines()[0]


def check_drawn_in_time(job: job_pb2.Job, places: list[float]) -> None:
    """Check that the steps of a job, none of which was undone, begin on the timeline where they began in time."""
    begun = [step.start_time.ToNanoseconds() / 1e9 for step in job.steps if step.HasField("start_time")]
    assert len(begun) == len(places) > 1
    shares = [(time - begun[0]) / (begun[-1] - begun[0]) for time in begun]
    assert [(x - places[0]) / (places[-1] - places[0]) for x in places] == pytest.approx(shares, abs=0.01)


async def test_an_operation_is_aborted_from_its_page(site: Site) -> None:
    """The dialog names the step that will be undone, and then the operation is cancelled for the reason given there."""
    behave(site, start_seconds=300.0)
    async with site.client() as client:
        operation = (await ask(client, start_machine("web"))).name
        said = await play(site, "abort", operation=operation)
        behave(site)
        assert (await client.wait(operation, timeout=40)).state == operation_pb2.OPERATION_STATE_CANCELLED
        machine = await client.inventory.GetVirtualMachine(
            inventory_service_pb2.GetVirtualMachineRequest(name="virtualMachines/web")
        )
    assert "Reserve the server's memory (Start Virtual Machine)" in said["consequences"]
    assert "Start the guest (Start Virtual Machine), which is stopped first" in said["consequences"]
    assert said["state"] == "ABORTED"
    assert not machine.server


async def test_one_job_is_aborted_and_the_others_go_on(site: Site) -> None:
    """The dialog names the jobs that end and those that go on; the operation ends with what is missing."""
    agent = site.record("s1").pid
    os.kill(agent, signal.SIGSTOP)
    try:
        async with site.client() as client:
            request = create_machine(site, "two-disks", [new_disk(), new_disk()], cards=1)
            request.options.on_failure = submission_pb2.ON_FAILURE_CONTINUE
            operation = (await ask(client, request)).name
            job = next(
                job for job in await list_jobs(client, operation) if job.object == "virtualDisks/two-disks-disk1"
            )

            async def go_on() -> None:
                os.kill(agent, signal.SIGCONT)

            said = await play(site, "abortOne", go_on, operation=operation, job=job.name)
    finally:
        os.kill(agent, signal.SIGCONT)
    ending, going_on = said["consequences"].split("These go on")
    assert "virtualDisks/two-disks-disk1" in ending
    assert "virtualDisks/two-disks-disk0" in going_on
    assert "vnics/two-disks-vnic0" in going_on
    assert said["states"].count("ABORTED") == 2
    assert set(said["states"]) == {"ABORTED", "COMPLETED"}
    assert "too big" in said["missing"]


async def test_who_waits_for_whom_is_drawn_while_it_lasts(site: Site) -> None:
    """Two operations on one machine are two boxes and an arrow; the one that waits says for whom, and what helps."""
    behave(site, start_seconds=300.0)
    async with site.client() as client:
        holder = (await ask(client, start_machine("web"))).name
        rename = rename_virtual_machine_pb2.RenameVirtualMachineRequest
        waiter = (await ask(client, rename(name="virtualMachines/web", display_name="The web"))).name
        (job,) = await list_jobs(client, holder)
        abort = job_service_pb2.AbortJobRequest(name=job.name)
        said = await play(site, "locks", lambda: client.jobs.AbortJob(abort), holder=holder, waiter=waiter)
        behave(site)
    assert sorted(map(tuple, said["parties"])) == sorted([(holder, "false"), (waiter, "true")])
    assert f"{waiter} (Rename Virtual Machine) waits for {holder} (Start Virtual Machine)" in said["sentences"]
    assert "virtualMachines/web X" in said["breaking"].replace("\n", " ")
    assert f"Waiting for them: {waiter}." in said["breaking"]
    assert holder in said["wait"]
    assert "virtyard job abort" in said["wait"]


async def test_a_failure_is_acknowledged_with_a_comment(site: Site) -> None:
    """The event leaves the list of open ones, and keeps who acknowledged it and why."""
    async with site.client() as client:
        await run(client, create_repository(site, "outside", path="/etc/virtyard-test"), ended=FAILED)
        said = await play(
            site, "acknowledge", message="not under a storage root", comment="a typing error", holds=False
        )
        listed = await client.inventory.ListEvents(
            inventory_service_pb2.ListEventsRequest(filter='object = "repositories/outside" AND type = JOB_FAILED')
        )
    assert "a typing error" in said["became"]
    (event,) = listed.events
    assert (event.acknowledged_by, event.comment, event.forced) == ("user/admin", "a typing error", False)


async def test_what_an_undo_left_is_acknowledged_only_by_force_and_can_be_accepted(site: Site) -> None:
    """The refusal says what still holds; forced, it is recorded as that; the operation's page has the two ways out."""
    behave(site, refuse_kill="the power switch is broken")
    site.fail_file.write_text("1/3")
    async with site.client() as client:
        operation = (await ask(client, start_machine("db"))).name
        event = await rollback_failed(client, operation)
        said = await play(site, "acknowledge", message="the power switch is broken", comment="seen", holds=True)
        left = await play(site, "residue", operation=operation, reason="it goes to the workshop")
        site.fail_file.unlink()
        behave(site)
        after = await client.inventory.GetEvent(inventory_service_pb2.GetEventRequest(name=event))
        await client.wait(operation, timeout=40)
        (job,) = await list_jobs(client, operation)
    assert job.residue
    assert [missing for missing in job.residue if missing not in left["accepting"]] == []
    assert [hop.source for hop in job.reason_trail if "it goes to the workshop" in hop.reason] == ["user/admin"]
    assert "CONDITION_STILL_HOLDS" in said["refusal"]
    assert "by force" in said["became"]
    assert after.forced
    assert "Left behind" in left["residue"]


async def rollback_failed(client: Client, operation: str) -> str:
    """Wait for the event that an undo of the operation was refused, and return its name."""
    asked = inventory_service_pb2.ListEventsRequest(filter=f'operation = "{operation}" AND type = ROLLBACK_FAILED')
    async with asyncio.timeout(40):
        while not (events := (await client.inventory.ListEvents(asked)).events):
            await asyncio.sleep(0.05)
    return str(events[0].name)


async def test_a_schedule_is_run_now_and_disabled(site: Site) -> None:
    """Its next five runs are shown; both buttons submit operations; disabled, it has no next runs."""
    schedule = schedule_pb2.Schedule(cron="30 2 * * *", time_zone="Europe/Vienna")
    schedule.request.Pack(refresh_server_pb2.RefreshServerRequest(name="servers/s1"))
    async with site.client() as client:
        await run(client, create_schedule_pb2.CreateScheduleRequest(schedule_id="nightly", schedule=schedule))
        said = await play(site, "recurring", schedule="schedules/nightly")
        kept = await client.inventory.GetSchedule(inventory_service_pb2.GetScheduleRequest(name="schedules/nightly"))
        refreshed = await client.jobs.ListJobs(job_service_pb2.ListJobsRequest(filter='title = "Refresh Server"'))
    assert said["next"] == 5
    assert kept.state == schedule_pb2.SCHEDULE_STATE_DISABLED
    assert said["ran"].split()[-1].rstrip(".") in {job.operation for job in refreshed.jobs}


async def test_what_a_webhook_gave_up_is_sent_again_or_forgotten(site: Site) -> None:
    """Each is shown with what it was and why; one is delivered after all, and nothing is left of the other."""
    with receiving() as receiver:
        receiver.answer = lambda _: (410, {}) if len(receiver.taken) <= 2 else (204, {})
        matching = 'title = "Refresh Server"'
        ends = webhook_pb2.WEBHOOK_CONTENT_OPERATIONS
        wanted = webhook_pb2.Webhook(url=receiver.url, content=ends, operation_filter=matching)
        async with site.client() as client:
            await run(client, create_webhook_pb2.CreateWebhookRequest(webhook_id="ends", webhook=wanted))
            request = refresh_server_pb2.RefreshServerRequest(name="servers/s1")
            operations = [(await run(client, request)).operation.name for _ in range(2)]
            said = await play(site, "webhook", webhook="webhooks/ends")
            await run(client, delete_webhook_pb2.DeleteWebhookRequest(name="webhooks/ends"))
    for row, operation in zip(said["rows"], operations, strict=True):
        assert "OPERATION_SUCCEEDED" in row
        assert operation in row
        assert "the receiver answered 410 Gone (1 attempt)" in row
    assert [event["subject"] for event in receiver.events()] == [*operations, operations[0]]


async def test_an_operation_is_steered_and_found_by_counters_and_columns(site: Site) -> None:
    """Priority, hold with its reason, release and export do what they say; each counter leads to what it counts."""
    behave(site, start_seconds=300.0)
    async with site.client() as client:
        holder = (await ask(client, start_machine("web"))).name
        rename = rename_virtual_machine_pb2.RenameVirtualMachineRequest(name="virtualMachines/web", display_name="W")
        waiter = (await ask(client, rename)).name
        said = await play(site, "steer", operation=waiter, title="Rename Virtual Machine")
        (waiting,) = await list_jobs(client, waiter)
        behave(site)
        for name in (waiter, holder):
            (job,) = await list_jobs(client, name)
            await client.jobs.AbortJob(job_service_pb2.AbortJobRequest(name=job.name))
            await client.wait(name, timeout=LIMIT)
    assert "held by a person: not before noon" in said["held"]
    assert (waiting.priority, waiting.held) == (15, 0)
    assert said["file"] == f"{waiter.replace('/', '-')}.jsonl"
    assert [job["priority"] for job in said["exported"]] == [15]
    assert said["counters"]["Pending"] >= 1, "one that waits for locks is pending too"
    assert said["counters"]["Total"] == sum(said["counters"].values()) - said["counters"]["Total"]
    assert "Priority" in said["columns"]
    assert "User" not in said["columns"]
    assert "15" in said["row"].split()
    assert set(said["tabbedWhileClosed"]) == {"banner", "main"}, "the drawer is closed"
    drawer = said["drawer"]
    assert all(drawer["within"]), "Tab leads out of the open drawer"
    assert drawer["Tab"] == drawer["Shift+Tab"] > 4, "round by the links, the search and the tree"
    assert not drawer["beneath"], "what is beneath the drawer can be come to"
    assert drawer["search"] == "", "the first Escape emptied the search"


async def test_a_persons_lock_comes_and_goes_and_a_silent_hosts_is_broken_in_two_phases(site: Site) -> None:
    """First the break names the step that is not settled and frees nothing; by force it says what is in quarantine."""
    behave(site, start_seconds=300.0)
    async with site.client() as client:
        holder = await start_and_see_begun(client, "web")
        with site.paused("s1"):
            said = await play(site, "breakLocks", holder=holder)
        behave(site)
        await client.wait(holder, timeout=LIMIT)
    assert "new memory is put in" in said["taken"]
    assert "Start the guest" in said["first"]
    assert "servers/s1" in said["first"]
    assert "virtualMachines/web" in said["second"]


async def start_and_see_begun(client: Client, machine: str) -> str:
    """Start a machine, and return the operation once its host is in the middle of it."""
    operation = str((await ask(client, start_machine(machine))).name)
    async with asyncio.timeout(LIMIT):
        while not any(
            step.title == "Start the guest" and step.state == job_pb2.STEP_STATE_STARTED
            for job in await list_jobs(client, operation)
            for step in job.steps
        ):
            await asyncio.sleep(0.05)
    return operation


async def test_a_failure_says_what_to_do_and_what_led_to_it_and_a_person_signs_out(site: Site) -> None:
    """What failed, on which object, why, what the API says to do, and the failed step; then nothing is left."""
    site.fail_file.write_text("1/1")
    async with site.client() as client:
        rename = rename_virtual_machine_pb2.RenameVirtualMachineRequest(name="virtualMachines/db", display_name="D")
        failed = await run(client, rename, ended=FAILED)
        site.fail_file.unlink()
        said = await play(site, "failureAndOut", operation=failed.name)
    assert failed.error is not None
    assert "Rename Virtual Machine failed" in said["failure"]
    assert failed.error.message in said["failure"]
    assert "virtualMachines/db" in said["failure"]
    assert f"To do: {advice(failed.error.reason).partition(': `')[0]}" in said["failure"]
    assert failed.error.reason in said["failure"]
    assert "step 1" in said["failure"]
    assert said["who"].startswith("admin")
    assert said["rows"] == 0


async def test_a_list_of_very_many_jobs_scrolls_as_one_of_a_hundred(site: Site) -> None:
    """Scrolling through thousands of rows keeps the page no busier than scrolling through a hundred."""
    few, many = await asyncio.to_thread(list_costs, site)
    assert many["elements"] <= 2 * few["elements"], "only what is seen is in the page"
    assert_as_cheap(many, few)
