"""The commands of the documentation, run as they stand: each against real processes on simulated hosts.

A command is a line of a `sh` or `console` block, or a code span that begins with `virtyard` or `make`. Names of hosts,
paths and ports are put in by one table; what cannot be run here is named in another one with the reason, and a command
that is in no table and fails, fails the test of its document.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.site import PROGRAM, ROOT, until
from tools import processes

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "README.md", ROOT / "clients/python/README.md", *(ROOT / "docs").glob("**/*.md"))
)
ELSEWHERE = {
    "make demo": "run by .ci/run, and by tests/acceptance/test_demo.py",
    "make demo KEEP=1": "run by tests/acceptance/test_demo.py",
    "make demo DRIVER=qemu": "run by .ci/run, and by tests/acceptance/test_demo.py",
    "make demo-stop": "run by tests/acceptance/test_demo.py",
    "make test": "runs this test",
    "make check": "run by .ci/run",
    "make console": "run by make demo and make test",
    "make help": "prints the Makefile's own comments",
    "make bench": "takes minutes",
    'make bench ARGS="--only stalled"': "takes minutes",
    'make bench ARGS="--only console"': "takes minutes",
    'make bench ARGS="--only host-events"': "takes minutes",
    'make bench ARGS="--only aborts"': "takes minutes",
    "virtyard burnin --minutes 5": "takes minutes: tests/acceptance/test_burnin.py runs it for seconds",
    "make bench-lists": "takes minutes",
    "make bench-history": "takes many minutes; in small: tests/integration/jobs/test_history.py",
    "make torture": "takes long; its checker: tests/integration/crash/test_checker.py",
    "make torture MINUTES=30": "takes long; its checker: tests/integration/crash/test_checker.py",
    "make torture-points": "takes long; in small: tests/faults/test_crash_points.py",
    "virtyard job explain 12-1": "needs a job that waits: tests/integration/jobs/test_explaining.py",
    "virtyard serve inventory": "the name of a command: its line in operations.md is run",
    "virtyard serve jobs": "the name of a command: its line in operations.md is run",
    "virtyard serve gateway": "the name of a command: its line in operations.md is run",
    "virtyard server confirm-dead": "the name of a command: its line in operations.md is run",
    "virtyard console": "needs a running site: tests/acceptance/test_demo.py",
    "virtyard console --token": "needs a running site: tests/acceptance/test_gateway.py",
    "virtyard console --list": "needs a running site: tests/integration/gateway/test_signing_out.py",
    "virtyard console --revoke ID": "needs the id of a grant: tests/integration/gateway/test_signing_out.py",
    "virtyard serve locks": "the name of a command: its line in operations.md is run",
    "virtyard up --metrics 10.0.0.5:9401": "a second site in the same folder: tests/acceptance/test_metrics.py",
    "virtyard event watch": "does not end: tests/acceptance/test_events.py",
    "virtyard event watch --filter 'severity >= WARNING' --json": "does not end: tests/acceptance/test_events.py",
    "virtyard up": "the name of a command: its line in operations.md is run",
    "virtyard serve": "the name of a command: its lines in operations.md are run",
    "virtyard restore --from /srv/virtyard/backup": "needs a site that is stopped: tests/faults/test_restore.py",
    "virtyard job retry 12-3": "needs an undo that was refused: tests/integration/jobs/test_stuck.py",
    "virtyard job set-priority 12-1 --priority 5": "needs a job that waits: tests/integration/jobs/test_control.py",
    'virtyard event acknowledge events/12 --comment "replaced the disk"': "needs an event: acceptance/test_events.py",
    'virtyard server confirm-dead s1 --proof "its power cable is pulled"': "needs one: faults/test_contact_lost.py",
    "virtyard job abort 12-3": "needs a job that runs: tests/integration/jobs/test_job_abort.py",
    "virtyard job accept 12-3": "needs an undo that was refused: tests/integration/jobs/test_stuck.py",
}
"""Commands that are not run here, with the reason and with who runs them."""
SERVES = ("virtyard up", "virtyard serve ", "virtyard agent ")
"""What does not end by itself: it is started, and must say where it serves."""
DISK = "--disk repository=shared,size=8M"
WEB = "virtyard vm create web --server-pool Finance --memory 256M --cpus 1 --kernel /srv/virtyard/vmlinuz"
BEFORE = {
    ("README.md", "virtyard virtual-disk resize web-disk1"): [
        "virtyard repository create shared --path /srv/virtyard/disks --server-pool Finance",
        f"{WEB} {DISK} {DISK}",
    ],
    ("docs/operations.md", "virtyard vm describe web"): [
        "virtyard server-pool create Finance --server s1",
        "virtyard repository create shared --path /srv/virtyard/disks --server-pool Finance",
        f"{WEB} {DISK}",
    ],
    ("docs/architecture.md", "virtyard vm create web"): [
        "virtyard server-pool create Finance --server s1 --server s2 --server s3",
        "virtyard repository create shared --path /srv/virtyard/disks --server-pool Finance",
    ],
}
"""What a document takes for granted before a command, by how that begins; the stage of the story that it leaves out."""
CODES = {
    "virtyard doctor": (0, 1),
    "virtyard operation abort 13 --wait": (0, 3),
    "virtyard config check agent": (1,),
    "virtyard config show agent": (1,),
}
"""Exit codes of commands that do not just succeed: an abort may come too late, and no agent is configured here."""


def commands_of(text: str) -> list[str]:
    """Return the commands of a document in their order, each on one line, without comments."""
    found = []
    for match in re.finditer(
        r"```(sh|console|bash|shell)\n(?P<block>.*?)```|`(?P<span>(virtyard|make) [^`]+)`", text, re.DOTALL
    ):
        if match["span"]:
            found.append(" ".join(match["span"].split()))
            continue
        block = re.sub(r"\\\n\s*", "", match["block"])
        prompted = match[1] == "console"
        lines = [line.removeprefix("$ ") for line in block.splitlines() if not prompted or line.startswith("$ ")]
        found += [re.sub(r"\s{2,}#.*", "", line).strip() for line in lines if line.strip() and not line.startswith("#")]
    return found


class Stage:
    """Processes and folders for the commands of one document."""

    def __init__(self, document: str, folder: Path, *, site: bool) -> None:
        self._document = document
        self.folder = folder
        self._ports: dict[str, str] = {}
        self._started = 0
        self._told: set[str] = set()
        for name in ("srv", "kernels", "state", "etc"):
            (folder / name).mkdir()
        (folder / "srv" / "vmlinuz").touch()
        (folder / "boot").mkdir()
        if site:
            self.run("virtyard up --listen control.example.org:7401")
            for name in ("s1", "s2", "s3"):
                self.run(f"virtyard pki issue agent/{name} --out /etc/virtyard/{name}")
                self.run(
                    f"virtyard agent --name {name} --credentials /etc/virtyard/{name} --storage-root /srv/virtyard"
                    f" --state /var/lib/virtyard/{name} --listen {name}.example.org:7404"
                )
                self.run(f"virtyard server discover {name} --agent-address {name}.example.org:7404")

    def adapt(self, command: str) -> list[str]:
        """Return a command's words with this machine's folders, ports and numbers in it."""
        words = [
            re.sub(r"\b((control|s\d)(\.example\.org)?:\d+)$", lambda match: self._port(match[1]), word)
            for word in shlex.split(command)
        ]
        places = {
            r"/(srv/(virtyard|shared)|tmp/virtyard-demo-0/shared(/boot)?)\b": f"{self.folder}/srv",
            r"/etc/virtyard\b": f"{self.folder}/etc",
            r"/var/lib/virtyard\b": f"{self.folder}/state",
        }
        for place, here in places.items():
            words = [re.sub(place, here, word) for word in words]
        if words[:2] == ["virtyard", "pki"] and "--out" in words:
            number = words.index("--out") + 1
            words[number] = str(self.folder / "etc" / words[number].removeprefix("DIR"))
        if words[:2] == ["virtyard", "pki"]:
            words = [word.replace("NAME", "ann") for word in words]
        if words[:2] == ["virtyard", "agent"]:
            words += ["--driver", "sim"]
        if words[1] == "operation" and len(words) > 3 and words[3].isdigit():
            words[3] = self.newest()
        return [PROGRAM, *words[1:]]

    def _port(self, address: str) -> str:
        """Return the address on this machine that stands for one of the documentation's."""
        port = address.rpartition(":")[2]
        place = "control" if address.startswith("control") else address.partition(".")[0]
        if f"{place}:{port}" not in self._ports:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self._ports[f"{place}:{port}"] = f"127.0.0.1:{free.getsockname()[1]}"
        return self._ports[f"{place}:{port}"]

    def newest(self) -> str:
        """Return the number of the newest operation."""
        listed = self.execute([PROGRAM, "operation", "list", "--limit", "1", "--json"])
        assert listed.returncode == 0, listed.stderr
        return str(json.loads(listed.stdout)["name"]).partition("/")[2]

    def run(self, command: str) -> None:
        """Run a command, with what goes before it, and see that it ends as it should."""
        for (document, beginning), more in BEFORE.items():
            if document == self._document and f"{command} ".startswith(f"{beginning} ") and more[0] not in self._told:
                self._told.update(more)
                for one in more:
                    self.run(one)
        words = self.adapt(command)
        if command.startswith(SERVES):
            self._serve(command, words)
            return
        if command.startswith("virtyard pki init"):
            self.end()  # another way to start a site begins here
        ended = self.execute(words)
        if ended.returncode == 2 and len(words) == 3 and "is missing" in ended.stderr:
            ended = self.execute([*words, "--help"])  # the name of a command that wants more words
        codes = next((codes for known, codes in CODES.items() if command == known), (0,))
        assert ended.returncode in codes, f"{command}\n{ended.stdout}{ended.stderr}"

    def execute(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """Run words to their end."""
        return subprocess.run(
            words, env=self.environment(), cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
        )

    def environment(self) -> dict[str, str]:
        """Return the environment of everybody: root's folders are below this one's."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("VIRTYARD_")}
        context, run = self.folder / "context.json", self.folder / f"run{self._started}"
        return {
            **own,
            "VIRTYARD_CONTEXT": str(context),
            "VIRTYARD_STATE": str(self.folder / "state"),
            "VIRTYARD_RUNTIME": str(run),
        }

    def _serve(self, command: str, words: list[str]) -> None:
        self._started += 1
        name = f"p{self._started}"
        record = processes.start(name, words, self.folder / "processes", self.environment())
        log = self.folder / "processes" / f"{name}.log"
        said = re.compile(r"(serves|is up) on ")
        until(lambda: said.search(log.read_text()) or not processes.is_alive(record), 40, f"{command} serves")
        assert said.search(log.read_text()), f"{command}\n{log.read_text()}"

    def end(self) -> None:
        """End every process."""
        processes.end(processes.records(self.folder / "processes"))
        shutil.rmtree(self.folder / "processes", ignore_errors=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path."""
    with tempfile.TemporaryDirectory(prefix="vyx-", dir="/tmp") as place:
        yield Path(place)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_of_a_document_works(folder: Path, document: str) -> None:
    """Run from top to bottom, each command ends well, or is named with the reason why it is not run here."""
    commands = [one for one in commands_of((ROOT / document).read_text()) if one not in ELSEWHERE]
    if not commands:
        return
    assert all(command.startswith("virtyard ") for command in commands), commands
    starts_itself = any(command.startswith("virtyard agent ") for command in commands)
    stage = None
    try:
        stage = Stage(
            document, folder, site=not starts_itself and any(len(command.split()) > 2 for command in commands)
        )
        for command in commands:
            stage.run(command)
    finally:
        processes.end(processes.records(folder / "processes"))


def test_no_reason_outlives_its_command() -> None:
    """Every command that is excused is in a document."""
    found = {command for document in DOCUMENTS for command in commands_of((ROOT / document).read_text())}
    assert set(ELSEWHERE) <= found, set(ELSEWHERE) - found


def test_commands_are_found_in_blocks_and_spans() -> None:
    """Comments and output are left out, and a command over several lines is one."""
    text = "```sh\nvirtyard up  # all\nvirtyard a \\\n    b\n```\nSee `virtyard vm list`.\n"
    text += "```console\n$ virtyard x\nout\n```\n"
    assert commands_of(text) == ["virtyard up", "virtyard a b", "virtyard vm list", "virtyard x"]
