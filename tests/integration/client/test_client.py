"""The SDK against a real server over mutual TLS: errors, waiting, and watches that survive cuts."""

from __future__ import annotations

import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from tests.integration.client.fake_site import Cut, Site, bare_frame, job_frame, operation, operation_frame
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.operations.v1 import start_virtual_machine_pb2
from virtyard.api.type.v1 import lock_pb2, watch_pb2
from virtyard_client import Client, ClientError
from virtyard_client.watch import Patience

START = "/virtyard.api.operations.v1.OperationService/StartVirtualMachine"
WATCH = "/virtyard.api.jobs.v1.JobService/WatchOperation"
QUICK = Patience(first_pause=0.001, longest_pause=0.01, outage=5, silence=5)


def _any(message: object) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)  # type: ignore[arg-type] # any message will do
    return packed


async def test_error_details_reach_the_caller(site: Site) -> None:
    """Reason, violations, resource and lock holders of a Status arrive as attributes of one exception."""
    site.answers[START] = status_pb2.Status(
        code=code_pb2.FAILED_PRECONDITION,
        message="virtualMachines/web1 is running",
        details=[
            _any(
                error_details_pb2.ErrorInfo(reason="WRONG_STATE", domain="virtyard.io", metadata={"state": "running"})
            ),
            _any(
                error_details_pb2.BadRequest(
                    field_violations=[error_details_pb2.BadRequest.FieldViolation(field="name", description="stopped")]
                )
            ),
            _any(error_details_pb2.ResourceInfo(resource_name="virtualMachines/web1")),
            _any(lock_pb2.LockInfo(object="virtualMachines/web1", holder="operations/7", purpose="Start")),
        ],
    )
    async with Client.connect(site.context) as client:
        with pytest.raises(ClientError) as caught:
            await client.operations.StartVirtualMachine(
                start_virtual_machine_pb2.StartVirtualMachineRequest(name="virtualMachines/web1")
            )
    error = caught.value
    assert (error.code, error.reason, error.message) == (
        "FAILED_PRECONDITION",
        "WRONG_STATE",
        "virtualMachines/web1 is running",
    )
    assert [(one.field, one.description) for one in error.violations] == [("name", "stopped")]
    assert error.resource == "virtualMachines/web1"
    assert error.locks[0].holder == "operations/7"
    assert error.metadata == {"state": "running"}


async def test_wait_resumes_behind_the_last_frame(site: Site) -> None:
    """A stream that is cut, and one that says goodbye, are opened again with the token of their last frame."""
    machine = virtual_machine_pb2.VirtualMachine(name="virtualMachines/web1")
    done = operation(state=operation_pb2.OPERATION_STATE_SUCCEEDED, response=machine)
    site.streams[WATCH] = [
        [job_frame(1, "Create Virtual Machine", job_pb2.JOB_STATE_RUNNING, "t1"), Cut()],
        [
            bare_frame(watch_pb2.FRAME_KIND_KEEPALIVE, "t2"),
            job_frame(1, "Create Virtual Machine", job_pb2.JOB_STATE_COMPLETED, "t3"),
            bare_frame(watch_pb2.FRAME_KIND_GOODBYE, "t4"),
        ],
        [operation_frame(done, "t5")],
    ]
    async with Client.connect(site.context, patience=QUICK) as client:
        seen = [(change.job, story) async for change, story in client.watch_operation(operation())]
    requests = site.requests(job_service_pb2.WatchOperationRequest)
    assert [request.options.resume_token for request in requests] == ["", "t1", "t4"]
    assert [job.state if job else None for job, _ in seen] == [
        job_pb2.JOB_STATE_RUNNING,
        job_pb2.JOB_STATE_COMPLETED,
        None,
    ]
    assert seen[-1][1].done


async def test_wait_gives_up_when_the_service_stays_away(site: Site) -> None:
    """After the patience for an outage is over, the cut itself is what the caller gets."""
    site.streams[WATCH] = [[Cut()]]
    patience = Patience(first_pause=0.001, longest_pause=0.01, outage=0.05, silence=5)
    async with Client.connect(site.context, patience=patience) as client:
        with pytest.raises(ClientError) as caught:
            await client.wait("operations/12")
    assert caught.value.unreachable


async def test_wait_refuses_what_does_not_exist_at_once(site: Site) -> None:
    """A refusal is no outage: it is raised at the first answer."""
    site.streams[WATCH] = [[status_pb2.Status(code=code_pb2.NOT_FOUND, message="operations/12 does not exist")]]
    async with Client.connect(site.context, patience=QUICK) as client:
        with pytest.raises(ClientError, match="does not exist"):
            await client.wait("operations/12")
    assert len(site.asked) == 1


async def test_wait_returns_the_story_of_a_failure(site: Site) -> None:
    """A failed operation does not raise: the story has the error and the jobs."""
    failed = operation(
        state=operation_pb2.OPERATION_STATE_FAILED,
        error=status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="the repository is full"),
    )
    site.streams[WATCH] = [
        [job_frame(1, "Create Virtual Disk", job_pb2.JOB_STATE_FAILED, "t1"), operation_frame(failed, "t2")]
    ]
    async with Client.connect(site.context, patience=QUICK) as client:
        story = await client.wait(operation())
    assert story.error is not None
    assert story.error.message == "the repository is full"
    assert [job.title for job in story.roots()] == ["Create Virtual Disk"]


async def test_wait_ends_by_its_timeout(site: Site) -> None:
    """A timeout ends the waiting and nothing else."""
    import asyncio

    site.streams[WATCH] = [[asyncio.Event().wait]]
    async with Client.connect(site.context, patience=QUICK) as client:
        with pytest.raises(TimeoutError):
            await client.wait("operations/12", timeout=0.1)


async def test_silent_stream_is_opened_again(site: Site) -> None:
    """A stream without frames and keepalives counts as broken, so that a dead connection cannot hold a waiter."""
    import asyncio

    done = operation(state=operation_pb2.OPERATION_STATE_SUCCEEDED)
    site.streams[WATCH] = [[asyncio.Event().wait], [operation_frame(done, "t1")]]
    patience = Patience(first_pause=0.001, longest_pause=0.01, outage=5, silence=0.1)
    async with Client.connect(site.context, patience=patience) as client:
        assert (await client.wait("operations/12")).done


async def test_caller_without_a_certificate_of_the_site_is_not_served(site: Site, tmp_path: object) -> None:
    """A certificate of another authority gets no connection at all."""
    import json
    from pathlib import Path

    from tests.integration.client.fake_site import make_credentials

    _, stranger = make_credentials(Path(str(tmp_path)) / "other")
    content = json.loads(site.context.read_text()) | {"credentials": str(stranger)}
    site.answers[START] = operation()
    other = site.context.with_name("stranger.json")
    other.write_text(json.dumps(content))
    async with Client.connect(other) as client:
        with pytest.raises(ClientError) as caught:
            await client.operations.StartVirtualMachine(start_virtual_machine_pb2.StartVirtualMachineRequest())
    assert caught.value.unreachable
    assert not site.asked


async def test_trace_of_the_environment_goes_with_each_call(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRACEPARENT is sent on, so that a script's trace holds its calls."""
    import sys

    monkeypatch.delitem(sys.modules, "opentelemetry.propagate", raising=False)
    monkeypatch.setenv("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    site.answers[START] = operation()
    async with Client.connect(site.context) as client:
        await client.operations.StartVirtualMachine(start_virtual_machine_pb2.StartVirtualMachineRequest())
    assert site.metadata[0]["traceparent"] == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
