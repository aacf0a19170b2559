"""The errors of every real service, as a program with nothing but generated stubs meets them, and as JSON."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from tests.acceptance.front_door import Program, let_in
from tests.acceptance.site import Site, open_site
from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.inventory.v1 import inventory_service_pb2, upload_service_pb2
from virtyard.api.jobs.v1 import (
    automation_service_pb2,
    job_service_pb2,
    lock_control_service_pb2,
    lock_control_service_pb2_grpc,
)
from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.api.participant.v1 import participant_service_pb2
from virtyard.api.type.v1 import lock_pb2, watch_pb2
from virtyard.runtime.pki import Authority, Credentials, dns_name

pytestmark = pytest.mark.timeout(180)

LIMIT = 60.0
SCHEDULER = "service/jobs"
"""Who calls agents."""
TRIGGER = "triggers/restart-policy"
"""An object that is there from the start."""
HELD = "triggers/catch-up"
"""Another one, on which there is a person's lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A bad call, and the error that it gives."""

    method: MethodDescriptor
    requests: Sequence[Message]
    code: grpc.StatusCode
    reason: str
    fields: Sequence[str] = ()
    """The fields in BadRequest; nothing if there is none."""
    resource: str = ""
    """The name in ResourceInfo; nothing if there is none."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Of ErrorInfo."""
    holder: str = ""
    """How the holder in LockInfo begins; nothing if there is none."""
    retry_seconds: float = 0.0
    """The delay in RetryInfo; 0 if there is none."""
    caller: str = "user/admin"
    """Whose certificate the call is made with."""
    http: int = 0
    """The status as JSON; 0 where it is no unary public method."""


def method(module: Any, service: str, name: str) -> MethodDescriptor:
    """Return a method."""
    found: MethodDescriptor = module.DESCRIPTOR.services_by_name[service].methods_by_name[name]
    return found


def needs_a_service(path: str) -> dict[str, str]:
    """Return what is said to a person who calls what services call."""
    return {"method": f"/{path}", "principal": "user/admin", "role": "service"}


