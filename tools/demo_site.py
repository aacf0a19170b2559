"""The demo's site: a control plane split into its processes, and three agents that stand for three servers.

Everything lies in one folder with a short path; each process is known by its record there, so the next run, or
`make demo-stop`, can end what this one left, and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tools import processes

SERVERS = ("s1", "s2", "s3")
SERVICES = ("inventory", "jobs", "locks", "gateway")
PROGRAM = str(Path(sys.executable).with_name("virtyard"))
START_SECONDS = 40.0


class DemoError(Exception):
    """The demo cannot go on; the message says why, and what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the demo's things are."""

    folder: Path
    """Everything that the demo makes."""

    @property
    def context(self) -> Path:
        """The context file, which the services write and the command line reads."""
        return self.folder / "context.json"

    @property
    def shared(self) -> Path:
        """The folder that stands for storage which all servers share."""
        return self.folder / "shared"

    @property
    def boot(self) -> Path:
        """Where the kernels lie that machines boot."""
        return self.shared / "boot"

    @property
    def small(self) -> Path:
        """A place on that storage that is really small, where root may mount one."""
        return self.shared / "small"

    @property
    def pids(self) -> Path:
        """The records and logs of the processes."""
        return self.folder / "processes"

    @property
    def kept(self) -> Path:
        """There if the site is to be left running."""
        return self.folder / "kept"

    def environment(self, server: str = "") -> dict[str, str]:
        """Return the environment of a process of this site."""
        runtime = self.folder / "run" / (server or "site")
        own = {"VIRTYARD_CONTEXT": str(self.context), "VIRTYARD_RUNTIME": str(runtime), "VIRTYARD_CONFIG": os.devnull}
        return {**os.environ, **own}


def find_site() -> Site:
    """Return the site of this user: VIRTYARD_DEMO, or a folder among the temporary files whose path is short.

    Raises:
        DemoError: somebody else owns the folder.
    """
    base = tempfile.gettempdir()
    short = base if len(base) <= 24 else "/tmp"
    folder = Path(os.environ.get("VIRTYARD_DEMO") or f"{short}/virtyard-demo-{os.getuid()}").absolute()
    if folder.exists() and folder.stat().st_uid != os.getuid():
        raise DemoError(f"{folder} belongs to somebody else; set VIRTYARD_DEMO to a folder with a short path")
    return Site(folder=folder)


def run(site: Site, *arguments: str) -> str:
    """Run one `virtyard` command that must succeed, and return what it said.

    Raises:
        DemoError: it failed; its own words are in the message.
    """
    outcome = subprocess.run(
        [PROGRAM, *arguments],
        env=site.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if outcome.returncode:
        raise DemoError(f"virtyard {' '.join(arguments)}: {(outcome.stderr or outcome.stdout).strip()}")
    return outcome.stdout.strip()


def start(site: Site, driver: str, storage_roots: tuple[Path, ...]) -> dict[str, str]:
    """Make the authority, start every process, and return the address of each.

    Raises:
        DemoError: a process did not come up; the end of its log is in the message.
    """
    pki = site.folder / "pki"
    run(site, "pki", "init", "--pki", str(pki))
    for service in SERVICES:
        state = ("--state", str(site.folder / "state" / service), "--pki", str(pki))
        _start(site, service, "serve", service, *state, "--context", str(site.context))
    issued = [
        ("pki", "issue", f"agent/{server}", "--pki", str(pki), "--out", str(site.folder / "credentials" / server))
        for server in SERVERS
    ]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda words: run(site, *words), issued))
    for server in SERVERS:
        roots = [word for root in storage_roots for word in ("--storage-root", str(root))]
        _start(
            site,
            server,
            *("agent", "--name", server, "--listen", "127.0.0.1:0", "--driver", driver),
            *("--state", str(site.folder / "state" / server), "--context", str(site.context)),
            *("--credentials", str(site.folder / "credentials" / server), *roots),
        )
    services = {service: wait(site, service, partial(_service_address, site, service)) for service in SERVICES}
    return services | {server: wait(site, server, partial(_agent_address, site, server)) for server in SERVERS}


def wait(site: Site, name: str, found: Callable[[], str]) -> str:
    """Return what `found` finds, once it does.

    Raises:
        DemoError: the process died or took too long; the end of its log is in the message.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        if value := found():
            return value
        record = next(record for record in processes.records(site.pids) if record.name == name)
        alive = processes.is_alive(record)
        if not alive or time.monotonic() > deadline:
            log = (site.pids / f"{name}.log").read_text(errors="replace").strip().splitlines()
            why = "did not come up in time" if alive else "ended"
            raise DemoError("\n  ".join([f"{name} {why}; its log ends with:", *log[-8:]]))
        time.sleep(processes.POLL_SECONDS)


def _start(site: Site, name: str, *arguments: str) -> None:
    processes.start(name, [PROGRAM, *arguments], site.pids, site.environment(name))


def _service_address(site: Site, service: str) -> str:
    """Return the address that a service wrote into the context; empty until it did."""
    try:
        return str(json.loads(site.context.read_text()).get(service, ""))
    except (OSError, ValueError):
        return ""


def _agent_address(site: Site, server: str) -> str:
    """Return the address that an agent said it listens on; empty until it did."""
    for line in (site.pids / f"{server}.log").read_text(errors="replace").splitlines():
        if " serves on " in line:
            return line.rpartition(" serves on ")[2].split()[0]
    return ""


def as_root() -> list[str] | None:
    """Return what to put before a command that root must run: nothing, or sudo; None if it would ask or refuse."""
    if os.getuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    asked = subprocess.run(["sudo", "-n", "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return ["sudo", "-n"] if asked.returncode == 0 else None


def mount_small(site: Site, size_bytes: int) -> bool:
    """Mount a file system of this size at the small place; False where this user may not, or the system cannot."""
    site.small.mkdir(parents=True, exist_ok=True)
    before = as_root() if sys.platform.startswith("linux") else None
    if before is None:
        return False
    options = f"size={size_bytes},mode=0700,uid={os.getuid()},gid={os.getgid()}"
    command = [*before, "mount", "-t", "tmpfs", "-o", options, "virtyard-demo", str(site.small)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def remove(site: Site, remove_links: Callable[[Site], list[str]]) -> list[str]:
    """End every process of the site, remove its interfaces, unmount, remove its folder; return what would not go."""
    if not site.folder.exists():
        return []
    services = processes.records(site.pids)
    processes.end(services)
    # Agents have ended, so nothing starts guests any more; what they left runs out of this folder.
    left = [record for record, _ in processes.working_in(site.folder)]
    processes.end(left)
    # What is kept of a bridge tells that it is this site's, so the folder stays as long as one does.
    if links := remove_links(site):
        return links
    if os.path.ismount(site.small):
        command = [*(as_root() or []), "umount", str(site.small)]
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if os.path.ismount(site.small):
            return [f"{site.small} is still mounted"]
    shutil.rmtree(site.folder, ignore_errors=True)
    remains = [f"{record.name} ({record.pid})" for record in [*services, *left] if processes.is_alive(record)]
    return remains + ([str(site.folder)] if site.folder.exists() else [])
