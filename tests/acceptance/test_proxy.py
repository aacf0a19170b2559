"""A proxy in the environment: nothing of Virtyard goes through it, whatever variables name it."""

from __future__ import annotations

import asyncio
import subprocess

import grpc
import pytest

from tests.acceptance.asking import create_machine, new_disk, prepare, run, start_machine
from tests.acceptance.site import PROGRAM, open_site

VARIABLES = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "grpc_proxy", "all_proxy", "ALL_PROXY")


async def test_a_proxy_in_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Services, agents, the SDK and the command line dial each other directly; a plain gRPC program would not."""
    callers: list[object] = []

    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.append(writer.get_extra_info("peername"))
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    for name in VARIABLES:
        monkeypatch.setenv(name, f"http://{host}:{port}")
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with server:
        with open_site("split") as site:
            async with site.client() as client:
                await prepare(site, client)
                await run(client, create_machine(site, "web", [new_disk(1)], 1))
                await run(client, start_machine("web"))
            listed = await asyncio.create_subprocess_exec(
                PROGRAM, "vm", "list", "--context", str(site.context), stdout=subprocess.PIPE
            )
            out, _ = await listed.communicate()
            assert b"running" in out
            assert callers == []
            # The proxy is one: who does not turn proxies off is led there.
            async with grpc.aio.insecure_channel(site.addresses["jobs"]) as channel:
                channel.get_state(try_to_connect=True)
                async with asyncio.timeout(10):
                    while not callers:
                        await asyncio.sleep(0.01)
