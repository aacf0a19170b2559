"""Clients that are not ours: google-api-core's operations client, and grpc-js with the protos loaded at run time."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.api_core import operation as google_operation
from google.api_core import operations_v1
from google.protobuf import json_format

from tests.acceptance.asking import LIMIT, create_machine, new_disk, prepare
from tests.acceptance.site import ROOT, Site, open_site
from tools import generate_protos
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.jobs.v1 import operation_pb2
from virtyard.api.operations.v1 import operation_service_pb2_grpc

SCRIPT = Path(__file__).with_name("grpc_js") / "make_machine.mjs"


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
    machine, metadata = await asyncio.to_thread(_create_by_google, site, request)
    assert machine.name == "virtualMachines/google"
    assert metadata.state == operation_pb2.OPERATION_STATE_SUCCEEDED


def _create_by_google(
    site: Site, request: object
) -> tuple[virtual_machine_pb2.VirtualMachine, operation_pb2.OperationMetadata]:
    folder = site.folder / "pki" / "user" / "admin"
    ca, certificate, key = ((folder / f"{name}.pem").read_bytes() for name in ("ca", "cert", "key"))
    options = [("grpc.ssl_target_name_override", "virtyard-service-jobs"), ("grpc.enable_http_proxy", 0)]
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    with grpc.secure_channel(site.addresses["jobs"], credentials, options) as channel:
        stub = operation_service_pb2_grpc.OperationServiceStub(channel)  # type: ignore[arg-type]  # typed for aio
        accepted = stub.CreateVirtualMachine(request, timeout=LIMIT)  # type: ignore[arg-type]
        future = google_operation.from_gapic(  # type: ignore[no-untyped-call]  # google's client has no types
            accepted,
            operations_v1.OperationsClient(channel),  # type: ignore[no-untyped-call]
            virtual_machine_pb2.VirtualMachine,
            metadata_type=operation_pb2.OperationMetadata,
        )
        return future.result(timeout=LIMIT), future.metadata


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif(not (ROOT / "node_modules" / "@grpc" / "grpc-js").exists(), reason="`make lint-protos` was not run")
async def test_grpc_js_makes_a_machine_with_protos_loaded_at_run_time(site: Site, tmp_path: Path) -> None:
    """Proves that another language needs nothing but the protos and a certificate."""
    google = generate_protos.lay_out_google_protos(tmp_path / "google")
    request = json_format.MessageToJson(create_machine(site, "node", [new_disk(1)], 1), indent=None)
    words = [site.addresses["jobs"], site.folder / "pki" / "user" / "admin", ROOT / "protos", google, request]
    process = await asyncio.create_subprocess_exec(
        "node", str(SCRIPT), *map(str, words), cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(LIMIT):
        out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    said = json.loads(out)
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
