"""Verbs that read: tables, records, pages, JSON lines, and the verbs over operations and jobs."""

from __future__ import annotations

import json
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf import empty_pb2, timestamp_pb2
from google.rpc import code_pb2, status_pb2

from tests.integration.client.command_line import run, run_on_terminal
from tests.integration.client.fake_site import Cut, Site, bare_frame, job_frame, operation, operation_frame
from virtyard.api.inventory.v1 import inventory_service_pb2, virtual_machine_pb2
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.api.participant.v1 import participant_service_pb2
from virtyard.api.type.v1 import activity_pb2, lock_pb2, watch_pb2

INVENTORY = "/virtyard.api.inventory.v1.InventoryService"
JOBS = "/virtyard.api.jobs.v1.JobService"
OPERATIONS = "/google.longrunning.Operations"


def _machine(name: str, **fields: Any) -> virtual_machine_pb2.VirtualMachine:
    return virtual_machine_pb2.VirtualMachine(
        name=f"virtualMachines/{name}",
        state=virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING,
        server_pool="serverPools/Finance",
        server="servers/s1",
        memory_bytes=4 << 30,
        cpus=2,
        **fields,
    )


def _activity() -> activity_pb2.Activity:
    return activity_pb2.Activity(
        locked_by=[
            lock_pb2.LockInfo(holder="operations/7", purpose="Rename Virtual Machine", mode=lock_pb2.LOCK_MODE_X),
            lock_pb2.LockInfo(holder="operations/8", purpose="Kill Virtual Machine", waiting=True),
        ]
    )


async def test_list_follows_all_pages(site: Site) -> None:
    """The table has the objects of every page, with the hinted columns, units and who holds the lock."""
    page = inventory_service_pb2.ListVirtualMachinesResponse
    site.answers[f"{INVENTORY}/ListVirtualMachines"] = [
        page(virtual_machines=[_machine("web1", activity=_activity())], next_page_token="second"),
        page(virtual_machines=[_machine("db", display_name="Database")]),
    ]
    ended = await run(site, "vm", "list", "--filter", 'state = "RUNNING"', "--order-by", "name", "--page-size", "1")
    assert ended.out.splitlines() == [
        "NAME  DISPLAY NAME  STATE    SERVER POOL  SERVER  MEMORY  CPUS  LOCKED BY",
        (
            "web1                running  Finance      s1      4 GiB   2     "
            "operations/7 Rename Virtual Machine (+1 waiting)"
        ),
        "db    Database      running  Finance      s1      4 GiB   2",
    ]
    requests = site.requests(inventory_service_pb2.ListVirtualMachinesRequest)
    assert [(request.page_token, request.page_size, request.order_by) for request in requests] == [
        ("", 1, "name"),
        ("second", 1, "name"),
    ]
    assert requests[0].filter == 'state = "RUNNING"'


async def test_table_fits_the_terminal(site: Site) -> None:
    """On a terminal of 80 columns the widest columns are cut."""
    site.answers[f"{INVENTORY}/ListVirtualMachines"] = inventory_service_pb2.ListVirtualMachinesResponse(
        virtual_machines=[_machine("a-machine-with-quite-a-long-name", activity=_activity())]
    )
    ended = await run_on_terminal(site, "vm", "list", NO_COLOR="1")
    lines = ended.out.replace("\r", "").splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert "…" in lines[1]


async def test_list_as_json_is_one_object_a_line(site: Site) -> None:
    """--json gives the objects themselves, one a line, over all pages; --limit ends early."""
    page = inventory_service_pb2.ListVirtualMachinesResponse
    site.answers[f"{INVENTORY}/ListVirtualMachines"] = [
        page(virtual_machines=[_machine("a")], next_page_token="second"),
        page(virtual_machines=[_machine("b"), _machine("c")]),
    ]
    ended = await run(site, "vm", "list", "--json", "--limit", "2")
    assert [json.loads(line)["name"] for line in ended.out.splitlines()] == ["virtualMachines/a", "virtualMachines/b"]
    assert json.loads(ended.out.splitlines()[0])["memoryBytes"] == str(4 << 30)


async def test_empty_list_prints_no_table(site: Site) -> None:
    """Nothing to list is said on standard error, so that a script reads nothing."""
    site.answers[f"{INVENTORY}/ListServers"] = inventory_service_pb2.ListServersResponse()
    ended = await run(site, "server", "list")
    assert (ended.out, ended.err, ended.code) == ("", "There are no servers.\n", 0)


