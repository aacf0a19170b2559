"""What long lists cost a real Chromium: the Jobs tab and the navigation tree, of ten thousand rows and of a hundred."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.acceptance.asking import create_machine, prepare, run
from tests.acceptance.console.chromium import play, play_with_cues
from tests.acceptance.console.many_jobs import FEW, fill_history
from tests.acceptance.console.many_machines import fill_machines
from tests.acceptance.site import Site
from virtyard.api.operations.v1 import rename_virtual_machine_pb2

FEW_MACHINES, MANY = 100, 10_000
_CHANGES = 3
"""So many machines are renamed, one after another, while the tree is looked at."""
_PATIENCE = 300


def list_costs(site: Site, rows: int = MANY) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what scrolling through a list of a hundred jobs and of very many costs; an operation must have five."""
    site.stop("up")
    there = fill_history(site.folder / "state" / "jobs.db", rows)
    site.start("up")
    said = play("many_jobs.mjs", site, _PATIENCE + rows // 80, few=FEW, rows=rows)["said"]
    few, many = said["few"], said["many"]
    assert few["rows"] >= 100
    assert many["rows"] >= there >= rows
    return few, many


def tree_costs(site: Site) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a tree of a hundred machines and of ten thousand costs; the site must be empty."""
    asyncio.run(make_machine(site))
    return _look_at(site, FEW_MACHINES, "Afresh"), _look_at(site, MANY, "Again")


async def make_machine(site: Site, disks: Sequence[Any] = (), cards: int = 0) -> None:
    """Make the one machine of an empty site."""
    async with site.client() as client:
        await prepare(site, client)
        await run(client, create_machine(site, "web", disks, cards))


def _look_at(site: Site, machines: int, word: str) -> dict[str, Any]:
    """Bring the site to so many machines, and return what looking at its tree costs."""
    site.stop("up")
    fill_machines(site.folder / "state" / "inventory.db", "virtualMachines/web", machines)
    site.start("up")
    found = play_with_cues(
        "many_machines.mjs",
        site,
        {"change": lambda: asyncio.run(_rename(site, word))},
        machines=machines,
        changed=f"{word} {_CHANGES - 1}",
    )
    said: dict[str, Any] = found["said"]
    return said


async def _rename(site: Site, word: str) -> None:
    """Rename some machines, so that they come to stand before all others."""
    async with site.client() as client:
        for number in range(_CHANGES):
            name = f"virtualMachines/copy-{number + 1:05}"
            request = rename_virtual_machine_pb2.RenameVirtualMachineRequest(name=name, display_name=f"{word} {number}")
            await run(client, request)
