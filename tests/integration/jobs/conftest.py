"""A furnished site for the tests of the scheduler: two simulated servers, the pool Finance, and a repository."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.jobs.site import Site, furnish, running


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Run a furnished site."""
    async with running(tmp_path, "s1", "s2") as site:
        await furnish(site)
        await site.wait_released()
        yield site
