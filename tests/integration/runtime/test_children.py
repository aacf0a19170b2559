"""Children of a process that serves gRPC: starting them must not hurt its connections."""

from __future__ import annotations

import subprocess
import sys

import pytest

_TRAFFIC = """
import asyncio, sys, tempfile
from virtyard.api.locks.v1 import lock_service_pb2 as pb, lock_service_pb2_grpc as pb_grpc
from virtyard.runtime.channel import open_channel
from virtyard.runtime.loop import loop_factory, run
from virtyard.runtime.pki import Authority, Credentials
from virtyard.runtime.rpc import Service
from virtyard.runtime.server import serve

class Locks:
    async def ListLocks(self, request, call):
        return pb.ListLocksResponse()

async def main(folder):
    authority = Authority.create(folder + "/ca", "virtyard.test")
    own = Credentials.load(authority.issue("service/locks", folder + "/locks"))
    service = Service(pb.DESCRIPTOR.services_by_name["LockService"], Locks())
    async with serve([service], credentials=own) as server:
        stub, busy = pb_grpc.LockServiceStub(open_channel(server.address, own, "service/locks")), True
        async def traffic():
            while busy:
                await stub.ListLocks(pb.ListLocksRequest(), timeout=10)
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(traffic())
            for _ in range(150):
                child = await asyncio.create_subprocess_exec("/bin/true")
                assert await child.wait() == 0
            busy = False

with tempfile.TemporaryDirectory() as folder:
    print(loop_factory().__module__)
    run(main(folder))
"""


@pytest.mark.slow
def test_children_do_not_corrupt_connections() -> None:
    """With calls in flight over TLS, 150 children start and end, and no call fails."""
    done = subprocess.run([sys.executable, "-c", _TRAFFIC], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "fork" not in done.stderr


def test_uvloop_is_not_used_where_grpc_came_first() -> None:
    """Where gRPC was imported before its fork handlers could be switched off, asyncio's loop is taken."""
    look = "from virtyard.runtime.loop import loop_factory; print(loop_factory().__module__)"
    first = subprocess.run(
        [sys.executable, "-c", f"import grpc; {look}"], check=True, capture_output=True, text=True, env={}
    )
    assert first.stdout.strip().startswith("asyncio")
