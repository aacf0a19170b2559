"""kill -9 at every durable transition of what is no plain success: failures, aborts, holds, breaks, residue (R1, R2).

A story is told once, which lists the transitions of each process from its moment on. Then it is told once for each:
the process kills itself there, is started again, the story ends as it did, and the invariant checker finds nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from tests.acceptance.asking import create_machine, prepare, run
from tests.acceptance.site import Site, open_site
from tests.faults.scene import Point, Scene
from tests.faults.stories import STORIES
from tests.faults.test_crash_points import BESIDE, TRIES
from tests.integration.crash.stage import TORTURE, chosen
from tests.invariants.check import lasting_findings
from tools.points import STORY, note

pytestmark = pytest.mark.timeout(6000 if TORTURE else 600)
SERVERS = ("s1", "s2")
_REPORTS = re.compile(rf"{BESIDE.pattern}|inventory\.(certificate|disconnected)")
"""Transitions that come when they come, whatever is told; those of a host that is back, too."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Run a site in which every service is a process, with a machine that is stopped."""
    with open_site("split", SERVERS, nursed=True) as site:

        async def furnish() -> None:
            async with site.client() as client:
                await prepare(site, client)
                await run(client, create_machine(site, "base"))

        asyncio.run(furnish())
        yield site


async def tell(site: Site, name: str, point: Point | None = None) -> Scene:
    """Tell a story, and see that the site is as it must be afterwards; return the scene."""
    async with site.client() as client:
        scene = Scene(site, client, SERVERS, point)
        await scene.wait_unlocked()
        with scene.watched():
            await STORIES[name].tell(scene)
            await scene.close()
            found = await asyncio.to_thread(lasting_findings, site.folder, site.shared, site.effect_log)
        assert found == [], (name, point, found)
    return scene


@pytest.mark.parametrize("name", sorted(STORIES))
async def test_a_story_ends_as_it_does_wherever_a_process_is_killed(name: str, site: Site) -> None:
    """Whoever is killed at one of its transitions, and started again, takes part to the same end."""
    scene = await tell(site, name)
    found = scene.points(_REPORTS.fullmatch)
    assert STORIES[name].shows <= {point.name for point in found}
    points = chosen(name, found, STORIES[name].few)
    missed = []
    for point in points:
        for _ in range(TRIES):
            if (await tell(site, name, point)).dead:
                break
        else:
            missed.append(point)
    note(f"{STORY}{name}", "crash", len(points) - len(missed), len(found))
    # Results that come together share a commit, so the last of a name may be missing.
    assert len(missed) * 4 <= len(points) or len(points) < 4, missed
