"""The monitor of one QEMU process, spoken to in QMP over its Unix socket.

Connections are short: QEMU serves one client at a time, and an agent that starts again must get in.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from qemu.qmp import ExecInterruptedError, QMPClient
from qemu.qmp import QMPError as MonitorError

__all__ = ["Monitor", "MonitorError", "open_monitor"]

# The library logs every end of a connection as an error, and for us each of them is an answer.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)


class Monitor:
    """One open connection to a monitor."""

    def __init__(self, client: QMPClient) -> None:
        """Use a client that is connected."""
        self._client = client

    async def status(self) -> str:
        """Return QEMU's run state, as `running` or `paused`.

        Raises:
            MonitorError: QEMU refused or went away.
        """
        answer = await self._client.execute("query-status")
        return str(answer["status"]) if isinstance(answer, Mapping) else "unknown"

    async def hold_after_shutdown(self) -> None:
        """Have QEMU stay, with the guest halted, when that shuts down.

        Raises:
            MonitorError: QEMU refused or went away.
        """
        await self._client.execute("set-action", {"shutdown": "pause"})

    async def end_after_shutdown(self) -> None:
        """Have QEMU end when the guest shuts down, as it does unless told otherwise.

        Raises:
            MonitorError: QEMU refused or went away.
        """
        await self._client.execute("set-action", {"shutdown": "poweroff"})

    async def press_power_button(self) -> None:
        """Ask the guest to shut down.

        Raises:
            MonitorError: QEMU refused or went away.
        """
        await self._client.execute("system_powerdown")

    async def pause(self) -> None:
        """Stop the guest's processors.

        Raises:
            MonitorError: QEMU refused or went away.
        """
        await self._client.execute("stop")

    async def reset(self) -> None:
        """Boot the guest, which is paused, and let it run.

        Raises:
            MonitorError: QEMU refused or went away.
        """
        await self._client.execute("system_reset")
        await self.end_after_shutdown()
        await self._client.execute("cont")

    async def quit(self) -> None:
        """Ask QEMU to end at once; that it hangs up instead of answering is success."""
        with contextlib.suppress(ExecInterruptedError):
            await self._client.execute("quit")


@contextlib.asynccontextmanager
async def open_monitor(socket: Path, limit: float) -> AsyncIterator[Monitor]:
    """Connect to a monitor and hang up afterwards; the whole visit takes at most `limit` seconds.

    Raises:
        MonitorError: nobody answers at the socket, or what answers is not QEMU.
        TimeoutError: the limit passed.
    """
    client = QMPClient("virtyard")
    async with asyncio.timeout(limit):
        try:
            await client.connect(str(socket))
            yield Monitor(client)
        finally:
            await _hang_up(client)


async def _hang_up(client: QMPClient) -> None:
    # When QEMU hung up first, disconnect() raises what ended its reader: EOFError or OSError.
    with contextlib.suppress(EOFError, OSError, MonitorError):
        await client.disconnect()
