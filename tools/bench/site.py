"""The processes that are measured: the control plane, embedded or split, and one simulated agent, under mutual TLS."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from virtyard.processes.site import prepare_authority

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "tests" / "extension"
SERVER = "s1"
_START_LIMIT, _STOP_LIMIT = 60.0, 20.0


@dataclass(kw_only=True)
class Site:
    """A site on disk with the processes that run it."""

    folder: Path
    """Databases, certificates, logs; on a real disk, as commits are measured."""
    configuration: str = os.devnull
    """The configuration file of every process."""
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)
    """What was started, in that order."""

    @property
    def pki(self) -> Path:
        """The folder of the authority and of all certificates."""
        return self.folder / "pki"

    @property
    def context(self) -> Path:
        """The context file, which the processes write."""
        return self.folder / "context.json"

    @property
    def share(self) -> Path:
        """The folder that the agent may use."""
        return self.folder / "share"

    def address(self, service: str) -> str:
        """Return the address of a service."""
        return str(json.loads(self.context.read_text())[service])

    async def start(self, *words: str, ready: str) -> None:
        """Start `virtyard` with these words, and wait until it prints a line with `ready` in it."""
        with self._log(words) as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "virtyard_client", *words),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment() | {"VIRTYARD_CONFIG": self.configuration},
                cwd=ROOT,
            )
        self.processes.append(process)
        assert process.stdout is not None
        async with asyncio.timeout(_START_LIMIT):
            while True:
                line = await process.stdout.readline()
                if not line:
                    raise RuntimeError(f"virtyard {' '.join(words)} ended before it was ready")
                if ready in line.decode():
                    return

    def _log(self, words: Sequence[str]) -> IO[bytes]:
        """Return the file that takes what a process logs; it goes with the folder."""
        return (self.folder / f"{'-'.join(words[:2]).replace('---', '-')}.log").open("wb")

    async def stop(self) -> None:
        """Stop every process, the last one first."""
        for process in reversed(self.processes):
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(_STOP_LIMIT):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


def environment() -> dict[str, str]:
    """Return the environment of every process: the extension is installed, telemetry is off."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTYARD_", "OTEL_"))}
    path = [str(EXTENSION), str(ROOT), *filter(None, [kept.get("PYTHONPATH", "")])]
    return kept | {"PYTHONPATH": os.pathsep.join(path), "VIRTYARD_CONFIG": os.devnull}


@asynccontextmanager
async def running(folder: Path, *, split: bool, configuration: str = os.devnull) -> AsyncIterator[Site]:
    """Run a site with one agent until the block ends."""
    site = Site(folder=folder, configuration=configuration)
    site.share.mkdir(parents=True, exist_ok=True)
    authority = prepare_authority(site.pki, hosts=["127.0.0.1"])
    credentials = authority.issue(f"agent/{SERVER}", folder / "agent", hosts=["127.0.0.1"])
    common = ["--state", str(folder / "state"), "--context", str(site.context), "--pki", str(site.pki)]
    try:
        if split:
            for service in ("locks", "inventory", "jobs"):
                await site.start("serve", service, *common, ready=f"{service} serves on")
        else:
            await site.start("up", *common, ready="is up on")
        await site.start("agent", *_agent_words(site, credentials), ready="serves on")
        yield site
    finally:
        await site.stop()


def _agent_words(site: Site, credentials: Path) -> Sequence[str]:
    return [
        *("--name", SERVER, "--driver", "sim"),
        *("--state", str(site.folder / "agent-state"), "--credentials", str(credentials)),
        *("--context", str(site.context), "--storage-root", str(site.share)),
        *("--memory-bytes", str(1 << 40), "--cpus", "64"),
    ]


def agent_address(site: Site) -> str:
    """Return where the agent listens."""
    return "127.0.0.1:" + (site.folder / "agent-state" / "port").read_text().strip()
