"""What tests do at the front door of a site: let a program in, and watch many things natively."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

from tests.acceptance.asking import LIMIT
from tests.acceptance.site import PROGRAM, Site
from virtyard.api.gateway.v1 import gateway_service_pb2 as pb
from virtyard.api.gateway.v1 import gateway_service_pb2_grpc


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program with an API token."""

    address: str
    """host:port of the front door."""
    api_token: str

    @property
    def bearer(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata of its calls."""
        return (("authorization", f"Bearer {self.api_token}"),)

    def channel(self) -> grpc.aio.Channel:
        """Return a channel as any client of gRPC has one."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200)]
        return grpc.aio.insecure_channel(self.address, options=[*options, ("grpc.min_reconnect_backoff_ms", 50)])

    async def watch(
        self, subscriptions: Sequence[pb.Subscription], resume_token: str = ""
    ) -> AsyncGenerator[pb.WatchResponse, None]:
        """Yield responses until the stream ends or breaks."""
        request = pb.WatchRequest(subscriptions=subscriptions, resume_token=resume_token)
        async with self.channel() as channel:
            call = gateway_service_pb2_grpc.GatewayServiceStub(channel).Watch(request, metadata=self.bearer)
            try:
                async for response in call:
                    yield response
            finally:
                call.cancel()


async def let_in(site: Site, credentials: Path | None = None) -> Program:
    """Return a program with an API token of the administrator, or of whom the credentials are."""
    context = site.context
    if credentials is not None:
        context = credentials / "context.json"
        context.write_text(json.dumps({**json.loads(site.context.read_text()), "credentials": str(credentials)}))
    words = ["console", "--token", "--json", "--context", str(context)]
    process = await asyncio.create_subprocess_exec(PROGRAM, *words, env=os.environ, stdout=subprocess.PIPE)
    async with asyncio.timeout(LIMIT):
        out, _ = await process.communicate()
    assert process.returncode == 0
    made = json.loads(out)
    return Program(address=made["url"].removeprefix("http://"), api_token=made["apiToken"])
