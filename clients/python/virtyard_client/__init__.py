"""Virtyard's client: the Python SDK, and the command line `virtyard` that is built on it.

::

    async with Client.connect() as client:
        operation = await client.operations.StartVirtualMachine(request)
        ended = await client.wait(operation)

The SDK is loaded when one of its names is used, so that help texts need no grpc.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from virtyard_client.client import Client
    from virtyard_client.context import Context
    from virtyard_client.errors import ClientError
    from virtyard_client.story import Story
    from virtyard_client.watch import Watch

__all__ = ["Client", "ClientError", "Context", "Story", "Watch"]

_HOMES = {"Client": "client", "ClientError": "errors", "Context": "context", "Story": "story", "Watch": "watch"}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
