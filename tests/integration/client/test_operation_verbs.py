"""Verbs that change something: what they send, what they print, and their exit codes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from google.protobuf import any_pb2, timestamp_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from tests.integration.client.command_line import run, run_on_terminal
from tests.integration.client.fake_site import Cut, Site, job_frame, operation, operation_frame
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2, plan_pb2
from virtyard.api.operations.v1 import create_virtual_machine_pb2
from virtyard.api.participant.v1 import participant_service_pb2
from virtyard.api.type.v1 import lock_pb2

CREATE = "/virtyard.api.operations.v1.OperationService/CreateVirtualMachine"
WATCH = "/virtyard.api.jobs.v1.JobService/WatchOperation"
WORDS = ("vm", "create", "web1", "--server-pool", "Finance", "--memory", "4G")
WAITS = "serverPools/Finance, held by operations/7 Create Server Pool"

SUCCEEDED = operation_pb2.OPERATION_STATE_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATE_FAILED
CANCELLED = operation_pb2.OPERATION_STATE_CANCELLED
PARTIAL = operation_pb2.OPERATION_STATE_PARTIAL

TIMES: dict[str, Any] = {
    "create_time": timestamp_pb2.Timestamp(seconds=100),
    "end_time": timestamp_pb2.Timestamp(seconds=101, nanos=200_000_000),
}


def _succeeded() -> Any:
    machine = virtual_machine_pb2.VirtualMachine(
        name="virtualMachines/web1",
        state=virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED,
        server_pool="serverPools/Finance",
        memory_bytes=4 << 30,
        cpus=2,
    )
    return operation(state=SUCCEEDED, response=machine, **TIMES)


def _story(last: Any) -> list[Any]:
    disk = "Create Virtual Disk"
    half = participant_service_pb2.Progress(percent=45, stage="writing image", done_units=1 << 29, total_units=1 << 30)
    return [
        operation_frame(operation(waiting_for=WAITS), "t1"),
        job_frame(1, "Create Virtual Machine", job_pb2.JOB_STATE_PENDING, "t2"),
        job_frame(2, disk, job_pb2.JOB_STATE_PENDING, "t3"),
        job_frame(1, "Create Virtual Machine", job_pb2.JOB_STATE_COMPLETED, "t4"),
        job_frame(2, disk, job_pb2.JOB_STATE_RUNNING, "t5"),
        job_frame(2, disk, job_pb2.JOB_STATE_RUNNING, "t6", progress=half),
        job_frame(2, disk, job_pb2.JOB_STATE_COMPLETED, "t7"),
        operation_frame(last, "t8"),
    ]


async def test_piped_output_is_one_line_for_each_change(site: Site) -> None:
    """Without a terminal each change of a state is a plain line, and progress alone is none."""
    site.answers[CREATE] = operation()
    site.streams[WATCH] = [_story(_succeeded())]
    ended = await run(site, *WORDS, "--cpus", "2")
    assert ended.err == ""
    assert ended.out.splitlines() == [
        "operations/12: Create Virtual Machine: accepted, 2 jobs",
        f"operations/12: waits for {WAITS}",
        "jobs/12-1: Create Virtual Machine: completed",
        "jobs/12-2: Create Virtual Disk: running",
        "jobs/12-2: Create Virtual Disk: completed",
        "operations/12: Create Virtual Machine: succeeded in 1.2 s",
        "virtualMachines/web1: state stopped, server pool Finance, memory 4 GiB, cpus 2",
    ]
    assert ended.code == 0
    sent = site.requests(create_virtual_machine_pb2.CreateVirtualMachineRequest)[0]
    assert (sent.virtual_machine.server_pool, sent.virtual_machine.memory_bytes) == ("serverPools/Finance", 4 << 30)
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", sent.request_id)
    assert site.requests(job_service_pb2.WatchOperationRequest)[0].options.resume_token == "before"


@pytest.mark.parametrize(
    ("state", "code"),
    [(SUCCEEDED, 0), (FAILED, 1), (CANCELLED, 3), (PARTIAL, 4)],
    ids=["succeeded", "failed", "cancelled", "partial"],
)
async def test_exit_code_says_how_the_operation_ended(site: Site, state: int, code: int) -> None:
    """Each end has its own exit code."""
    error = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="the repository is full")
    last = operation(state=state, error=error if state in (FAILED, CANCELLED) else None)
    site.answers[CREATE] = operation()
    site.streams[WATCH] = [[operation_frame(last, "t1")]]
    ended = await run(site, *WORDS)
    assert ended.code == code
    said = "the repository is full (RESOURCE_EXHAUSTED)" in " ".join(ended.err.split())
    assert said is (state in (FAILED, CANCELLED))


async def test_partial_end_says_what_is_missing(site: Site) -> None:
    """The job that was put off is told on its way, what is missing on standard error, the result as ever."""
    missing = "servers/s3: Present Repository to Server is put off"
    machine = virtual_machine_pb2.VirtualMachine(name="virtualMachines/web1", cpus=2)
    site.answers[CREATE] = operation()
    site.streams[WATCH] = [
        [
            job_frame(2, "Create Virtual Disk", job_pb2.JOB_STATE_RUNNING, "t1", deferred=True),
            job_frame(2, "Create Virtual Disk", job_pb2.JOB_STATE_COMPLETED, "t2", deferred=True),
            operation_frame(operation(state=PARTIAL, response=machine, residue=[missing], **TIMES), "t3"),
        ]
    ]
    ended = await run(site, *WORDS)
    assert ended.code == 4
    assert ended.err == f"virtyard: {missing}\n"
    assert ended.out.splitlines()[1:4] == [
        "jobs/12-2: Create Virtual Disk: running",
        "jobs/12-2: Create Virtual Disk: put off, as its server could not be reached",
        "jobs/12-2: Create Virtual Disk: completed",
    ]
    assert ended.out.splitlines()[-1].startswith("virtualMachines/web1: ")


async def test_failure_after_acceptance_is_not_the_call_s(site: Site) -> None:
    """--no-wait prints the operation's name and exits 0, whatever becomes of it."""
    site.answers[CREATE] = operation()
    ended = await run(site, *WORDS, "--no-wait")
    assert (ended.code, ended.out, ended.err) == (0, "operations/12\n", "")


