"""Processes that are started from a file alone, with one override by environment and one by flag, and what they say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import run
from tests.acceptance.site import PROGRAM, Site
from tools import processes
from virtyard.api.inventory.v1 import inventory_service_pb2, server_pb2
from virtyard.api.operations.v1 import discover_server_pb2
from virtyard.processes.site import prepare_authority
from virtyard.runtime.context_file import Context

pytestmark = pytest.mark.timeout(120)
GIB = 1 << 30


@pytest.fixture
def site() -> Iterator[Site]:
    """A site on disk of which nothing runs yet, with a file for all of its processes."""
    folder = Path(tempfile.mkdtemp(prefix="vya-", dir="/tmp")) / "site"
    made = Site(folder)
    prepare_authority(folder / "pki").issue("agent/s1", folder / "credentials", hosts=["127.0.0.1"])
    (folder / "virtyard.toml").write_text(
        f"""
[site]
state = "state"  # beside this file
pki = "pki"
runtime = "{folder}/run"
context = "{folder}/context.json"

[up]
listen = "127.0.0.1:0"
metrics = "127.0.0.1:0"

[inventory]
report_interval_seconds = 3
silence_seconds = 9

[agent]
name = "s1"
credentials = "credentials"
storage_roots = ["shared"]
driver = "sim"
memory_bytes = {7 * GIB}
cpus = 3

[log]
format = "json"
level = "debug"
"""
    )
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder.parent, ignore_errors=True)


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a process without anything of ours but what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VIRTYARD_")}
    return {**kept, **more}


def start(site: Site, name: str, words: list[str], environ: dict[str, str]) -> None:
    """Start a process and wait until it serves."""
    processes.start(name, [PROGRAM, *words], site.pids, environ)
    site.wait_serving(name)


def shown(process: str, words: list[str], environ: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return what `config show` says of a process with this command line and environment."""
    answer = subprocess.run(
        [PROGRAM, "config", "show", "--json", process, *words],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return {line["name"]: line for line in map(json.loads, answer.stdout.splitlines())}


async def test_processes_run_as_config_show_says(site: Site) -> None:
    """Proves that file, environment and flag reach what runs, in this order of precedence, and that `show` agrees."""
    file = site.folder / "virtyard.toml"
    up = ["--config", str(file), "--listen", "localhost:0"]
    up_environ = environment(VIRTYARD_LOG_FORMAT="text")
    agent = ["--memory-bytes", str(5 * GIB)]
    agent_environ = environment(VIRTYARD_CONFIG=str(file), VIRTYARD_AGENT_CPUS="2")
    start(site, "up", ["up", *up], up_environ)
    start(site, "s1", ["agent", *agent], agent_environ)

    said = shown("up", up, up_environ)
    assert said["up.listen"]["source"] == "flag --listen"
    assert site.addresses["up"].startswith("localhost:")
    assert said["site.state"]["value"] == str(site.folder / "state")
    assert (site.folder / "state" / "jobs.db").exists()
    assert said["site.context"]["value"] == str(site.context)
    context = Context.read(site.context)
    assert context.services["jobs"] == site.addresses["up"]
    assert said["up.metrics"]["source"] == f"{file}, line 10"
    assert context.metrics["up"].startswith("127.0.0.1:")
    assert said["log.format"] == {
        "name": "log.format",
        "value": "text",
        "unit": "",
        "source": "environment VIRTYARD_LOG_FORMAT",
    }
    assert " INFO    serving " in (site.pids / "up.log").read_text()

    said = shown("agent", agent, agent_environ)
    assert said["agent.cpus"]["source"] == "environment VIRTYARD_AGENT_CPUS"
    assert said["agent.memory_bytes"]["source"] == "flag --memory-bytes"
    assert said["agent.driver"]["source"] == f"{file}, line 20"
    assert said["agent.listen"]["source"] == "default"
    lines = [line for line in (site.pids / "s1.log").read_text().splitlines() if line.startswith("{")]
    assert json.loads(lines[0])["service"] == "agent s1"
    assert (site.folder / "state" / "agents" / "s1" / "ledger.db").exists()
    async with site.client() as client:
        server = server_pb2.Server(agent_address=site.addresses["s1"])
        await run(client, discover_server_pb2.DiscoverServerRequest(server_id="s1", server=server))
        found = await client.inventory.GetServer(inventory_service_pb2.GetServerRequest(name="servers/s1"))
    observed = found.observed
    assert observed.cpus == said["agent.cpus"]["value"] == 2
    assert observed.memory_bytes == said["agent.memory_bytes"]["value"] == 5 * GIB
    assert observed.hypervisor == said["agent.driver"]["value"] == "sim"


def test_a_file_with_mistakes_starts_nothing(site: Site) -> None:
    """Proves that a process tells every mistake, with the line, and opens nothing; `check` says the same before."""
    file = site.folder / "virtyard.toml"
    file.write_text('[up]\nlisten = "7401"\nmetrcs = "127.0.0.1:0"\n[site]\nstate = "state"\n')
    environ = environment(VIRTYARD_CONFIG=str(file))
    problems = [
        f"{file}, line 3, [up] metrcs: is no setting; did you mean metrics?",
        f"{file}, line 2, [up] listen: '7401' is not allowed; it must be host:port or unix:PATH",
    ]
    for words, code, expected in (
        (["up"], 2, [f"virtyard up: {problem}" for problem in problems]),
        (["config", "check"], 1, problems),
    ):
        ended = subprocess.run([PROGRAM, *words], env=environ, capture_output=True, text=True, check=False, timeout=30)
        assert ended.returncode == code
        assert (ended.stdout + ended.stderr).splitlines() == expected
    assert not (site.folder / "state").exists()


def test_the_file_of_the_guide_is_right() -> None:
    """Proves that the example in docs/configuration.md can be used as it stands."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "configuration.md").read_text()
    example = page.partition("```toml\n")[2].partition("```")[0]
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(example)
        file.flush()
        for process in ("up", "agent"):
            checked = subprocess.run(
                [PROGRAM, "config", "check", process, "--config", file.name],
                env=environment(),
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
            )
            assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout
