"""The agent as a process, over mutual TLS: it reports, refuses what is stale, and leaves its guests alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.integration.agent.scenario import DONE, FAILED, effect
from virtyard.agent.drivers.hypervisor.trial import stub
from virtyard.agent.drivers.process import identify
from virtyard.api.actions.v1 import kill_guest_pb2, start_guest_pb2
from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.participant.v1 import participant_service_pb2_grpc as participant_grpc
from virtyard.internal.inventory.v1 import host_service_pb2
from virtyard.kernel.errors import PermissionDenied
from virtyard.runtime.channel import open_channel
from virtyard.runtime.pki import Authority, Credentials
from virtyard.runtime.rpc import Call, Service
from virtyard.runtime.server import serve
from virtyard.runtime.status import errors_named, from_status

pytestmark = [pytest.mark.qemu]
UID = "0f8fad5bd9cb469fa16570867728950e"


class Inventory:
    """An inventory that only takes reports."""

    def __init__(self) -> None:
        """Begin with none."""
        self.reports: list[agent_service_pb2.Host] = []
        self.callers: set[str] = set()
        self._news = asyncio.Event()

    async def ReportHost(  # noqa: N802 - named as the rpc
        self, request: host_service_pb2.ReportHostRequest, call: Call
    ) -> host_service_pb2.ReportHostResponse:
        """Keep the report."""
        self.reports.append(request.host)
        self.callers.add(call.principal.identity)
        self._news.set()
        return host_service_pb2.ReportHostResponse(known=True, report_interval_seconds=30)

    async def wait_report(self, matches: Callable[[agent_service_pb2.Host], bool]) -> agent_service_pb2.Host:
        """Return the last report once it matches."""
        async with asyncio.timeout(30):
            while not self.reports or not matches(self.reports[-1]):
                self._news.clear()
                await self._news.wait()
        return self.reports[-1]


class Site:
    """A control plane with one server whose agent is a process."""

    def __init__(self, folder: Path, runtime: Path, credentials: Credentials, inventory: Inventory) -> None:
        """Keep everything below `folder`."""
        self.folder = folder
        self.inventory = inventory
        self._runtime = runtime
        self._credentials = credentials

    @contextlib.asynccontextmanager
    async def agent(self, how: signal.Signals = signal.SIGTERM) -> AsyncIterator[str]:
        """Run the agent, ended by this signal; gives its address."""
        before = len(self.inventory.reports)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "virtyard_client", "agent", "--name", "s1"),
            *("--state", str(self.folder / "state"), "--credentials", str(self.folder / "s1")),
            *("--context", str(self.folder / "context.json"), "--storage-root", str(self.folder / "share")),
            *("--driver", "qemu", "--memory-bytes", str(1 << 30), "--cpus", "2"),
            env={**os.environ, "VIRTYARD_RUNTIME": str(self._runtime)},
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            await self.inventory.wait_report(lambda _: len(self.inventory.reports) > before)
            yield self.inventory.reports[-1].agent_address
            process.send_signal(how)
            async with asyncio.timeout(10):
                assert await process.wait() == (0 if how is signal.SIGTERM else -how)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def run(self, address: str, sent: participant.Effect, identity: str = "jobs") -> participant.EffectRecord:
        """Send one effect as a service of the control plane, and return its record."""
        credentials = Credentials.load(self.folder / identity)
        channel = open_channel(address, credentials, "agent/s1")
        try:
            async with asyncio.timeout(30):
                stub = cast(Any, participant_grpc.ParticipantServiceStub(channel))
                with errors_named():
                    greeted = await stub.Hello(participant.HelloRequest())
                    async for response in stub.Execute(_once(sent, greeted.hello)):
                        for report in response.reports:
                            if report.HasField("result"):
                                return cast(participant.EffectRecord, report.result)
        finally:
            await channel.close()
        raise AssertionError("the stream ended without a result")


async def _once(sent: participant.Effect, hello: int) -> AsyncIterator[participant.ExecuteRequest]:
    yield participant.ExecuteRequest(effects=[sent], hello=hello)


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="vy-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
async def site(tmp_path: Path, runtime: Path) -> AsyncIterator[Site]:
    """An authority, an inventory that listens, and no agent yet."""
    authority = Authority.create(tmp_path / "pki", "test.internal")
    for identity, name in (("service/inventory", "inventory"), ("service/jobs", "jobs"), ("agent/s1", "s1")):
        authority.issue(identity, tmp_path / name, hosts=["127.0.0.1"])
    (tmp_path / "share").mkdir()
    (tmp_path / "share" / "kernel").write_bytes(stub())
    inventory = Inventory()
    service = Service(host_service_pb2.DESCRIPTOR.services_by_name["HostService"], inventory)
    async with serve([service], "127.0.0.1:0", Credentials.load(tmp_path / "inventory")) as server:
        (tmp_path / "context.json").write_text(json.dumps({"inventory": server.address}))
        yield Site(tmp_path, runtime, Credentials.load(tmp_path / "jobs"), inventory)


def start(folder: Path, **fields: Any) -> participant.Effect:
    """The effect that starts the guest."""
    do = start_guest_pb2.StartGuest(
        virtual_machine="virtualMachines/db",
        uid=UID,
        cpus=1,
        memory_bytes=64 << 20,
        kernel_path=str(folder / "share" / "kernel"),
    )
    return effect("1/1/1", do, undo=kill(), **fields)


def kill() -> kill_guest_pb2.KillGuest:
    """The message that ends the guest."""
    return kill_guest_pb2.KillGuest(virtual_machine="virtualMachines/db", uid=UID)


async def test_an_agent_reports_as_its_own_server(site: Site) -> None:
    """The first report has the facts of the host, under the agent's certificate."""
    async with site.agent() as address:
        host = site.inventory.reports[0]
        assert site.inventory.callers == {"agent/s1"}
        assert (host.server, host.hypervisor, host.memory_bytes, host.cpus) == ("servers/s1", "qemu", 1 << 30, 2)
        assert host.accelerator in host.hypervisor_reason
        assert address.startswith("127.0.0.1:")
        assert host.host_id


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_guests_outlive_their_agent(site: Site, tmp_path: Path, how: signal.Signals) -> None:
    """However the agent ends, the guest runs on; the next agent listens where it did, reports it and can end it."""
    async with site.agent(how) as address:
        assert (await site.run(address, start(tmp_path))).state == DONE
        host = await site.inventory.wait_report(lambda host: bool(host.guests))
        (guest,) = host.guests
        assert (guest.uid, guest.virtual_machine, guest.mark) == (UID, "virtualMachines/db", "1/1/1")
    assert identify(guest.process_id) is not None
    async with site.agent() as again:
        assert again == address
        assert list(site.inventory.reports[-1].guests) == [guest]
        assert (await site.run(again, start(tmp_path))).state == DONE
        (record, result) = (await site.run(again, effect("2/1/1", kill(), token=2))), kill_guest_pb2.KillGuestResult()
        assert record.result.Unpack(result)
        assert result.was_running
        await site.inventory.wait_report(lambda host: not host.guests)
    assert identify(guest.process_id) is None