async def test_json_prints_the_ended_operation_in_one_line(site: Site) -> None:
    """--json gives one object: the operation at its end, with response and metadata written out."""
    site.answers[CREATE] = operation()
    site.streams[WATCH] = [_story(_succeeded())]
    ended = await run(site, *WORDS, "--json")
    (text,) = ended.out.splitlines()
    body = json.loads(text)
    assert body["name"] == "operations/12"
    assert body["done"] is True
    assert body["response"]["name"] == "virtualMachines/web1"
    assert body["metadata"]["state"] == "OPERATION_STATE_SUCCEEDED"
    assert ended.code == 0


async def test_preview_prints_jobs_locks_and_servers(site: Site) -> None:
    """--preview sends validate_only and prints the plan; nothing is followed."""
    planned = plan_pb2.Plan(
        jobs=[
            plan_pb2.PlannedJob(
                id="1",
                title="Create Virtual Machine",
                object="virtualMachines/web1",
                steps=[plan_pb2.PlannedStep(id="1", title="write the machine", participant="inventory")],
            ),
            plan_pb2.PlannedJob(
                id="2",
                title="Create Virtual Disk",
                object="virtualDisks/web1-disk0",
                after=["1"],
                steps=[plan_pb2.PlannedStep(id="1", title="write the image", participant="servers/s1")],
            ),
        ],
        locks=[
            plan_pb2.PlannedLock(object="serverPools/Finance", mode=lock_pb2.LOCK_MODE_IX),
            plan_pb2.PlannedLock(object="virtualMachines/web1", mode=lock_pb2.LOCK_MODE_X),
            plan_pb2.PlannedLock(object="virtualDisks/web1-0", mode=lock_pb2.LOCK_MODE_X),
        ],
        servers=["servers/s1"],
    )
    preview = operation(state=SUCCEEDED, plan=planned, validate_only=True)
    preview.name = ""
    site.answers[CREATE] = preview
    ended = await run(site, *WORDS, "--preview", COLUMNS="58")
    assert ended.out.splitlines() == [
        "Create Virtual Machine: would run 2 jobs on 1 server; nothing was changed",
        "  1. Create Virtual Machine  virtualMachines/web1",
        "       - write the machine  inventory",
        "  2. Create Virtual Disk  virtualDisks/web1-disk0  after 1",
        "       - write the image  servers/s1",
        "Locks: IX serverPools/Finance, X virtualMachines/web1,",
        "X virtualDisks/web1-0",
        "Servers: servers/s1",
    ]
    assert ended.code == 0
    assert site.requests(create_virtual_machine_pb2.CreateVirtualMachineRequest)[0].validate_only


