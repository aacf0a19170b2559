"""Hosting: what every process does around its services: logs, traces, signals, and a stop that tells watchers first."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from virtyard.kernel.errors import VirtyardError
from virtyard.runtime import loop, telemetry
from virtyard.runtime.logs import configure_logs

_log = logging.getLogger(__name__)


def run_process(name: str, main: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> int:
    """Run a process until SIGTERM or SIGINT; return its exit code.

    Args:
        name: the process, as `jobs`, for logs and traces.
        main: runs until the event that it is given is set.
    """
    configure_logs(
        name, form=os.environ.get("VIRTYARD_LOG_FORMAT", "text"), level=os.environ.get("VIRTYARD_LOG_LEVEL", "INFO")
    )
    close_telemetry = telemetry.configure(name, os.environ)

    async def supervise() -> None:
        stop = asyncio.Event()
        running = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            running.add_signal_handler(number, stop.set)
        await main(stop)

    try:
        loop.run(supervise())
    except VirtyardError as error:
        sys.stderr.write(f"virtyard {name}: {error.message}\n")
        return 1
    finally:
        close_telemetry()
    return 0


def say(line: str) -> None:
    """Tell the person or program that started this process something, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