async def test_get_shows_every_field_that_is_set(site: Site) -> None:
    """A short name is completed; the record has units, times and what lies inside."""
    machine = _machine("web1", create_time=timestamp_pb2.Timestamp(seconds=0), generation=3)
    machine.boot.kernel_path = "/boot/vmlinuz"
    machine.create_time.FromSeconds(1_700_000_000)
    site.answers[f"{INVENTORY}/GetVirtualMachine"] = machine
    ended = await run(site, "vm", "get", "web1")
    assert site.requests(inventory_service_pb2.GetVirtualMachineRequest)[0].name == "virtualMachines/web1"
    lines = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert "name: virtualMachines/web1" in lines
    assert "memory: 4 GiB" in lines
    assert "create time: 2023-11-14T22:13:20Z" in lines
    assert "kernel path: /boot/vmlinuz" in lines


async def test_unknown_object_is_refused(site: Site) -> None:
    """What does not exist is refused with its reason and exit code 2."""
    site.answers[f"{INVENTORY}/GetServer"] = status_pb2.Status(
        code=code_pb2.NOT_FOUND, message="servers/x does not exist"
    )
    ended = await run(site, "server", "get", "x")
    advice = "  to do: check the name; the list of its kind shows what there is\n"
    assert ended.err == f"virtyard: servers/x does not exist (NOT_FOUND)\n{advice}"
    assert ended.code == 2


async def test_name_of_another_kind_is_a_usage_error(site: Site) -> None:
    """A full name of another collection is refused before anything is sent."""
    ended = await run(site, "server", "get", "virtualMachines/web1")
    assert "NAME takes servers/NAME or NAME, not 'virtualMachines/web1'" in " ".join(ended.err.split())
    assert ended.code == 2
    assert not site.asked


async def test_locks_and_jobs_are_listed(site: Site) -> None:
    """Locks and jobs are tables like objects, by the hints of their protos."""
    site.answers["/virtyard.api.locks.v1.LockService/ListLocks"] = lock_service_pb2.ListLocksResponse(
        locks=[
            lock_service_pb2.Lock(
                object="serverPools/Finance",
                mode=lock_pb2.LOCK_MODE_IX,
                owner="operations/7",
                fencing_token=9,
                purpose="Create Virtual Machine",
            )
        ]
    )
    site.answers[f"{JOBS}/ListJobs"] = job_service_pb2.ListJobsResponse(
        jobs=[
            job_pb2.Job(name="jobs/7-1", operation="operations/7", title="Create VM", state=job_pb2.JOB_STATE_RUNNING)
        ]
    )
    locks = await run(site, "lock", "list")
    assert locks.out.splitlines()[1].split("  ")[0] == "serverPools/Finance"
    assert " ix " in locks.out
    jobs = await run(site, "job", "list")
    assert jobs.out.splitlines()[1].split()[:2] == ["7-1", "operations/7"]


async def test_jobs_that_are_held_say_so_in_the_list(site: Site) -> None:
    """A column tells why and by whom, of those alone; without one there is no column, nor where others were chosen."""
    jobs = [job_pb2.Job(name=f"jobs/{number}-1", state=job_pb2.JOB_STATE_PENDING) for number in (7, 8, 9, 10)]
    answer = site.answers[f"{JOBS}/ListJobs"] = job_service_pb2.ListJobsResponse(jobs=jobs)
    assert "HELD" not in (await run(site, "job", "list")).out
    answer.jobs[0].held, answer.jobs[0].hold.principal = job_pb2.HELD_REASON_PERSON, "user/ann"
    answer.jobs[1].held, answer.jobs[1].hold.principal = job_pb2.HELD_REASON_FILTER, "filters/calm"
    answer.jobs[2].held = job_pb2.HELD_REASON_POISON
    head, *rows = (await run(site, "job", "list")).out.splitlines()
    assert head.split()[-1] == "HELD"
    assert [row[head.index("HELD") :] for row in rows] == ["person user/ann", "filter filters/calm", "poison", ""]
    assert "HELD" not in (await run(site, "job", "list", "--columns", "name,state")).out


async def test_job_show_has_its_steps(site: Site) -> None:
    """A job is a record followed by a table of its steps."""
    site.answers[f"{JOBS}/GetJob"] = job_pb2.Job(
        name="jobs/12-1",
        title="Create Virtual Disk",
        state=job_pb2.JOB_STATE_RUNNING,
        steps=[
            job_pb2.Step(
                id="1",
                title="write the image",
                participant="servers/s1",
                state=job_pb2.STEP_STATE_STARTED,
                attempt=1,
                progress=participant_service_pb2.Progress(percent=45),
                start_time=timestamp_pb2.Timestamp(seconds=1000),
            ),
            job_pb2.Step(
                id="2",
                title="record it",
                participant="inventory",
                state=job_pb2.STEP_STATE_DONE,
                attempt=2,
                progress=participant_service_pb2.Progress(percent=100),
                start_time=timestamp_pb2.Timestamp(seconds=1000),
                end_time=timestamp_pb2.Timestamp(seconds=1075),
            ),
        ],
    )
    ended = await run(site, "job", "show", "12-1")
    assert site.requests(job_service_pb2.GetJobRequest)[0].name == "jobs/12-1"
    head, first, second = (text.split() for text in ended.out.splitlines()[-3:])
    assert head == ["STEP", "TITLE", "PARTICIPANT", "STATE", "DONE", "TOOK", "ATTEMPT"]
    assert first == ["1", "write", "the", "image", "servers/s1", "started", "45", "%", "1"]
    assert second == ["2", "record", "it", "inventory", "done", "100", "%", "1", "m", "15", "s", "2"]


