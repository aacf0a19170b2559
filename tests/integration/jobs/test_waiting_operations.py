"""Operations that wait for operations (P24): who works under an operation's locks cannot ask for another one.

Such work is child jobs within the operation's own set of locks. Who could ask for an operation and wait for it would
wait for themselves, and the lock service would see a queue in which somebody is at work.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.message import Message
from google.rpc import code_pb2

from tests.integration.jobs.site import LIMIT, Site, machine
from tests.integration.jobs.test_control import first_job, is_queued, rename
from tests.integration.jobs.test_explaining import HOLDER, commands, explain, number
from virtyard.agent.actions.contract import Context
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.jobs.v1 import wait_explanation_pb2 as pb
from virtyard.api.operations.v1 import operation_service_pb2_grpc, start_virtual_machine_pb2
from virtyard.api.type.v1.annotations_pb2 import Role
from virtyard.kernel.errors import PermissionDenied
from virtyard.runtime import rpc
from virtyard.runtime.channel import open_channel
from virtyard.runtime.rpc import role_of
from virtyard.runtime.server import serve
from virtyard.runtime.status import errors_named

PARTICIPANTS = ("service/inventory", "service/locks", "agent/s1")
"""Who carries out the steps of an operation under its locks, and the lock service, each by its certificate."""
WEB = "virtualMachines/web"


@asynccontextmanager
async def dialled(site: Site, identity: str) -> AsyncIterator[grpc.aio.Channel]:
    """Yield a channel to the scheduler over mutual TLS, with the certificate of this identity."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve(site.jobs.services, credentials=site.credentials, grace=0.2))
        channel = open_channel(server.address, site._issue(identity), "service/jobs")
        yield await stack.enter_async_context(channel)


def changing_methods(site: Site) -> Iterator[str]:
    """Yield the path of every unary method of the scheduler that does more than read."""
    for service in site.jobs.services:
        for method in service.methods:
            if role_of(method.descriptor) != Role.ROLE_VIEWER:
                yield method.path


async def test_a_participant_can_ask_for_no_operation(site: Site) -> None:
    """With its own certificate it is refused every rpc that starts or steers one, by role, and nothing is stored."""
    paths = list(changing_methods(site))
    assert "/virtyard.api.jobs.v1.JobService/SubmitOperation" in paths
    assert sum("/virtyard.api.operations.v1.OperationService/" in path for path in paths) > 50
    before = await site.row_counts()
    for identity in PARTICIPANTS:
        async with dialled(site, identity) as channel:
            for path in paths:
                with pytest.raises(PermissionDenied, match=identity), errors_named():
                    await channel.unary_unary(path, bytes, bytes)(b"", timeout=LIMIT)
            # Nor does it speak for a person, as the gateway does for whoever has signed in.
            with pytest.raises(PermissionDenied, match="may not speak for somebody else"), errors_named():
                await ask_for_rename(
                    channel, metadata=(("virtyard-user", "admin"), ("virtyard-roles", "administrator"))
                )
    assert await site.row_counts() == before


async def test_a_step_that_asks_for_an_operation_is_refused_and_its_own_is_undone(site: Site) -> None:
    """Under the lock of its machine a host asks for another operation on it: its step fails, and nothing waits."""
    async with asking_host(site) as host:
        outer = await site.wait(await begin(site))
    assert (host.asked, host.inner) == (1, "")
    assert "needs the role operator; agent/s1 has agent" in outer.error.message
    assert operation_pb2.OperationMetadata.FromString(outer.metadata.value).outcome == job_pb2.OUTCOME_NONE
    await site.wait_released()


async def test_without_the_permission_the_step_waits_for_itself(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inner one waits for the outer one's lock and is told so; the outer one only works; an abort ends it."""
    monkeypatch.setattr(rpc, "permit", lambda *_: None)
    async with asking_host(site) as host:
        outer = await begin(site)
        async with asyncio.timeout(LIMIT):
            await host.waits.wait()
        inner = host.inner
        await site.wait_until(lambda: is_queued(site, inner))
        told = await explain(site, inner)
        assert told.cause == pb.WAIT_CAUSE_LOCKS
        edges = [(edge.waiter, edge.blocker, edge.kind, edge.object) for edge in told.edges]
        assert edges == [(inner, outer, HOLDER, WEB)]
        assert f"abort {number(outer)}-1 --operation" in commands(told)
        # That the outer one waits for the inner one is known to nobody but the host.
        own = await explain(site, outer)
        assert (own.cause, list(own.edges)) == (pb.WAIT_CAUSE_RUNNING, [])
        request = job_service_pb2.AbortJobRequest(name=first_job(outer), reason="it waits for itself")
        assert not (await site.service.AbortJob(request)).too_late
        ended = await site.wait(outer)
        assert ended.error.code == code_pb2.CANCELLED
        assert not (await site.wait(inner)).HasField("error")
    await site.wait_released()


class AskingHost:
    """Asks, in the middle of an action, for an operation on the object of that action, and waits for its end."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Ask over this channel."""
        self.waits = asyncio.Event()
        self.asked = 0
        self.inner = ""
        self._channel = channel

    async def __call__(self, message: Message, context: Context) -> None:
        """Ask and wait; a refusal is the action's own failure."""
        self.asked += 1
        with errors_named():
            self.inner = (await ask_for_rename(self._channel)).name
            self.waits.set()
            stub: Any = operations_pb2_grpc.OperationsStub
            wait = stub(self._channel).WaitOperation
            while not (await wait(operations_pb2.WaitOperationRequest(name=self.inner))).done:
                pass


@asynccontextmanager
async def asking_host(site: Site) -> AsyncIterator[AskingHost]:
    """Make a machine, and have s1 ask for an operation while it starts one."""
    (site.share / "vmlinuz").touch()
    request = machine("web", disks=0, vnics=0)
    request.virtual_machine.boot.kernel_path = str(site.share / "vmlinuz")
    await site.succeed(request)
    async with dialled(site, "agent/s1") as channel:
        host = site.faults.before["StartGuest"] = AskingHost(channel)
        yield host


async def begin(site: Site) -> str:
    """Have the machine started on s1, and return the operation."""
    return (await site.submit(start_virtual_machine_pb2.StartVirtualMachineRequest(name=WEB, server="servers/s1"))).name


async def ask_for_rename(channel: grpc.aio.Channel, **rest: Any) -> operations_pb2.Operation:
    """Ask for an operation that needs the machine for itself."""
    stub: Any = operation_service_pb2_grpc.OperationServiceStub(channel)
    asked: operations_pb2.Operation = await stub.RenameVirtualMachine(rename("another name"), timeout=LIMIT, **rest)
    return asked
