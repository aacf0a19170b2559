"""The event loop of a process: uvloop where it is installed and safe, else asyncio's own.

uvloop starts children by fork, and gRPC's fork handlers corrupt TLS connections in them; so uvloop is used only where
those handlers were switched off before gRPC was imported, see `virtyard/__init__.py`. asyncio starts children by vfork,
which runs no handlers.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

__all__ = ["loop_factory", "run"]

T = TypeVar("T")

_GC_THRESHOLDS = (20_000, 20, 20)


def loop_factory(environ: Mapping[str, str] = os.environ) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes the loop of a process with this environment."""
    if environ.get("GRPC_ENABLE_FORK_SUPPORT", "").lower() not in {"0", "false"}:
        return asyncio.new_event_loop
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a process's main coroutine to its end and return what it returned."""
    # Modules and descriptors live as long as the process; looking through them again and again for garbage costs 5 %.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(main)
