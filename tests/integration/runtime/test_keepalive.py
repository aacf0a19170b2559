"""Pings on a silent channel: every client of ours pings no oftener than every server of ours allows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import grpc
import pytest

from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.kernel.permissions import Principal
from virtyard.runtime.channel_options import CHANNEL_OPTIONS, SERVER_OPTIONS
from virtyard.runtime.rpc import Service
from virtyard.runtime.server import serve
from virtyard_client import channel as client_channel

PING_EVERY = "grpc.keepalive_time_ms"
PING_WITHOUT_CALLS = "grpc.keepalive_permit_without_calls"
MOST_PINGS = "grpc.http2.max_pings_without_data"
ALLOWED_EVERY = "grpc.http2.min_ping_interval_without_data_ms"
STRIKES = "grpc.http2.max_ping_strikes"
ADMINISTRATOR = Principal(kind="user", name="admin", roles=frozenset({3}))
FASTER = 20
"""How much faster than in earnest pings are sent, and allowed, where a test waits for them."""
LIMIT = 60.0


def options_of_programs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the options of the channels that the Python client opens."""
    seen: dict[str, Any] = {}

    def note(address: str, credentials: object, options: list[tuple[str, Any]], interceptors: object) -> None:
        seen.update(options)

    monkeypatch.setattr(grpc.aio, "secure_channel", note)
    client_channel.open_channel("127.0.0.1:1", "jobs", grpc.ssl_channel_credentials())
    return seen


def test_every_option_is_one_that_grpc_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is spelt otherwise is passed over in silence, and the default holds: it must be in gRPC's library."""
    found = find_spec("grpc._cython.cygrpc")
    assert found is not None
    assert found.origin is not None
    library = Path(found.origin).read_bytes()
    names = {name for name, _ in (*SERVER_OPTIONS, *CHANNEL_OPTIONS)} | set(options_of_programs(monkeypatch))
    assert len(names) > 15
    assert [name for name in sorted(names) if name.encode() not in library] == []
    assert b"grpc.http2.min_recv_ping_interval_without_data_ms" not in library, "as it was spelt once"


def test_no_client_pings_oftener_than_a_server_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also not where the network brings two pings closer together; and what pings without calls is allowed to."""
    server, client, program = dict(SERVER_OPTIONS), dict(CHANNEL_OPTIONS), options_of_programs(monkeypatch)
    for pings in (client, program):
        assert pings[PING_EVERY] >= 2 * server[ALLOWED_EVERY]
        assert pings.get(PING_WITHOUT_CALLS, 0) <= server[PING_WITHOUT_CALLS]
    assert client[PING_WITHOUT_CALLS] == 1, "a peer that is gone is noticed before it is asked"
    assert client[MOST_PINGS] == 0, "however long nothing else is sent"


@asynccontextmanager
async def silent_channel(
    monkeypatch: pytest.MonkeyPatch, allowed: Mapping[str, int]
) -> AsyncIterator[grpc.aio.Channel]:
    """Connect a channel to a server with these limits, and make no call."""
    options = {name: value for name, value in SERVER_OPTIONS if name not in (ALLOWED_EVERY, STRIKES)}
    monkeypatch.setattr("virtyard.runtime.server.SERVER_OPTIONS", tuple({**options, **allowed}.items()))
    service = Service(lock_service_pb2.DESCRIPTOR.services_by_name["LockService"], object())
    mine = dict(CHANNEL_OPTIONS)
    mine[PING_EVERY] //= FASTER
    async with (
        serve([service], insecure_principal=ADMINISTRATOR, grace=0.1) as server,
        grpc.aio.insecure_channel(server.address, options=tuple(mine.items())) as channel,
    ):
        await asyncio.wait_for(channel.channel_ready(), LIMIT)
        yield channel


async def test_a_silent_channel_stays_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """With our options it outlasts one to a server with gRPC's own limit, which sends it away for its pings."""
    ours = {ALLOWED_EVERY: dict(SERVER_OPTIONS)[ALLOWED_EVERY] // FASTER, STRIKES: 1}
    async with silent_channel(monkeypatch, ours) as kept, silent_channel(monkeypatch, {STRIKES: 3}) as sent_away:
        async with asyncio.timeout(LIMIT):
            await sent_away.wait_for_state_change(grpc.ChannelConnectivity.READY)
        assert kept.get_state() is grpc.ChannelConnectivity.READY
