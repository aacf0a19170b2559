"""An operation type from another package, added by entry points alone, from the command line to the agent and back."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.generate_extension import HERE, generate
from tools.bench.site import ROOT, Site, agent_address, environment, running

pytestmark = pytest.mark.slow


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Run `virtyard up` and one agent, with the package on their path, and discover the server."""
    async with running(tmp_path / "site", split=False) as site:
        code, said = await virtyard(site, "server", "discover", "s1", "--agent-address", agent_address(site), "--wait")
        assert code == 0, said
        yield site


async def virtyard(site: Site, *words: str) -> tuple[int, str]:
    """Run the command line and return its exit code with what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "virtyard_client", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment() | {"VIRTYARD_CONTEXT": str(site.context)},
        cwd=ROOT,
    )
    async with asyncio.timeout(60):
        said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_an_added_operation_runs_like_any_other(site: Site) -> None:
    """Verb, help, plan, run on the agent, lines and JSON: with no other edit."""
    code, said = await virtyard(site, "no-op", "run", "--help")
    assert code == 0
    assert "Does nothing on a server" in said
    assert "--hold-milliseconds" in said

    code, said = await virtyard(site, "no-op", "run", "servers/s1", "--hold-milliseconds", "250", "--wait")
    assert code == 0, said
    assert "No Operation" in said

    code, said = await virtyard(site, "no-op", "run", "servers/s1", "--wait", "--json")
    assert code == 0, said
    lines = [json.loads(line) for line in said.splitlines()]
    assert lines[-1]["done"] is True

    code, said = await virtyard(site, "no-op", "run", "servers/s1", "--hold-milliseconds", "-5", "--json")
    assert code == 2, said
    assert "hold_milliseconds" in said

    code, said = await virtyard(site, "no-op", "run", "servers/nobody")
    assert code == 2, said
    assert "servers/nobody does not exist" in said


def test_the_generated_code_is_that_of_the_protos(tmp_path: Path) -> None:
    """What is checked in is what plain protoc makes of the package's protos."""
    generate(tmp_path)
    made = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert len(made) == 5
    assert all((tmp_path / path).read_bytes() == (HERE / path).read_bytes() for path in made)
