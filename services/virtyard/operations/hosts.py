"""Which server does a piece of work: chosen when planned, from the view, never by a step under locks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from virtyard.api.inventory.v1 import server_pb2
from virtyard.kernel.errors import WrongState


def online(servers: Sequence[server_pb2.Server]) -> list[server_pb2.Server]:
    """Return the servers whose agents report."""
    return [server for server in servers if server.state == server_pb2.SERVER_STATE_ONLINE]


def storage_server(servers: Sequence[server_pb2.Server], key: str, what: str) -> server_pb2.Server:
    """Return the server that does storage work for a key: the same for the same servers, spread over them.

    Args:
        servers: the servers that reach the storage.
        key: what the work is for, a uid.
        what: the object that is to be worked on, for the refusal.

    Raises:
        WrongState: none of them is online; each is named with its state.
    """
    candidates = online(servers)
    if not candidates:
        states = ", ".join(f"{server.name} is {server_pb2.ServerState.Name(server.state)[13:].lower()}" for server in servers)
        raise WrongState(f"no server that reaches {what} is online: {states or 'it has no servers'}", resource=what)
    return max(candidates, key=lambda server: hashlib.sha256(f"{key} {server.uid}".encode()).digest())