def _invalid() -> status_pb2.Status:
    info, bad, lock = any_pb2.Any(), any_pb2.Any(), any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason="INVALID_REQUEST"))
    violation = error_details_pb2.BadRequest.FieldViolation(
        field="virtual_machine.memory_bytes", description="at least 16 MiB"
    )
    bad.Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    lock.Pack(
        lock_pb2.LockInfo(object="serverPools/Finance", holder="operations/7", purpose="Create Server Pool", percent=43)
    )
    return status_pb2.Status(
        code=code_pb2.INVALID_ARGUMENT, message="the machine is too small", details=[info, bad, lock]
    )


async def test_refusal_names_the_flag_and_the_holder(site: Site) -> None:
    """A violation is shown by the flag that sets the field; the exit code says that nothing was changed."""
    site.answers[CREATE] = _invalid()
    ended = await run(site, *WORDS)
    said = ended.err.splitlines()
    assert said[:3] == [
        "virtyard: the machine is too small (INVALID_REQUEST)",
        "  --memory: at least 16 MiB",
        "  serverPools/Finance is held by operations/7 (Create Server Pool), 43 %",
    ]
    assert said[3].startswith("  to do: ask for it without --no-wait")
    assert (ended.code, ended.out) == (2, "")


async def test_sentence_about_a_field_is_said_once_and_by_its_flag(site: Site) -> None:
    """Where the message is the violation itself, it is not repeated, and it begins with the flag."""
    status = _invalid()
    status.message = "virtual_machine.memory_bytes: at least 16 MiB"
    del status.details[2]
    site.answers[CREATE] = status
    ended = await run(site, *WORDS)
    assert ended.err == "virtyard: --memory: at least 16 MiB (INVALID_REQUEST)\n"


async def test_refusal_as_json_is_one_line_on_standard_error(site: Site) -> None:
    """With --json the refusal is an object too, with code, reason and field."""
    site.answers[CREATE] = _invalid()
    ended = await run(site, *WORDS, "--json")
    (text,) = ended.err.splitlines()
    error = json.loads(text)["error"]
    assert (error["code"], error["reason"]) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert error["violations"] == [{"field": "virtual_machine.memory_bytes", "description": "at least 16 MiB"}]
    assert error["locks"][0]["holder"] == "operations/7"
    assert ended.code == 2


async def test_bad_value_is_refused_before_anything_is_sent(site: Site) -> None:
    """A value that the flag cannot take is a usage error: exit code 2, the flag and what is allowed, no call."""
    ended = await run(site, "vm", "create", "web1", "--memory", "4X")
    assert "--memory takes a size such as 512M, 4G, 1.5T" in " ".join(ended.err.split())
    assert ended.code == 2
    assert not site.asked


async def test_unreachable_services_have_their_own_exit_code(site: Site) -> None:
    """Where nobody listens, the message says so, and the exit code is 5."""
    content = json.loads(site.context.read_text()) | {"jobs": "127.0.0.1:1"}
    site.context.write_text(json.dumps(content))
    ended = await run(site, *WORDS)
    assert "UNAVAILABLE" in ended.err
    assert ended.code == 5


