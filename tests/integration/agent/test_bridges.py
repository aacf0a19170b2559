"""The bridge driver in a network namespace: an agent that is killed in the middle leaves nothing half made."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
BRIDGE, UPLINK = "vy0123456789", "eth1"
FREE = {"master": "", "alias": ""}


def _needs() -> str:
    """Why a network namespace cannot be had here; empty if it can."""
    if importlib.util.find_spec("pyroute2") is None:
        return "pyroute2 is not installed"
    if shutil.which("unshare") is None:
        return "unshare is not installed"
    tried = subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True, text=True)
    if tried.returncode:
        return f"network namespaces are not allowed here: {tried.stderr.strip()}"
    return "" if Path("/dev/net/tun").exists() else "there is no /dev/net/tun"


_MISSING = _needs()
pytestmark = pytest.mark.skipif(bool(_MISSING), reason=_MISSING)


async def kill(what: str, changes: int) -> dict[str, Any]:
    """Kill an agent after so many changes of interfaces, and return what the next one told."""
    words = ("unshare", "--net", sys.executable, "-m", "tests.integration.agent.bridge_victim", what, str(changes))
    victim = await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(60):
        told, _ = await victim.communicate()
    assert victim.returncode == 0
    answer: dict[str, Any] = json.loads(told)
    assert not answer["unsupported"]
    assert not answer["failed"]
    return answer


def is_whole(links: dict[str, dict[str, Any]]) -> bool:
    """Whether the bridge is there under its mark, with its uplink plugged in, and nothing else is."""
    return links == {
        BRIDGE: {"up": True, "master": "", "alias": "virtyard 0123456789abcdef 12/1/1"},
        UPLINK: {"up": True, "master": BRIDGE, "alias": ""},
    }


def is_bare(links: dict[str, dict[str, Any]]) -> bool:
    """Whether nothing but the free uplink is there."""
    return set(links) == {UPLINK} and FREE.items() <= links[UPLINK].items()


@pytest.mark.parametrize("changes", [1, 2])
async def test_a_bridge_that_was_half_made_is_gone_and_can_be_made(changes: int) -> None:
    """Killed before the last change: the next start removes it, the probe finds none, and doing it again makes it."""
    told = await kill("create", changes)
    assert told["killed"]
    assert BRIDGE not in told["dead"]
    assert len(told["dead"]) == 2
    assert is_bare(told["started"])
    assert not told["found"]
    assert told["changed"]
    assert is_whole(told["done"])
    assert told["undone"]
    assert is_bare(told["left"])


async def test_a_bridge_that_is_found_is_whole() -> None:
    """Killed after the last change: the bridge has its mark and its uplink, and the undo takes it away."""
    told = await kill("create", 3)
    assert told["killed"]
    assert is_whole(told["dead"])
    assert is_whole(told["started"])
    assert told["found"]
    assert not told["changed"]
    assert is_whole(told["done"])
    assert told["undone"]
    assert is_bare(told["left"])


async def test_making_a_bridge_takes_three_changes() -> None:
    """The kills above are all that there are."""
    assert not (await kill("create", 4))["killed"]


@pytest.mark.parametrize("changes", [1, 2, 3])
async def test_a_trial_bridge_goes_with_the_next_start(changes: int) -> None:
    """Killed while it tries whether bridges work, an agent leaves a bridge that the next one removes."""
    told = await kill("trial", changes)
    assert told["killed"]
    assert len(told["dead"]) == 2
    assert is_bare(told["started"])


async def test_a_bridge_that_is_just_being_made_is_left_alone() -> None:
    """An agent that starts beside a slow one takes nothing from it: both find that bridges work."""
    told = await kill("slow", 1)
    assert told["stopped"]
    assert len(told["dead"]) == len(told["started"]) == 2
    assert is_bare(told["end"])
