"""The plain server as a process that a measurement starts and ends; what it serves is in tools/bench/bare.py."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tools.bench.client import Target
from tools.bench.site import ROOT, environment

__all__ = ["Plain", "used"]

_TICKS = os.sysconf("SC_CLK_TCK")


class Plain:
    """A plain server that runs."""

    def __init__(self, folder: Path, address: str, process: int) -> None:
        """Use `started`."""
        self.words = (address, str(folder / "user" / "admin"))
        """Its address and the caller's credentials, as the phases of the client take them."""
        self.target = Target(*self.words)
        self._process = process

    @property
    def cpu_s(self) -> float:
        """Return the seconds of processor time that it has used."""
        return used(self._process)

    @classmethod
    @asynccontextmanager
    async def started(cls, folder: Path, *words: str) -> AsyncIterator[Plain]:
        """Start one, with an empty database, on certificates that are in this folder already."""
        for file in ("feed.db", "feed.db-wal", "feed.db-shm"):
            await asyncio.to_thread((folder / file).unlink, missing_ok=True)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tools.bench.bare", str(folder), *words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment(),
            cwd=ROOT,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield cls(folder, (await process.stdout.readline()).decode().strip(), process.pid)
        finally:
            process.stdin.close()
            await process.wait()


def used(process: int) -> float:
    """Return the seconds of processor time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
