"""The command line as its own process, beside a fake site in the test's event loop."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.integration.client.fake_site import Site


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    """Its exit code."""
    out: str
    """Its standard output."""
    err: str
    """Its standard error."""


def environment(site: Site | None, **more: str) -> dict[str, str]:
    """The environment of a command, without what the developer's own shell says about colours and width."""
    kept = {
        key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "TRACEPARENT", "TERM")
    }
    context = {"VIRTYARD_CONTEXT": str(site.context)} if site else {}
    return kept | {"PYTHONUTF8": "1"} | context | more


async def run(site: Site | None, *words: str, **more: str) -> Ended:
    """Run `virtyard WORDS` with its output in pipes."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "virtyard_client",
        *words,
        env=environment(site, **more),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def run_on_terminal(site: Site, *words: str, columns: int = 80, **more: str) -> Ended:
    """Run `virtyard WORDS` with its output on a pseudo-terminal; `out` has every byte that was sent to it."""
    import fcntl
    import struct
    import termios

    primary, secondary = os.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "virtyard_client",
        *words,
        env=environment(site, **({"TERM": "xterm"} | more)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=secondary,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(secondary)
    reading = asyncio.to_thread(_read_all, primary)
    (_, err), out = await asyncio.wait_for(asyncio.gather(process.communicate(), reading), 60)
    os.close(primary)
    return Ended(process.returncode or 0, out.decode(), err.decode())


def _read_all(descriptor: int) -> bytes:
    chunks: list[bytes] = []
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:
            break
        if not chunk:
            break
        chunks.append(chunk)
    return b"".join(chunks)


def write_added_package(folder: Path, entry_point: str) -> None:
    """Make `folder` look like site-packages with one distribution that has that entry point for an operation."""
    info = folder / "greenhouse-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greenhouse\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[virtyard.operations]\n{entry_point}\n")
