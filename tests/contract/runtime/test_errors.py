"""Every error of the catalogue, over the wire and within a process: its code, its details, and the way back."""

from __future__ import annotations

from collections.abc import Iterator

import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc
from virtyard.api.type.v1 import error_reason_pb2, lock_pb2
from virtyard.api.type.v1.annotations_pb2 import Role
from virtyard.kernel import errors
from virtyard.kernel.errors import FieldViolation, LockHolder, VirtyardError
from virtyard.kernel.permissions import Principal
from virtyard.runtime.call import Call
from virtyard.runtime.channel import open_channel
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.pki import Authority, Credentials
from virtyard.runtime.rpc import Service
from virtyard.runtime.server import serve
from virtyard.runtime.status import DOMAIN, code_of, named
from virtyard_client.errors import ClientError
from virtyard_client.render.advice import advice

JOBS = job_service_pb2.DESCRIPTOR.services_by_name["JobService"]


def catalogue(kind: type[VirtyardError] = VirtyardError) -> Iterator[type[VirtyardError]]:
    """Yield every error that can be raised: the leaves of the tree."""
    below = [each for each in kind.__subclasses__() if each.__module__ == errors.__name__]
    if not below:
        yield kind
    for each in below:
        yield from catalogue(each)


ALL = list(catalogue())
SAID_BY_THE_MESSAGE = {"INVALID_REQUEST", "BLOCKED_BY_EVENT", "CONDITION_STILL_HOLDS"}
"""Reasons whose message says by itself what to do: which field is wrong, which event is in the way."""


class Refusing:
    """A service that refuses with the error that is asked for by its reason."""

    async def GetJob(self, request: job_service_pb2.GetJobRequest, call: Call) -> job_pb2.Job:  # noqa: N802 - the rpc
        """Refuse, with everything that an error can carry."""
        (kind,) = [each for each in ALL if each.reason == request.name]
        raise kind(
            f"it is {request.name}",
            resource="virtualMachines/web",
            violations=[FieldViolation(field="disks[1].size_bytes", description="must be 1 or more")],
            metadata={"changed": "virtualMachines/web"},
            retry_after=1.5,
            locks=[LockHolder(object="virtualMachines/web", holder="operations/12", purpose="Start Virtual Machine")],
        )


def test_the_catalogue_is_walked() -> None:
    """The documented tree is the real one, each reason is of one error, and a person is told what to do about each."""
    assert errors.__doc__ is not None
    assert len(ALL) > 20
    assert len({kind.reason for kind in ALL}) == len(ALL)
    for kind in ALL:
        assert f" {kind.__name__} " in errors.__doc__
        assert f" {kind.reason} " in errors.__doc__
    named = {value.removeprefix("ERROR_REASON_") for value in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name}
    assert {kind.reason for kind in ALL} == named - {"UNSPECIFIED"}
    assert {kind.reason for kind in ALL if not advice(kind.reason)} == SAID_BY_THE_MESSAGE


@pytest.mark.parametrize("wire", [False, True], ids=["in process", "over the wire"])
async def test_every_error_arrives_with_its_details(wire: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A bare client of gRPC reads google's details; the services' way back and the SDK's give the same error again."""
    services = [Service(JOBS, Refusing())]
    if not wire:
        async with LocalChannel(services, Principal.of("user/v", frozenset({Role.ROLE_VIEWER}))) as channel:
            await walk(channel)
        return
    folder = tmp_path_factory.mktemp("pki")
    authority = Authority.create(folder / "ca", "virtyard.test")
    own = Credentials.load(authority.issue("service/jobs", folder / "jobs", hosts=["127.0.0.1"]))
    viewer = Credentials.load(authority.issue("user/v", folder / "v", roles=("viewer",)))
    async with (
        serve(services, credentials=own, feeds=[]) as server,
        open_channel(server.address, viewer, "service/jobs") as channel,
    ):
        await walk(channel)


async def walk(channel: grpc.aio.Channel) -> None:
    """Ask for every error."""
    stub = job_service_pb2_grpc.JobServiceStub(channel)
    for kind in ALL:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetJob(job_service_pb2.GetJobRequest(name=kind.reason))
        error = refused.value
        assert error.code() is code_of(kind("")), kind
        packed = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
        assert isinstance(packed, bytes)
        status = status_pb2.Status.FromString(packed)
        assert (status.code, status.message) == (error.code().value[0], f"it is {kind.reason}")
        details = {detail.type_url.rpartition(".")[2]: detail.value for detail in status.details}
        assert set(details) == {"ErrorInfo", "ResourceInfo", "BadRequest", "RetryInfo", "LockInfo"}
        info = error_details_pb2.ErrorInfo.FromString(details["ErrorInfo"])
        assert (info.reason, info.domain) == (kind.reason, DOMAIN)
        assert dict(info.metadata) == {"changed": "virtualMachines/web"}
        assert lock_pb2.LockInfo.FromString(details["LockInfo"]).holder == "operations/12"
        back = named(error)
        assert type(back) is kind
        assert (back.message, back.resource, back.retry_after) == (status.message, "virtualMachines/web", 1.5)
        assert back.violations[0].field == "disks[1].size_bytes"
        told = ClientError.from_rpc(error)
        assert (told.reason, told.resource, told.retry_after) == (kind.reason, "virtualMachines/web", 1.5)
        assert (told.violations[0].field, told.locks[0].holder) == ("disks[1].size_bytes", "operations/12")
