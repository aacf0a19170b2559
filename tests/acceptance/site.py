"""A site of real processes for one test or one module: a control plane, embedded or split, and agents beside it.

The split one is started by the `command:` lines of compose.yaml, from the authority and the certificates on, with this
machine's folders and ports put in. Every process is known by its pid and start time, and ended by those alone.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import yaml

from tests.faults.nursery import Nursery
from tests.ports import lasting_address
from tools import processes
from virtyard.processes.site import prepare_authority
from virtyard.runtime.pki import Authority
from virtyard_client.client import Client
from virtyard_client.watch import Patience

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = str(Path(sys.executable).with_name("virtyard"))
START_SECONDS = 40.0
SPLIT = ("locks", "inventory", "jobs")
"""The processes of the split shape, in the order of their start; a test that needs `gateway` starts it, too."""


def compose_commands() -> dict[str, list[str]]:
    """Return the `command:` line of every service of compose.yaml."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    return {name: service["command"] for name, service in services.items()}


class Site:
    """Processes, folders and addresses of one site; sim hosts unless told otherwise."""

    def __init__(self, folder: Path, shape: str = "embedded", driver: str = "sim") -> None:
        """Use a folder with a short path; nothing is started yet."""
        self.folder = folder
        self.shape = shape
        self.driver = driver
        self.context = folder / "context.json"
        self.shared = folder / "shared"
        self.pids = folder / "processes"
        self.fail_file = folder / "fail"
        """While it holds `JOB/STEP`, that step of any operation is refused; with `JOB/STEP acted` it acts and fails."""
        self.moments = folder / "moments"
        """Each process adds its durable transitions to `NAME.log`, and obeys `NAME.at`; see `processes/faults.py`."""
        self.effect_log = folder / "effects"
        """What the agents really made, a line with its mark for each thing."""
        self.addresses: dict[str, str] = {}
        self._listens: dict[str, str] = {}
        self.homes: dict[str, str] = {}
        """The address that a process listens on, where it is not 127.0.0.1."""
        self.namespaces: dict[str, str] = {}
        """The network namespace that a process runs in, where it is not the machine's own."""
        self.settings: dict[str, str] = {}
        """Settings of the processes that are started from now on, by their variables."""
        self.nursery: Nursery | None = None
        """Starts the processes, if it is there; without it each loads its modules anew."""
        self.through: dict[tuple[str, str], str] = {}
        """The address at which a process reaches a service, by their names, where that is not the service's own."""
        self._commands = compose_commands()
        self._seen: dict[str, int] = {}
        for made in (self.shared, self.moments, self.pids):
            made.mkdir(parents=True)
        for name in ("vmlinuz", "initrd.img"):
            (self.shared / name).write_text("simulated hosts boot nothing\n")

    # --- processes

    @property
    def control_plane(self) -> Sequence[str]:
        """The names of the control plane's processes."""
        return SPLIT if self.shape == "split" else ("up",)

    def process_of(self, service: str) -> str:
        """Return the process that hosts a service: itself, or `up`."""
        return service if self.shape == "split" else "up"

    def open(self, servers: Sequence[str] = ("s1",), memory_bytes: int = 64 << 30) -> None:
        """Start the control plane and agents, and wait until they serve."""
        self._prepare(servers)
        for name in self.control_plane:
            self.start(name, wait=self.shape == "split")
        for server in servers:
            self.start(server, wait=False, memory_bytes=memory_bytes)
        for name in (*self.control_plane, *servers):
            self.wait_serving(name)

    def _prepare(self, servers: Sequence[str]) -> None:
        """Make the authority and the certificates: in the split shape by the lines of compose.yaml as they stand."""
        if self.shape == "embedded":
            prepare_authority(self.folder / "pki")
        else:
            self._finish("pki")
        if self.shape == "embedded":
            for server in servers:
                self.issue(server)
        else:
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(self.issue, servers))

    def issue(self, server: str) -> None:
        """Issue its certificate to an agent."""
        if self.shape == "split":
            self._finish(f"{server}-certificate")
            return
        authority = Authority.load(self.folder / "pki")
        authority.issue(f"agent/{server}", self.folder / "credentials" / server, hosts=["127.0.0.1"])

    def _finish(self, name: str) -> None:
        """Run a line of compose.yaml that ends by itself; that of any server is that of s1 with its name."""
        server = name.removesuffix("-certificate")
        line = self._commands.get(name) or [word.replace("s1", server) for word in self._commands["s1-certificate"]]
        words = [PROGRAM, *self._adapt(line)]
        outcome = subprocess.run(words, env=self._environment(name), capture_output=True, text=True, check=False)
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr

    def _environment(self, name: str) -> dict[str, str]:
        runtime = self.folder / "run" / name
        # No configuration file of the machine on which the tests run.
        own = {"VIRTYARD_CONTEXT": str(self.context), "VIRTYARD_RUNTIME": str(runtime)}
        return {"VIRTYARD_CONFIG": os.devnull, **os.environ, **self.settings, **own}

    def start(
        self, name: str, *, kill_at: str = "", stop_at: str = "", wait: bool = True, memory_bytes: int = 64 << 30
    ) -> None:
        """Start one process, a second time perhaps; at a durable transition it kills itself, or stands still."""
        environment = self._environment(name)
        environment |= {"VIRTYARD_KILL_AT": kill_at, "VIRTYARD_STOP_AT": stop_at}
        environment |= {"VIRTYARD_FAIL_FILE": str(self.fail_file), "VIRTYARD_EFFECT_LOG": str(self.effect_log)}
        log = self.pids / f"{name}.log"
        self._seen[name] = log.stat().st_size if log.exists() else 0
        inside = ["ip", "netns", "exec", self.namespaces[name]] if name in self.namespaces else []
        environment |= {
            "VIRTYARD_MOMENTS": str(self.moments / name),
            "VIRTYARD_WALL_FILE": str(self.moments / f"{name}.wall"),
        }
        words = self._command(name, memory_bytes)
        if self.nursery is not None:
            processes.keep_record(name, self.nursery.start(words, environment, log), self.pids)
        else:
            processes.start(name, [*inside, PROGRAM, *words], self.pids, environment)
        if wait:
            self.wait_serving(name)

    def _command(self, name: str, memory_bytes: int) -> list[str]:
        if name == "up":
            return ["up", "--state", str(self.folder / "state"), "--pki", str(self.folder / "pki"), *self._listen(name)]
        if name in (*SPLIT, "gateway"):
            return self._led_through(name, self._adapt(self._commands[name]))
        words = self._adapt([word.replace("s1", name) for word in self._commands["s1"]])
        words[words.index("--driver") + 1] = self.driver
        if self.shape == "embedded":
            # Where `up` listens is not known yet; its context will say it.
            words[words.index("--inventory") : words.index("--inventory") + 2] = ["--context", str(self.context)]
        if name in self.homes:
            words[words.index("--listen") + 1] = self._address(name)
        return [*words, "--memory-bytes", str(memory_bytes)]

    def _led_through(self, name: str, words: list[str]) -> list[str]:
        """Put the addresses at which a process reaches services otherwise into its command line."""
        for (process, service), address in self.through.items():
            if process == name:
                words[words.index(f"--{service}") + 1] = address
        return words

    def _listen(self, name: str) -> list[str]:
        return ["--listen", self._address(name)]

    def _address(self, name: str) -> str:
        """Return where a process listens, at every start the same, so that whoever knew it finds it again."""
        if name not in self._listens:
            self._listens[name] = lasting_address(self.homes.get(name, "127.0.0.1"))
        return self.addresses.get(name, self._listens[name])

    def _adapt(self, command: Sequence[str]) -> list[str]:
        """Put this machine's folders and addresses into a command line of compose.yaml."""
        folders = {
            "/var/lib/virtyard": self.folder / "state",
            "/etc/virtyard/pki": self.folder / "pki",
            "/etc/virtyard/agents": self.folder / "credentials",
            "/storage": self.shared,
        }
        adapted = []
        for word in command:
            here = next((place for place in folders if word.startswith(place)), "")
            dialled = re.fullmatch(r"(locks|inventory|jobs|gateway|s\d+):\d+", word)
            if dialled is not None:
                adapted.append(self._address(dialled[1]))
            elif word.startswith("127.0.0.1:"):
                adapted.append("127.0.0.1:0")
            else:
                adapted.append(word.replace(here, str(folders[here])) if here else word)
        return adapted

    def wait_serving(self, name: str) -> str:
        """Wait until a process says where it serves, and return the address."""
        said = re.compile(r"(?:serves|is up) on (\S+?)[;\s]")

        def look() -> str:
            found = said.findall(self.said(name))
            if not found and not self.is_alive(name):
                raise AssertionError(f"{name} ended:\n{(self.pids / f'{name}.log').read_text()[-3000:]}")
            return found[-1] if found else ""

        self.addresses[name] = until(look, START_SECONDS, f"{name} serves")
        return self.addresses[name]

    def said(self, name: str) -> str:
        """Return what a process has written since it was started last."""
        with (self.pids / f"{name}.log").open(errors="replace") as file:
            file.seek(self._seen.get(name, 0))
            return file.read()

    def record(self, name: str) -> processes.Record:
        """Return the record of a process by its name."""
        return next(record for record in processes.records(self.pids) if record.name == name)

    def is_alive(self, name: str) -> bool:
        """Tell whether a process runs."""
        return processes.is_alive(self.record(name))

    def wait_killed(self, name: str) -> None:
        """Wait until a process has killed itself."""
        until(lambda: not self.is_alive(name), 20.0, f"{name} kills itself; its VIRTYARD_KILL_AT was never reached")

    def set_wall_clock(self, name: str, seconds: float) -> None:
        """Set the wall clock of a process's machine by so many seconds, while it runs or before its next start."""
        place = self.moments / f"{name}.wall"
        place.with_suffix(".new").write_text(str(seconds))
        place.with_suffix(".new").replace(place)

    def is_stopped(self, name: str) -> bool:
        """Tell whether a process stands still."""
        fields = Path(f"/proc/{self.record(name).pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0] == "T"

    def resume(self, name: str) -> None:
        """Let a process go on that stands still."""
        processes.send(self.record(name), signal.SIGCONT)

    def kill(self, name: str) -> None:
        """Kill a process at once, as a power cut of its machine would."""
        processes.send(self.record(name), signal.SIGKILL)
        until(lambda: not self.is_alive(name), 10.0, f"{name} is gone")

    @contextmanager
    def paused(self, *names: str) -> Iterator[None]:
        """Let processes stand still for a while, as a machine that does not answer would."""
        try:
            for name in names:
                processes.send(self.record(name), signal.SIGSTOP)
            yield
        finally:
            for name in names:
                self.resume(name)

    def stop(self, name: str) -> None:
        """Ask a process to end, and see that it does."""
        assert not processes.end([self.record(name)], 10.0), f"{name} had to be killed"

    def close(self) -> None:
        """End every process, guests too, and remove the folder; what a process that died by itself said is shown."""
        for record in processes.records(self.pids):
            if not processes.is_alive(record):
                log = (self.pids / f"{record.name}.log").read_text(errors="replace")
                sys.stderr.write(f"{record.name} had ended before the site was closed:\n{log[-4000:]}\n")
        processes.end(processes.records(self.pids))
        processes.end([record for record, _ in processes.working_in(self.folder)])
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- what is there

    def client(self) -> Client:
        """Return a client; made inside the test's event loop."""
        return Client.connect(self.context, patience=Patience(first_pause=0.02, longest_pause=0.2))

    def guests(self) -> list[str]:
        """Return the running guests: the processes of QEMU, or the files of simulated ones."""
        if self.driver == "sim":
            return sorted(str(path) for path in self.folder.glob("state/*/**/guests/*.json"))
        return sorted(
            f"{record.pid} {line}"
            for record, line in processes.working_in(self.folder)
            if record.name.startswith("qemu-system")
        )

    def files(self) -> list[str]:
        """Return what lies on the shared storage."""
        return sorted(str(path.relative_to(self.shared)) for path in self.shared.rglob("*"))

    def images(self) -> list[str]:
        """Return the names of the disk images on the shared storage."""
        return sorted(path.name for path in self.shared.rglob("*") if path.suffix in (".qcow2", ".raw"))


@contextmanager
def open_site(
    shape: str = "embedded",
    servers: Sequence[str] = ("s1",),
    *,
    driver: str = "sim",
    memory_bytes: int = 64 << 30,
    homes: Mapping[str, str] | None = None,
    namespaces: Mapping[str, str] | None = None,
    nursed: bool = False,
    furnish: Callable[[Site], object] = lambda _: None,
) -> Iterator[Site]:
    """Run a site in a short folder of its own; whatever happens, nothing of it is left.

    A site that is `nursed` starts its processes quickly, as forks of one; see `tests/faults/nursery.py`. Its folders
    are there when `furnish` is called, and nothing is started yet.
    """
    folder = Path(tempfile.mkdtemp(prefix="vya-", dir="/tmp")) / "site"
    site = Site(folder, shape, driver)
    site.homes.update(homes or {})
    site.namespaces.update(namespaces or {})
    try:
        if nursed:
            site.nursery = Nursery(folder)
        furnish(site)
        site.open(servers, memory_bytes)
        yield site
    finally:
        site.close()
        if site.nursery is not None:
            site.nursery.close()
        shutil.rmtree(folder.parent, ignore_errors=True)


def until(condition: Callable[[], T], seconds: float, what: str) -> T:
    """Return what the condition gives once that is true."""
    deadline = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, f"not in {seconds:.0f} s: {what}"
        time.sleep(0.01)