async def test_a_guest_that_ends_by_itself_is_reported(site: Site, tmp_path: Path) -> None:
    """A guest whose process dies is reported as not running, without waiting for the next regular report."""
    async with site.agent() as address:
        await site.run(address, start(tmp_path))
        host = await site.inventory.wait_report(lambda host: bool(host.guests))
        os.kill(host.guests[0].process_id, signal.SIGKILL)
        await site.inventory.wait_report(lambda host: not host.guests[0].running)
        await site.run(address, effect("2/1/1", kill(), token=2))


async def test_what_is_stale_is_refused_at_the_port(site: Site, tmp_path: Path) -> None:
    """A lower epoch and an overtaken token are refused over the wire, and no guest is started."""
    async with site.agent() as address:
        await site.run(address, effect("1/2/1", kill(), token=5, epoch=3))
        for late, reason in (
            (start(tmp_path, token=6, epoch=2), "STALE_EPOCH"),
            (start(tmp_path, epoch=3), "STALE_TOKEN"),
        ):
            record = await site.run(address, late)
            assert (record.state, from_status(record.error).reason) == (FAILED, reason)
        host = await site.inventory.wait_report(lambda _: True)
        assert list(host.guests) == []


async def test_only_services_may_send_effects(site: Site, tmp_path: Path) -> None:
    """Another agent's certificate is refused, whatever it sends."""
    async with site.agent() as address:
        with pytest.raises(PermissionDenied):
            await site.run(address, start(tmp_path), identity="s1")
