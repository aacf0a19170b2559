"""Clients that are not ours: google-api-core's operations client, and grpc-js with the protos loaded at run time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.acceptance.asking import create_machine, new_disk, prepare
from tests.acceptance.other_clients import make_by_google, make_by_grpc_js, missing_for_grpc_js
from tests.acceptance.site import Site, open_site
from virtyard.api.inventory.v1 import inventory_service_pb2, inventory_service_pb2_grpc
from virtyard.api.jobs.v1 import operation_pb2
from virtyard.runtime.pki import Credentials


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with one server."""
    with open_site("split") as running:
        yield running


@pytest.fixture(autouse=True)
async def pool(site: Site) -> None:
    """The pool and the repository, made once."""
    async with site.client() as client:
        if not (site.shared / "shared").exists():
            await prepare(site, client)


async def test_googles_operations_client_waits_for_an_operation(site: Site) -> None:
    """Proves that google-api-core polls our operations unchanged, and gets the typed response and metadata."""
    request = create_machine(site, "google", [new_disk(1)])
    admin = site.folder / "pki" / "user" / "admin"
    machine, metadata = await asyncio.to_thread(make_by_google, site.addresses["jobs"], admin, request)
    assert machine.name == "virtualMachines/google"
    assert metadata.state == operation_pb2.OPERATION_STATE_SUCCEEDED


@pytest.mark.skipif(bool(missing_for_grpc_js()), reason=missing_for_grpc_js())
async def test_grpc_js_makes_a_machine_with_protos_loaded_at_run_time(site: Site, tmp_path: Path) -> None:
    """Proves that another language needs nothing but the protos and a certificate."""
    request = create_machine(site, "node", [new_disk(1)], 1)
    admin = site.folder / "pki" / "user" / "admin"
    said = await asyncio.to_thread(make_by_grpc_js, site.addresses["jobs"], admin, request, tmp_path)
    assert not said.get("error")
    assert said["jobs"] == [
        f"{title}: JOB_STATE_COMPLETED"
        for title in (
            "Create Virtual Machine",
            "Add Virtual Machine to Server Pool",
            "Create Virtual Disk",
            "Add Virtual Disk to Virtual Machine",
            "Create VNIC on Virtual Machine",
        )
    ]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_service_is_verified_by_the_name_that_is_dialled(site: Site, host: str) -> None:
    """A bare client that dials a host name or an address finds it in the certificate, of every service."""
    for service in ("inventory", "jobs", "locks"):
        port = site.addresses[service].rpartition(":")[2]
        assert await _reach(site, f"{host}:{port}") in ("answered", "UNIMPLEMENTED")


async def test_a_name_that_the_certificate_does_not_have_is_not_believed(site: Site) -> None:
    """The same address under another name is refused by the client: what is dialled is what is checked."""
    assert await _reach(site, site.addresses["inventory"], "elsewhere.example") == "UNAVAILABLE"


async def _reach(site: Site, address: str, name: str = "") -> str:
    """Make one call as any gRPC program would, and return what came of it."""
    credentials = Credentials.load(site.folder / "pki" / "user" / "admin").for_channel()
    options = [("grpc.enable_http_proxy", 0), *([("grpc.ssl_target_name_override", name)] if name else [])]
    async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
        stub = inventory_service_pb2_grpc.InventoryServiceStub(channel)
        try:
            await stub.ListServers(inventory_service_pb2.ListServersRequest(), timeout=10)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "answered"
