"""Bad input: the code, the reason and the field are right, and objects, locks, files and processes are as before.

Some of it is refused by the call, some only by the host, as the operation's error; both look the same to whoever asked.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import (
    FULL,
    create_machine,
    create_pool,
    create_repository,
    new_disk,
    picture,
    run,
    start_machine,
    wait_unlocked,
)
from tests.acceptance.site import Site, open_site
from virtyard.api.inventory.v1 import server_pb2, virtual_machine_pb2
from virtyard.api.operations.v1 import (
    delete_repository_pb2,
    delete_server_pool_pb2,
    discover_server_pb2,
    kill_virtual_machine_pb2,
    rename_virtual_machine_pb2,
    start_virtual_machine_pb2,
)
from virtyard_client.client import Client
from virtyard_client.errors import ClientError

pytestmark = pytest.mark.timeout(120)

WEB = "virtualMachines/web"
SMALL_BYTES = 32 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One bad request, and how it is refused."""

    request: Callable[[Site], Any]
    """Makes the request."""
    code: str
    """The gRPC code."""
    reason: str
    """The reason in ErrorInfo."""
    field: str = ""
    """The field at fault, in BadRequest or in ErrorInfo's metadata."""
    resource: str = ""
    """The name in ResourceInfo, where what is at fault is an object and not a field."""
    said: str = ""
    """Words that the message must have."""


def _discover(server: str, address: str) -> Any:
    return discover_server_pb2.DiscoverServerRequest(server_id=server, server=server_pb2.Server(agent_address=address))


def _outside_kernel(site: Site) -> Any:
    boot = virtual_machine_pb2.BootSource(
        kernel_path="/boot/../etc/shadow", initrd_path=str(site.shared / "initrd.img")
    )
    return create_machine(site, "fresh", boot=boot)