LOCKS = partial(method, lock_service_pb2, "LockService")
CONTROL = partial(method, lock_control_service_pb2, "LockControlService")
AGENT = partial(method, agent_service_pb2, "AgentService")
UPLOAD = method(upload_service_pb2, "UploadService", "Upload")
INVALID, MISSING = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
DENIED = grpc.StatusCode.PERMISSION_DENIED
TAKE = lock_control_service_pb2.TakeLockRequest
CASES = {
    "locks: page size": Case(
        method=LOCKS("ListLocks"),
        requests=[lock_service_pb2.ListLocksRequest(page_size=-1)],
        code=INVALID,
        reason="INVALID_REQUEST",
        fields=["page_size"],
        http=400,
    ),
    "locks: page token": Case(
        method=LOCKS("ListLocks"),
        requests=[lock_service_pb2.ListLocksRequest(page_token="none")],
        code=INVALID,
        reason="INVALID_REQUEST",
        fields=["page_token"],
        http=400,
    ),
    "locks: resume token": Case(
        method=LOCKS("WatchLocks"),
        requests=[lock_service_pb2.WatchLocksRequest(options=watch_pb2.WatchOptions(resume_token="none"))],
        code=INVALID,
        reason="INVALID_REQUEST",
        fields=["options.resume_token"],
    ),
    "locks: a service's method": Case(
        method=LOCKS("Acquire"),
        requests=[lock_service_pb2.AcquireRequest()],
        code=DENIED,
        reason="PERMISSION_DENIED",
        metadata=needs_a_service("virtyard.api.locks.v1.LockService/Acquire"),
    ),
    "locks of people: no purpose": Case(
        method=CONTROL("TakeLock"),
        requests=[TAKE(object=TRIGGER, duration=Duration(seconds=60))],
        code=INVALID,
        reason="INVALID_REQUEST",
        fields=["purpose"],
        http=400,
    ),
    "locks of people: no object": Case(
        method=CONTROL("TakeLock"),
        requests=[TAKE(object="servers/none", purpose="x", duration=Duration(seconds=60))],
        code=MISSING,
        reason="NOT_FOUND",
        resource="servers/none",
        metadata={"field": "object"},
        http=404,
    ),
    "locks of people: held": Case(
        method=CONTROL("TakeLock"),
        requests=[TAKE(object=HELD, purpose="x", duration=Duration(seconds=60), no_wait=True)],
        code=grpc.StatusCode.FAILED_PRECONDITION,
        reason="WRONG_STATE",
        resource=HELD,
        holder="locks/",
        http=400,
    ),
    "agent: no guest": Case(
        method=AGENT("ReadSerialLog"),
        requests=[agent_service_pb2.ReadSerialLogRequest(uid="none")],
        code=MISSING,
        reason="NOT_FOUND",
        resource="none",
    ),
    "agent: no first message": Case(
        method=AGENT("OpenDisplay"),
        requests=[agent_service_pb2.OpenDisplayRequest()],
        code=INVALID,
        reason="INVALID_REQUEST",
        fields=["uid"],
    ),
    "agent: a service's method": Case(
        method=AGENT("ListLedger"),
        requests=[agent_service_pb2.ListLedgerRequest()],
        code=DENIED,
        reason="PERMISSION_DENIED",
        metadata=needs_a_service("virtyard.api.agent.v1.AgentService/ListLedger"),
    ),
    "agent: closed, as no scheduler has greeted it": Case(
        method=method(participant_service_pb2, "ParticipantService", "Settle"),
        requests=[participant_service_pb2.SettleRequest(step_key="1/1/1", phase=participant_service_pb2.PHASE_DO)],
        code=grpc.StatusCode.UNAVAILABLE,
        reason="UNAVAILABLE",
        retry_seconds=1.0,
        caller=SCHEDULER,
    ),
    "upload: no header": Case(
        method=UPLOAD,
        requests=[upload_service_pb2.UploadRequest(data=b"x")],
        code=INVALID,
        reason="INVALID_REQUEST",
        fields=["header"],
    ),
    "upload: no size": Case(
        method=UPLOAD,
        requests=[upload_service_pb2.UploadRequest(header=upload_service_pb2.UploadHeader())],
        code=INVALID,
        reason="INVALID_REQUEST",
        fields=["header.size_bytes"],
    ),
    "inventory: no object": Case(
        method=method(inventory_service_pb2, "InventoryService", "GetServer"),
        requests=[inventory_service_pb2.GetServerRequest(name="servers/none")],
        code=MISSING,
        reason="NOT_FOUND",
        resource="servers/none",
        http=404,
    ),
    "jobs: a wrong name": Case(
        method=method(job_service_pb2, "JobService", "GetJob"),
        requests=[job_service_pb2.GetJobRequest(name="none")],
        code=INVALID,
        reason="INVALID_REQUEST",
        fields=["name"],
        http=400,
    ),
    "jobs: no webhook": Case(
        method=method(automation_service_pb2, "AutomationService", "GetWebhookStatus"),
        requests=[automation_service_pb2.GetWebhookStatusRequest(name="webhooks/none")],
        code=MISSING,
        reason="NOT_FOUND",
        resource="webhooks/none",
        http=404,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An error as it arrives."""

    code: str
    message: str
    details: Sequence[tuple[str, bytes]]
    """Full name and bytes of each detail."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Run a site with a server, and take the person's lock."""
    with open_site("embedded", ("s1",)) as opened:
        Authority.load(opened.folder / "pki").issue(SCHEDULER, opened.folder / "callers" / SCHEDULER)
        asyncio.run(hold(opened))
        yield opened


@pytest.fixture(scope="module")
def program(site: Site) -> Program:
    """Return a program that is let in at the front door."""
    return asyncio.run(let_in(site))


async def hold(site: Site) -> None:
    """Take the lock that is in the way."""
    request = TAKE(object=HELD, purpose="to be in the way", duration=Duration(seconds=3600))
    async with channel_to(site, "jobs") as channel:
        stub = lock_control_service_pb2_grpc.LockControlServiceStub(channel)
        await stub.TakeLock(request, timeout=LIMIT, wait_for_ready=True)


def channel_to(site: Site, service: str, caller: str = "user/admin") -> grpc.aio.Channel:
    """Return a channel as any program would open one, with the certificate of a person or another caller."""
    on_host = service in ("agent", "participant")
    identity = "agent/s1" if on_host else f"service/{service}"
    address = site.addresses["s1"] if on_host else json.loads(site.context.read_text())[service]
    own = site.folder / ("pki" if caller == "user/admin" else "callers") / caller
    credentials = Credentials.load(own).for_channel()
    options = [("grpc.ssl_target_name_override", dns_name(identity)), ("grpc.enable_http_proxy", 0)]
    return grpc.aio.secure_channel(address, credentials, options=options)


async def told_by_grpc(site: Site, case: Case) -> Told:
    """Make the call with the names and shapes of its method alone; return the error that it gives.

    A refusal that comes while grpcio is sending a message of a stream is lost to its client, which makes up an INTERNAL
    of its own without any metadata ("execute_batch"); such a call is made again.
    """
    error = await refusal_of(site, case)
    for _ in range(5):
        if error.code() is grpc.StatusCode.INTERNAL and case.method.client_streaming and not error.trailing_metadata():
            error = await refusal_of(site, case)
    packed = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    assert isinstance(packed, bytes)
    status = status_pb2.Status.FromString(packed)
    assert (status.code, status.message) == (error.code().value[0], error.details())
    details = [(one.type_url.removeprefix("type.googleapis.com/"), one.value) for one in status.details]
    return Told(code=error.code().name, message=status.message, details=details)


async def refusal_of(site: Site, case: Case) -> grpc.aio.AioRpcError:
    """Make the call, and return the error that its client raises."""
    method = case.method
    kind, answer = (
        message_factory.GetMessageClass(method.input_type),
        message_factory.GetMessageClass(method.output_type),
    )
    how = ("stream" if method.client_streaming else "unary") + "_" + ("stream" if method.server_streaming else "unary")
    service = method.full_name.split(".")[2]  # as its package
    async with channel_to(site, service, case.caller) as channel:
        path = f"/{method.containing_service.full_name}/{method.name}"
        call = getattr(channel, how)(path, kind.SerializeToString, answer.FromString)
        sent = iter(case.requests) if method.client_streaming else case.requests[0]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await exhaust(call(sent, timeout=LIMIT, wait_for_ready=True))
    return refused.value


async def exhaust(call: Any) -> None:
    """Take all that a call gives."""
    if hasattr(call, "__await__"):
        await call
        return
    async for _ in call:
        pass


async def told_by_json(program: Program, case: Case) -> tuple[int, Told]:
    """Make the call as curl would, and return the status and the error."""
    url = f"http://{program.address}/{case.method.containing_service.full_name}/{case.method.name}"
    headers = {"content-type": "application/json", **dict(program.bearer)}
    async with httpx.AsyncClient(trust_env=False, timeout=LIMIT) as client:
        answer = await client.post(url, content=json_format.MessageToJson(case.requests[0]), headers=headers)
    body = answer.json()
    details = [(one["type"], base64.b64decode(one["value"] + "==")) for one in body["details"]]
    return answer.status_code, Told(code=body["code"].upper(), message=body["message"], details=details)


def check(told: Told, case: Case) -> None:
    """See that an error is what the case says, with these details and no others."""
    assert told.code == case.code.name, told
    found = dict(told.details)
    info = error_details_pb2.ErrorInfo.FromString(found.pop("google.rpc.ErrorInfo"))
    assert (info.reason, info.domain) == (case.reason, "virtyard")
    assert dict(info.metadata) == case.metadata
    bad = error_details_pb2.BadRequest.FromString(found.pop("google.rpc.BadRequest", b""))
    assert [each.field for each in bad.field_violations] == list(case.fields)
    assert all(each.description and each.description in told.message for each in bad.field_violations), told
    resource = error_details_pb2.ResourceInfo.FromString(found.pop("google.rpc.ResourceInfo", b""))
    assert resource.resource_name == case.resource
    lock = lock_pb2.LockInfo.FromString(found.pop("virtyard.api.type.v1.LockInfo", b""))
    assert lock.holder.startswith(case.holder)
    assert bool(lock.holder) is bool(case.holder)
    retry = error_details_pb2.RetryInfo.FromString(found.pop("google.rpc.RetryInfo", b""))
    assert retry.retry_delay.ToTimedelta().total_seconds() == case.retry_seconds
    assert not found, "no detail that is not expected"


@pytest.mark.parametrize("name", CASES)
async def test_a_bare_client_is_told_what_is_wrong(site: Site, name: str) -> None:
    """By the code, and by details of google's types: reason, field, resource, and who is in the way."""
    check(await told_by_grpc(site, CASES[name]), CASES[name])


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.http])
async def test_json_tells_the_same(site: Site, program: Program, name: str) -> None:
    """Whoever calls by curl reads the same error, under the status of HTTP that Connect gives the code."""
    status, told = await told_by_json(program, CASES[name])
    assert status == CASES[name].http
    check(told, CASES[name])


async def test_json_without_a_token_is_told_so(site: Site, program: Program) -> None:
    """Nothing of the call is looked at before."""
    case = Case(
        method=LOCKS("ListLocks"),
        requests=[lock_service_pb2.ListLocksRequest(page_size=-1)],
        code=grpc.StatusCode.UNAUTHENTICATED,
        reason="UNAUTHENTICATED",
        http=401,
    )
    status, told = await told_by_json(replace(program, api_token="none"), case)
    assert status == case.http
    check(told, case)
