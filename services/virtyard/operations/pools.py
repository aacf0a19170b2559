"""What operations need of a server pool's own record: whether it is complete."""

from __future__ import annotations

from virtyard.api.inventory.v1 import server_pool_pb2
from virtyard.operations.refusals import state_word

__all__ = ["active_pool"]


def active_pool(pool: server_pool_pb2.ServerPool) -> str:
    """Need a pool that is complete, and not on its way out."""
    if pool.state != server_pool_pb2.SERVER_POOL_STATE_ACTIVE:
        return f"{pool.name} is {state_word(pool)}; it must be active"
    return ""