CASES = {
    "unknown object": Case(
        request=lambda _: start_machine("nobody"),
        code="NOT_FOUND",
        reason="NOT_FOUND",
        field="name",
        said="virtualMachines/nobody",
    ),
    "wrong state": Case(
        request=lambda _: kill_virtual_machine_pb2.KillVirtualMachineRequest(name=WEB),
        code="FAILED_PRECONDITION",
        reason="WRONG_STATE",
        field="name",
        said="is stopped",
    ),
    "pool in use": Case(
        request=lambda _: delete_server_pool_pb2.DeleteServerPoolRequest(name="serverPools/pool"),
        code="FAILED_PRECONDITION",
        reason="WRONG_STATE",
        field="name",
    ),
    "name taken": Case(
        request=lambda site: create_machine(site, "web"),
        code="ALREADY_EXISTS",
        reason="ALREADY_EXISTS",
        field="virtual_machine_id",
    ),
    "negative size": Case(
        request=lambda site: create_machine(site, "fresh", [new_disk(8), new_disk(-1)]),
        code="INVALID_ARGUMENT",
        reason="INVALID_REQUEST",
        field="disks[1].size_bytes",
    ),
    "path outside the storage roots": Case(
        request=lambda site: create_repository(site, "bad", path="/etc/virtyard-test/disks"),
        code="INVALID_ARGUMENT",
        reason="INVALID_REQUEST",
        field="repository_path",
        said="not under a storage root",
    ),
    "path out of the repository": Case(
        request=lambda site: create_repository(site, "bad", path=f"{site.shared}/shared/../../pki"),
        code="INVALID_ARGUMENT",
        reason="INVALID_REQUEST",
        field="repository.path",
    ),
    "path of another repository": Case(
        request=lambda site: create_repository(site, "bad", path=f"{site.shared}/shared/inside"),
        code="ALREADY_EXISTS",
        reason="ALREADY_EXISTS",
        field="repository.path",
        said="repositories/shared",
    ),
    "kernel outside the storage roots": Case(
        request=_outside_kernel,
        code="INVALID_ARGUMENT",
        reason="INVALID_REQUEST",
        field="virtual_machine.boot.kernel_path",
    ),
    "server of another pool": Case(
        request=lambda _: start_virtual_machine_pb2.StartVirtualMachineRequest(name=WEB, server="servers/s2"),
        code="INVALID_ARGUMENT",
        reason="INVALID_REQUEST",
        field="server",
        said="serverPools/other",
    ),
    "repository of another pool": Case(
        request=lambda site: create_machine(site, "fresh", [new_disk(8, "repositories/elsewhere")]),
        code="INVALID_ARGUMENT",
        reason="INVALID_REQUEST",
        field="disks[0].repository",
    ),
    "no server with room": Case(
        request=lambda _: start_machine("huge"),
        code="RESOURCE_EXHAUSTED",
        reason="CAPACITY_EXHAUSTED",
        field="name",
        said="servers/s1 has 1024 MiB free, 8192 MiB are needed",
    ),
    "host unreachable": Case(
        request=lambda _: _discover("s9", "127.0.0.1:1"),
        code="UNAVAILABLE",
        reason="UNAVAILABLE",
        resource="servers/s9",
        said="servers/s9 cannot be reached",
    ),
    "host of another name": Case(
        request=lambda site: _discover("s9", site.addresses["s2"]),
        code="UNAVAILABLE",
        reason="UNAVAILABLE",
        resource="servers/s9",
        said="servers/s9 cannot be reached",
    ),
    "repository full": Case(
        request=lambda site: create_machine(
            site, "fresh", [new_disk(8), new_disk(24, "repositories/limited"), new_disk(24, "repositories/limited")], 1
        ),
        code="RESOURCE_EXHAUSTED",
        reason="CAPACITY_EXHAUSTED",
        resource="repositories/limited",
        said="25165824 bytes are asked for",
    ),
    "etag conflict": Case(
        request=lambda _: rename_virtual_machine_pb2.RenameVirtualMachineRequest(
            name=WEB, display_name="Other", etag="0123456789abcdef"
        ),
        code="ABORTED",
        reason="ETAG_MISMATCH",
        field="etag",
    ),
}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Two servers in two pools, with room for little."""
    with open_site("embedded", ("s1", "s2"), memory_bytes=1 << 30) as opened:
        yield opened


@pytest.fixture
async def client(site: Site) -> AsyncIterator[Client]:
    """A client of the site, whose objects are made by whoever comes first."""
    async with site.client() as opened:
        if not (site.shared / "prepared").exists():
            await _prepare(site, opened)
            (site.shared / "prepared").touch()
        yield opened


async def _prepare(site: Site, client: Client) -> None:
    for server, pool in (("s1", "pool"), ("s2", "other")):
        await run(client, _discover(server, site.addresses[server]))
        await run(client, create_pool(site, pool, [server]))
    await run(client, create_repository(site, "shared"))
    await run(client, create_repository(site, "elsewhere", pool="serverPools/other"))
    await run(client, create_repository(site, "limited", capacity_mib=32))
    await run(client, create_machine(site, "web", [new_disk(8)], cards=1))
    await run(client, create_machine(site, "huge", memory_mib=8192))
    await wait_unlocked(client)


async def refusal(client: Client, request: Any) -> ClientError:
    """Return why a request was refused, by the call or by the operation that came of it."""
    try:
        story = await client.wait(await getattr(client.operations, _method(request))(request), timeout=30)
    except ClientError as error:
        return error
    assert story.error is not None, "it was not refused"
    return story.error


def _method(request: Any) -> str:
    return type(request).__name__.removesuffix("Request")


@pytest.mark.parametrize("name", list(CASES))
async def test_bad_input_is_refused_and_changes_nothing(site: Site, client: Client, name: str) -> None:
    """Each bad request is refused with its code, reason and field, and the site looks as it did before."""
    case = CASES[name]
    before = await picture(site, client)
    error = await refusal(client, case.request(site))
    assert (error.code, error.reason) == (case.code, case.reason), error.message
    fields = {violation.field for violation in error.violations} | {error.metadata.get("field", "")}
    assert case.field in fields or not case.field, error.message
    assert error.resource == case.resource or not case.resource, error.message
    assert case.field or case.resource, "each refusal says what is at fault"
    assert case.said in error.message
    await wait_unlocked(client)
    assert await picture(site, client) == before


@pytest.fixture
def small(site: Site) -> Iterator[Path]:
    """A file system of 32 MiB below the storage root."""
    place = site.shared / "small"
    place.mkdir(exist_ok=True)
    if os.getuid() != 0 or not sys.platform.startswith("linux"):
        pytest.skip("only root may mount a small file system, and only on Linux")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "virtyard-test", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine lets even root mount nothing")
    yield place
    subprocess.run(["umount", str(place)], check=True)


async def test_a_really_full_disk_is_refused_and_changes_nothing(site: Site, client: Client, small: Path) -> None:
    """On a file system of 32 MiB the blocks of the third disk do not fit; two whole disks and all else are undone."""
    await run(client, create_repository(site, "small", path=str(small / "disks")))
    await wait_unlocked(client)
    before = await picture(site, client)
    disks = [new_disk(12, "repositories/small", allocation=FULL) for _ in range(3)]
    error = await refusal(client, create_machine(site, "fresh", disks, cards=1))
    said = error.code, error.reason, error.resource
    assert said == ("RESOURCE_EXHAUSTED", "CAPACITY_EXHAUSTED", str(small / "disks")), error.message
    assert "bytes asked for" in error.message
    await wait_unlocked(client)
    assert await picture(site, client) == before
    await run(client, delete_repository_pb2.DeleteRepositoryRequest(name="repositories/small"))