async def test_missing_context_says_where_it_was_looked_for(tmp_path: Any) -> None:
    """Without a context file the message names it and what writes one."""
    ended = await run(None, *WORDS, VIRTYARD_CONTEXT=str(tmp_path / "none.json"))
    assert "none.json" in ended.err
    assert "virtyard up" in ended.err
    assert ended.code == 5


async def test_timeout_leaves_the_operation_running(site: Site) -> None:
    """--timeout ends the command with exit code 5 and says that the operation goes on."""
    import asyncio

    site.answers[CREATE] = operation()
    site.streams[WATCH] = [[asyncio.Event().wait]]
    ended = await run(site, *WORDS, "--timeout", "300ms")
    assert "operations/12 has not ended after 0.3 s; it goes on" in ended.err
    assert ended.code == 5


async def test_interrupt_detaches(site: Site) -> None:
    """Ctrl-C ends the command, not the operation, and says how to go on."""
    import asyncio
    import os
    import signal
    import sys

    from tests.integration.client.command_line import environment

    site.answers[CREATE] = operation()
    watched = asyncio.Event()

    async def hold() -> None:
        watched.set()
        await asyncio.Event().wait()

    site.streams[WATCH] = [[job_frame(1, "Create Virtual Machine", job_pb2.JOB_STATE_RUNNING, "t1"), hold]]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "virtyard_client",
        *WORDS,
        env=environment(site),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        await watched.wait()
        while b"running" not in await process.stdout.readline():
            pass
    os.kill(process.pid, signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 130
    assert "detached; operations/12 goes on: `virtyard operation watch 12`" in " ".join(err.decode().split())
    assert b"Traceback" not in err


async def test_following_survives_a_cut(site: Site) -> None:
    """A stream that breaks is picked up behind the last line, so that no line is lost and none repeated."""
    story = _story(_succeeded())
    site.answers[CREATE] = operation()
    site.streams[WATCH] = [[*story[:5], Cut()], story[5:]]
    ended = await run(site, *WORDS)
    assert ended.out.count("Create Virtual Disk: running") == 1
    assert ended.out.splitlines()[-2] == "operations/12: Create Virtual Machine: succeeded in 1.2 s"
    assert ended.code == 0


def _screen_after(sent: str) -> str:
    """What is left of the bytes on a terminal, escape sequences taken out, as the last drawing."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent).replace("\r", "")


async def test_terminal_shows_the_tree(site: Site) -> None:
    """On a terminal the tree is drawn in place, and its last form stays; no line is wider than the terminal."""
    site.answers[CREATE] = operation()
    site.streams[WATCH] = [_story(_succeeded())]
    ended = await run_on_terminal(site, *WORDS)
    text = _screen_after(ended.out)
    assert "Create Virtual Machine  operations/12  succeeded in 1.2 s" in text
    assert "├─ ✓ Create Virtual Machine  completed" in text
    assert "└─ ✓ Create Virtual Disk     completed" in text
    assert "\x1b[32m" in ended.out
    assert max(len(line) for line in text.splitlines()) <= 80
    assert ended.code == 0


async def test_no_color_keeps_the_tree_and_drops_the_colours(site: Site) -> None:
    """NO_COLOR takes the colours away and nothing else."""
    site.answers[CREATE] = operation()
    site.streams[WATCH] = [_story(_succeeded())]
    ended = await run_on_terminal(site, *WORDS, NO_COLOR="1")
    assert "└─ ✓ Create Virtual Disk     completed" in _screen_after(ended.out)
    assert not re.search(r"\x1b\[[0-9;]*m", ended.out)


async def test_dumb_terminal_gets_plain_lines(site: Site) -> None:
    """A terminal that cannot redraw gets the lines that a pipe gets."""
    import os

    site.answers[CREATE] = operation()
    site.streams[WATCH] = [_story(_succeeded())]
    ended = await run_on_terminal(site, *WORDS, TERM="dumb")
    assert "jobs/12-2: Create Virtual Disk: running" in ended.out
    assert "\x1b" not in ended.out
    assert os.linesep in ended.out