async def test_job_abort_says_what_happens_now(site: Site) -> None:
    """An accepted abort names the operation and how to watch it; one that came too late says so."""
    job = job_pb2.Job(name="jobs/12-1", operation="operations/12")
    site.answers[f"{JOBS}/AbortJob"] = [
        job_service_pb2.AbortJobResponse(job=job, jobs=["jobs/12-1", "jobs/12-2"]),
        job_service_pb2.AbortJobResponse(job=job, too_late=True),
        job_service_pb2.AbortJobResponse(job=job, jobs=["jobs/12-1"]),
    ]
    first = await run(site, "job", "abort", "12-1", "--reason", "wrong pool")
    assert first.out.startswith("operations/12: abort requested, which ends jobs/12-1, jobs/12-2;")
    assert site.requests(job_service_pb2.AbortJobRequest)[0].reason == "wrong pool"
    second = await run(site, "job", "abort", "12-1")
    assert "too late" in second.out
    third = await run(site, "job", "abort", "12-1", "--operation", "--preview")
    assert third.out.startswith("operations/12: would end: jobs/12-1; nothing was aborted")
    last = site.requests(job_service_pb2.AbortJobRequest)[-1]
    assert last.whole_operation
    assert last.validate_only


async def test_lock_watch_prints_how_each_lock_stands(site: Site) -> None:
    """A watch over locks prints who holds or waits for what, and what is gone."""
    lock = lock_service_pb2.Lock(
        object="servers/s1", mode=lock_pb2.LOCK_MODE_X, owner="operations/7", fencing_token=9, purpose="Forget Server"
    )
    frames = [
        lock_service_pb2.WatchLocksResponse(
            kind=watch_pb2.FRAME_KIND_CHANGED, resume_token="t1", name="servers/s1|operations/7", lock=lock
        ),
        lock_service_pb2.WatchLocksResponse(
            kind=watch_pb2.FRAME_KIND_REMOVED, resume_token="t2", name="servers/s1|operations/7"
        ),
    ]
    site.streams["/virtyard.api.locks.v1.LockService/WatchLocks"] = [frames]
    ended = await run(site, "lock", "watch")
    assert ended.out.splitlines() == [
        "servers/s1: mode x, owner operations/7, fencing token 9, purpose Forget Server, waiting no",
        "servers/s1|operations/7: removed",
    ]


async def test_job_watch_prints_changes(site: Site) -> None:
    """A watch over jobs prints a line for each change of a state, or each frame with --json."""
    frames = [
        job_service_pb2.WatchJobsResponse(
            kind=watch_pb2.FRAME_KIND_CHANGED,
            resume_token=f"t{state}",
            name="jobs/12-1",
            job=job_pb2.Job(name="jobs/12-1", title="Create VM", state=state),
        )
        for state in (job_pb2.JOB_STATE_RUNNING, job_pb2.JOB_STATE_COMPLETED)
    ]
    site.streams[f"{JOBS}/WatchJobs"] = [[frames[0], Cut()], [frames[1]]]
    ended = await run(site, "job", "watch")
    assert ended.out.splitlines() == ["jobs/12-1: Create VM: running", "jobs/12-1: Create VM: completed"]
    site.streams[f"{JOBS}/WatchJobs"] = [frames]
    as_json = await run(site, "job", "watch", "--json")
    assert [json.loads(line)["job"]["state"] for line in as_json.out.splitlines()] == [
        "JOB_STATE_RUNNING",
        "JOB_STATE_COMPLETED",
    ]


async def test_operation_wait_tells_by_its_exit_code(site: Site) -> None:
    """WaitOperation is asked again until the operation is done; how it ended is the exit code."""
    failed = operation(
        state=operation_pb2.OPERATION_STATE_FAILED,
        error=status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="no room"),
    )
    site.answers[f"{OPERATIONS}/WaitOperation"] = [operation(), failed]
    ended = await run(site, "operation", "wait", "12")
    assert ended.out == "operations/12: Create Virtual Machine: failed\n"
    assert "no room (RESOURCE_EXHAUSTED)" in " ".join(ended.err.split())
    assert ended.code == 1
    assert [request.name for request in site.requests(operations_pb2.WaitOperationRequest)] == ["operations/12"] * 2


