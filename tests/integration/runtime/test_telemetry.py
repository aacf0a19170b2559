"""Telemetry: off it costs no import, on a trace goes from the client through two services with one id."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_CHAIN = """
import os, sys, tempfile
from virtyard.api.locks.v1 import lock_service_pb2 as pb, lock_service_pb2_grpc as pb_grpc
from virtyard.kernel.permissions import Principal
from virtyard.runtime import telemetry
from virtyard.runtime.channel import open_channel
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.logs import bound, configure_logs
from virtyard.runtime.loop import run
from virtyard.runtime.pki import Authority, Credentials
from virtyard.runtime.rpc import Service
from virtyard.runtime.server import serve
import logging

SERVICE = pb.DESCRIPTOR.services_by_name["LockService"]

class Second:
    async def ListLocks(self, request, call):
        with bound(job="jobs/7-1"):
            logging.getLogger("second").info("listed")
        return pb.ListLocksResponse()

class First:
    def __init__(self, *channels):
        self.channels = channels
    async def ListLocks(self, request, call):
        for channel in self.channels:
            await pb_grpc.LockServiceStub(channel).ListLocks(request, timeout=5)
        return pb.ListLocksResponse()

async def main(folder):
    authority = Authority.create(folder + "/ca", "virtyard.test")
    own = Credentials.load(authority.issue("service/locks", folder + "/locks"))
    second = Service(SERVICE, Second())
    async with serve([second], credentials=own) as far, LocalChannel([second], Principal.of("service/jobs")) as near:
        first = Service(SERVICE, First(open_channel(far.address, own, "service/locks"), near))
        async with serve([first], credentials=own) as server:
            stub = pb_grpc.LockServiceStub(open_channel(server.address, own, "service/locks"))
            with telemetry.span("virtyard lock list", noun="lock"):
                await stub.ListLocks(pb.ListLocksRequest(), timeout=5)

configure_logs("tests", form="json", level="info")
finish = telemetry.configure("tests", os.environ)
with tempfile.TemporaryDirectory() as folder:
    run(main(folder))
finish()
print("opentelemetry.sdk" in sys.modules)
"""


def _run(traces: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "VIRTYARD_TRACES": traces}
    return subprocess.run(
        [sys.executable, "-c", _CHAIN], check=True, capture_output=True, text=True, timeout=60, env=environment
    )


def test_telemetry_that_is_off_imports_the_interface_only() -> None:
    """Without VIRTYARD_TRACES the SDK is not in the process, and log lines have no trace."""
    done = _run("")
    assert done.stdout.strip() == "False"
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    listed = [line for line in lines if line["message"] == "listed"]
    assert [line["job"] for line in listed] == ["jobs/7-1", "jobs/7-1"]
    assert all("trace" not in line for line in listed)


def test_trace_goes_through_all_services_with_one_id(tmp_path: Path) -> None:
    """The client's span, the first service's and the second's, called over the wire and in process, are one trace."""
    file = tmp_path / "traces" / "spans.jsonl"
    done = _run(f"file:{file}")
    assert done.stdout.strip() == "True"
    spans = [json.loads(line) for line in file.read_text().splitlines()]
    names = sorted(span["name"] for span in spans)
    served = "virtyard.api.locks.v1.LockService/ListLocks"
    assert names == sorted(["virtyard lock list", served, served, served])
    assert len({span["context"]["trace_id"] for span in spans}) == 1
    by_id = {span["context"]["span_id"]: span for span in spans}
    (root,) = (span for span in spans if span["parent_id"] is None)
    (first,) = (span for span in spans if span["parent_id"] == root["context"]["span_id"])
    assert sum(by_id.get(span["parent_id"]) is first for span in spans) == 2
    trace = root["context"]["trace_id"].removeprefix("0x")
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert [line["trace"] for line in lines if line["message"] == "listed"] == [trace, trace]
