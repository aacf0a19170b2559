"""Signing out, and taking back what lets people and programs in: at once, with the streams that it has open."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import grpc
import pytest

from tests.integration.gateway.browser import END
from tests.integration.gateway.conftest import GATEWAY, INVENTORY, House
from virtyard.api.inventory.v1 import inventory_service_pb2, inventory_service_pb2_grpc
from virtyard.api.type.v1.watch_pb2 import FrameKind

LIST = f"/{INVENTORY}/ListServers"
SESSION = f"/{GATEWAY}/GetSession"
REVOKE = f"/{GATEWAY}/RevokeGrant"
WATCH = f"/{INVENTORY}/WatchObjects"


async def test_a_page_that_signs_out_is_out_with_the_streams_that_it_has_open(house: House) -> None:
    """The stream ends with UNAUTHENTICATED, the cookie is good no more, and another page of the same person stays."""
    page, other = await house.signed_in(), await house.signed_in()
    request = inventory_service_pb2.WatchObjectsRequest()
    async with asyncio.timeout(60), page.stream(WATCH, request) as stream:
        await anext(stream)
        mine = (await page.call(SESSION)).json()["grantId"]
        assert (await page.call(REVOKE, {"id": mine})).json()["kind"] == "GRANT_KIND_SESSION"
        *_, (flags, end) = [envelope async for envelope in stream]
    assert flags & END
    assert json.loads(end)["error"]["code"] == "unauthenticated"
    assert "taken back" in json.loads(end)["error"]["message"]
    assert (await page.call(LIST)).status == 401
    assert (await other.call(LIST)).status == 200


async def test_a_token_that_is_taken_back_ends_native_streams(house: House) -> None:
    """A bare gRPC client meets UNAUTHENTICATED in its stream, and with its next call."""
    async with house.channel() as channel, asyncio.timeout(60):
        stub = inventory_service_pb2_grpc.InventoryServiceStub(channel)
        stream: Any = stub.WatchObjects(inventory_service_pb2.WatchObjectsRequest(), metadata=house.bearer)
        while (await stream.read()).kind != FrameKind.FRAME_KIND_BOOKMARK:
            pass
        mine = (await house.program.call(SESSION)).json()["grantId"]
        await house.program.call(REVOKE, {"id": mine})
        with pytest.raises(grpc.aio.AioRpcError) as cut:
            await drain(stream)
        assert cut.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ListServers(inventory_service_pb2.ListServersRequest(), metadata=house.bearer)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def drain(stream: Any) -> None:
    """Read a stream to its end."""
    while await stream.read() is not grpc.aio.EOF:
        pass


async def test_the_command_line_lists_and_takes_back_and_shows_no_secret(house: House) -> None:
    """What is listed has neither the secrets nor their digests; what is revoked is gone; an unknown id is refused."""
    page = await house.signed_in()
    secrets = [page.headers["cookie"].partition("=")[2], house.api_token]
    listed = await virtyard(house, "--list")
    digests = json.loads((house.folder / "state" / "gateway" / "sessions.json").read_text())
    assert not [word for word in (*secrets, *digests) if word in listed]
    lines = [line.split() for line in listed.splitlines()]
    assert lines[0] == ["ID", "KIND", "PERSON", "MADE", "ENDS", "PURPOSE"]
    (token,) = [line for line in lines if line[1] == "token"]
    assert (token[2], token[-1]) == ("user/admin", "tests")
    assert "good no more" in await virtyard(house, "--revoke", token[0])
    assert (await house.program.call(LIST)).status == 401
    assert (await page.call(LIST)).status == 200
    left = json.loads(await virtyard(house, "--list", "--json"))["grants"]
    # The link that `virtyard up` printed when it started waits to be opened.
    assert sorted(grant["kind"] for grant in left) == ["GRANT_KIND_LINK", "GRANT_KIND_SESSION"]
    assert "--list" in await virtyard(house, "--revoke", token[0], code=1)


async def virtyard(house: House, *words: str, code: int = 0) -> str:
    """Run `virtyard console` with these words on the house, and return what it prints."""
    command = [
        sys.executable,
        "-m",
        "virtyard_client",
        "console",
        "--context",
        str(house.folder / "context.json"),
        *words,
    ]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == code, ended.stderr
    return ended.stdout or ended.stderr
