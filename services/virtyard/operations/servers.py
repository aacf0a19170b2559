"""What operations need of a server's own record: whether it reports, and whether it is in a pool."""

from __future__ import annotations

from virtyard.api.inventory.v1 import server_pb2
from virtyard.operations.refusals import state_word

__all__ = ["in_a_pool", "in_no_pool", "offline", "online_now"]


def online_now(server: server_pb2.Server) -> str:
    """Need a server whose agent reports."""
    if server.state != server_pb2.SERVER_STATE_ONLINE:
        return f"{server.name} is {state_word(server)}; a server that is online is needed"
    return ""


def offline(server: server_pb2.Server) -> str:
    """Need a server that has been silent for so long that it counts as gone."""
    if server.state != server_pb2.SERVER_STATE_OFFLINE:
        return f"{server.name} is {state_word(server)}; it must have been silent until it is offline"
    return ""


def in_no_pool(server: server_pb2.Server) -> str:
    """Need a server that may join a pool."""
    if server.server_pool:
        return f"{server.name} is in {server.server_pool}; a server that is in no pool is needed"
    return ""


def in_a_pool(server: server_pb2.Server) -> str:
    """Need a server that is in some pool."""
    return "" if server.server_pool else f"{server.name} is in no pool; a server that is in one is needed"
