"""A control plane with its gateway, in the test's own loop, on real ports."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from tests.integration.gateway.browser import Browser
from virtyard.api.gateway.v1 import gateway_service_pb2
from virtyard.gateway import main as gateway_main
from virtyard.gateway.main import Gateway
from virtyard.processes import up
from virtyard.processes.command_line import add_flags, configuration_of
from virtyard_client.client import Client

GATEWAY = "virtyard.api.gateway.v1.GatewayService"
INVENTORY = "virtyard.api.inventory.v1.InventoryService"


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What tests have of a running control plane."""

    folder: Path
    address: str
    """host:port of the front door."""
    client: Client
    """Calls the services with the administrator's certificate, past the gateway."""
    gateway: Gateway
    api_token: str

    @property
    def program(self) -> Browser:
        """Return a client with an API token."""
        return Browser(address=self.address, headers={"authorization": f"Bearer {self.api_token}"})

    @property
    def stranger(self) -> Browser:
        """Return a client with nothing."""
        return Browser(address=self.address)

    def channel(self) -> grpc.aio.Channel:
        """Return a plain channel to the front door."""
        return grpc.aio.insecure_channel(self.address, options=[("grpc.use_local_subchannel_pool", 1)])

    @property
    def bearer(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a call with the API token."""
        return (("authorization", f"Bearer {self.api_token}"),)

    async def link(self) -> str:
        """Return the path of a new link."""
        request = gateway_service_pb2.CreateLinkRequest()
        made = await self.client.call(GATEWAY, "CreateLink", request, gateway_service_pb2.Link)
        return str(made.url.removeprefix(f"http://{self.address}"))

    async def signed_in(self) -> Browser:
        """Return a browser that has opened a link, on a page of the console."""
        answer = await self.stranger.send("GET", await self.link())
        cookie = answer.headers["set-cookie"].partition(";")[0]
        return Browser(address=self.address, headers={"cookie": cookie, "origin": f"http://{self.address}"})


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path."""
    with tempfile.TemporaryDirectory(prefix="vyg-", dir="/tmp") as place:
        yield Path(place)


@pytest.fixture
async def house(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A control plane in one process."""
    opened: asyncio.Future[Gateway] = asyncio.get_running_loop().create_future()
    make = gateway_main.Gateway

    def noted(**parts: object) -> Gateway:
        made = make(**parts)  # type: ignore[arg-type]
        opened.set_result(made)
        return made

    monkeypatch.setattr(gateway_main, "Gateway", noted)
    parser = argparse.ArgumentParser()
    add_flags(parser, ("up",))
    words = ["--state", str(folder / "state"), "--context", str(folder / "context.json")]
    stop = asyncio.Event()
    running = asyncio.create_task(up._up(configuration_of("up", parser.parse_args(words), "virtyard"), stop))
    try:
        async with asyncio.timeout(30):
            while not (folder / "context.json").exists():
                assert not running.done(), running.exception()
                await asyncio.sleep(0.01)
        async with Client.connect(folder / "context.json") as client:
            request = gateway_service_pb2.CreateApiTokenRequest(purpose="tests")
            made = await client.call(GATEWAY, "CreateApiToken", request, gateway_service_pb2.ApiToken)
            yield House(
                folder=folder,
                address=made.url.removeprefix("http://"),
                client=client,
                gateway=await opened,
                api_token=made.api_token,
            )
    finally:
        stop.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(20):
                await running