async def test_operation_show_has_tree_and_metadata(site: Site) -> None:
    """An operation is shown with its jobs as they are now; the watch behind it ends at the bookmark."""
    active = operation(principal="admin", progress=participant_service_pb2.Progress(percent=43))
    site.answers[f"{OPERATIONS}/GetOperation"] = active
    site.streams[f"{JOBS}/WatchOperation"] = [
        [
            operation_frame(active, "a"),
            job_frame(1, "Create Virtual Machine", job_pb2.JOB_STATE_RUNNING, "b"),
            bare_frame(watch_pb2.FRAME_KIND_BOOKMARK, "c"),
            operation_frame(operation(state=operation_pb2.OPERATION_STATE_FAILED), "d"),
        ]
    ]
    ended = await run(site, "operation", "show", "operations/12")
    lines = ended.out.splitlines()
    assert lines[0] == "Create Virtual Machine  operations/12  active  43 %"
    assert lines[1].startswith("└─ ▸ Create Virtual Machine")
    assert any(line.split() == ["principal:", "admin"] for line in lines)


async def test_operation_list_is_a_table(site: Site) -> None:
    """Operations are listed by name, title, state and how far they are."""
    site.answers[f"{OPERATIONS}/ListOperations"] = operations_pb2.ListOperationsResponse(operations=[operation()])
    ended = await run(site, "operation", "list")
    assert ended.out.splitlines()[0].split() == ["NAME", "TITLE", "STATE", "DONE", "PRINCIPAL", "CREATED"]
    assert ended.out.splitlines()[1].startswith("operations/12  Create Virtual Machine  active")


async def test_operation_abort_returns_at_once_or_waits(site: Site) -> None:
    """Abort is CancelOperation; with --wait it is followed to its end and exits 3."""
    site.answers[f"{OPERATIONS}/CancelOperation"] = empty_pb2.Empty()
    site.answers[f"{OPERATIONS}/GetOperation"] = operation()
    cancelled = operation(
        state=operation_pb2.OPERATION_STATE_CANCELLED,
        error=status_pb2.Status(code=code_pb2.CANCELLED, message="aborted"),
    )
    site.streams[f"{JOBS}/WatchOperation"] = [[operation_frame(cancelled, "a")]]
    at_once = await run(site, "operation", "abort", "12")
    assert at_once.out.startswith("operations/12: abort requested;")
    assert at_once.code == 0
    site.answers[f"{OPERATIONS}/GetOperation"] = operation(state=operation_pb2.OPERATION_STATE_SUCCEEDED)
    assert (await run(site, "operation", "abort", "12")).out == "operations/12: has ended already: succeeded\n"
    site.answers[f"{OPERATIONS}/GetOperation"] = operation()
    waited = await run(site, "operation", "abort", "12", "--wait")
    assert waited.code == 3
    assert site.requests(operations_pb2.CancelOperationRequest)[0].name == "operations/12"


async def test_operation_watch_follows_to_the_end(site: Site) -> None:
    """Watch shows what a submit would have shown, and exits the same way; with --json every frame is a line."""
    site.answers[f"{OPERATIONS}/GetOperation"] = operation()
    frames = [
        job_frame(1, "Create Virtual Machine", job_pb2.JOB_STATE_RUNNING, "a"),
        operation_frame(operation(state=operation_pb2.OPERATION_STATE_PARTIAL), "b"),
    ]
    site.streams[f"{JOBS}/WatchOperation"] = [frames]
    ended = await run(site, "operation", "watch", "12")
    assert ended.out.splitlines()[-1] == "operations/12: Create Virtual Machine: partial"
    assert ended.code == 4
    as_json = await run(site, "operation", "watch", "12", "--json")
    assert [json.loads(line)["kind"] for line in as_json.out.splitlines()] == ["FRAME_KIND_CHANGED"] * 2
    assert as_json.code == 4


async def test_job_export_prints_a_line_of_json_for_each_job(site: Site) -> None:
    """An export is for a file or a program, so it is JSON without being asked; one that breaks off says so."""
    exported = [
        job_service_pb2.ExportJobsResponse(job=job_pb2.Job(name=f"jobs/{number}-1", archived=True)) for number in (8, 7)
    ]
    site.streams[f"{JOBS}/ExportJobs"] = [exported, [exported[0], Cut()]]
    ended = await run(site, "job", "export", "--filter", "archived = true", "--since", "2026-01-01T00:00:00Z")
    assert ended.code == 0
    assert [json.loads(text)["job"]["name"] for text in ended.out.splitlines()] == ["jobs/8-1", "jobs/7-1"]
    (asked,) = site.requests(job_service_pb2.ExportJobsRequest)
    assert (asked.filter, asked.since.ToJsonString()) == ("archived = true", "2026-01-01T00:00:00Z")
    broken = await run(site, "job", "export")
    assert broken.code != 0
    assert "cut by the test" in broken.err
