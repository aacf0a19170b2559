"""Hosting: what every process does around its services: logs, traces, signals, and a stop that tells watchers first."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from virtyard.kernel.errors import VirtyardError
from virtyard.processes.control_settings import LOG_FORMAT, LOG_LEVEL, TRACES
from virtyard.runtime import loop, telemetry
from virtyard.runtime.configuration import Configuration
from virtyard.runtime.logs import configure_logs
from virtyard.runtime.metrics import Metrics
from virtyard.runtime.scope import end_process_by

_log = logging.getLogger(__name__)
GIVE_UP_SECONDS = 30.0
"""How long a process of which a vital task has failed may take to close what it has; then it ends as by a kill."""


def run_process(
    name: str, configuration: Configuration, main: Callable[[asyncio.Event], Coroutine[Any, Any, None]]
) -> int:
    """Run a process until SIGTERM or SIGINT, or until one of its vital tasks fails; return its exit code.

    Args:
        name: the process, as `jobs`, for logs and traces.
        configuration: its settings; those of logs and traces are applied here.
        main: runs until the event that it is given is set.
    """
    # If native code beneath us fails, the log says what was running.
    faulthandler.enable()
    configure_logs(name, form=configuration[LOG_FORMAT], level=configuration[LOG_LEVEL])
    close_telemetry = telemetry.configure(name, {"VIRTYARD_TRACES": configuration[TRACES]})

    async def supervise() -> None:
        stop = asyncio.Event()
        running = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            running.add_signal_handler(number, stop.set)

        def give_up() -> None:
            stop.set()
            running.call_later(GIVE_UP_SECONDS, os._exit, os.EX_SOFTWARE)

        end_process_by(give_up)
        await main(stop)

    try:
        loop.run(supervise())
    except VirtyardError as error:
        sys.stderr.write(f"virtyard {name}: {error.message}\n")
        return 1
    finally:
        close_telemetry()
    return 0


@asynccontextmanager
async def measured(metrics: Metrics, address: str, name: str) -> AsyncIterator[str]:
    """Show the metrics of a process at an address until the block ends; nowhere if it is empty.

    Args:
        metrics: of the process.
        address: host:port, or nothing.
        name: the process, as it says who it is.

    Yields: where they are, as host:port; empty if nowhere.
    """
    if not address:
        yield ""
        return
    # Only now: without metrics nothing of the library is imported.
    from virtyard.runtime.exposition import serve_metrics

    async with serve_metrics(metrics, address) as bound:
        say(f"virtyard {name} shows metrics at http://{bound}/metrics")
        yield bound


def say(line: str) -> None:
    """Tell the person or program that started this process something, at once.

    A file that has no room for it, as that of a log on a full disk, ends no process: it serves, told or not.

    Raises:
        BrokenPipeError: nobody is there any more to be told.
    """
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _log.warning("not told: %s: %s", line, error)
