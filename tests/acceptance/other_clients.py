"""Clients that are not ours, given an address and a certificate and nothing else: google-api-core, and grpc-js.

Neither is told what name the server's certificate is to have: it must name what is dialled, as any client expects.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import grpc
from google.api_core import operation as google_operation
from google.api_core import operations_v1
from google.protobuf import json_format
from google.protobuf.message import Message

from tests.acceptance.site import ROOT
from tools import generate_protos
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.jobs.v1 import operation_pb2
from virtyard.api.operations.v1 import operation_service_pb2_grpc

SCRIPT = Path(__file__).with_name("grpc_js") / "make_machine.mjs"
SECONDS = 40.0
"""The time that an operation may take."""


def make_by_google(
    address: str, folder: Path, request: Any
) -> tuple[virtual_machine_pb2.VirtualMachine, operation_pb2.OperationMetadata]:
    """Make a machine, wait for it by google-api-core's polling future, and return what that gives."""
    ca, certificate, key = ((folder / f"{name}.pem").read_bytes() for name in ("ca", "cert", "key"))
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    with grpc.secure_channel(address, credentials, [("grpc.enable_http_proxy", 0)]) as channel:
        stub = operation_service_pb2_grpc.OperationServiceStub(channel)  # type: ignore[arg-type]  # typed for aio
        accepted = stub.CreateVirtualMachine(request, timeout=SECONDS)
        future = google_operation.from_gapic(  # type: ignore[no-untyped-call]  # google's client has no types
            accepted,
            operations_v1.OperationsClient(channel),  # type: ignore[no-untyped-call]
            virtual_machine_pb2.VirtualMachine,
            metadata_type=operation_pb2.OperationMetadata,
        )
        return future.result(timeout=SECONDS), future.metadata


def missing_for_grpc_js() -> str:
    """Return what keeps grpc-js from being run here; empty if nothing does."""
    if shutil.which("node") is None:
        return "node is not installed"
    if not (ROOT / "node_modules" / "@grpc" / "grpc-js").exists():
        return "`make lint-protos` was not run"
    return ""


def make_by_grpc_js(address: str, folder: Path, request: Message, scratch: Path) -> dict[str, Any]:
    """Make a machine with grpc-js, the protos loaded at run time; return how its watch saw the operation end."""
    google = generate_protos.lay_out_google_protos(scratch / "google")
    words = [address, folder, ROOT / "protos", google, json_format.MessageToJson(request, indent=None)]
    outcome = subprocess.run(
        ["node", str(SCRIPT), *map(str, words)], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert outcome.returncode == 0, outcome.stderr
    said: dict[str, Any] = json.loads(outcome.stdout)
    return said
