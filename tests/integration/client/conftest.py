"""A fake site for each test that asks for one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.client.fake_site import Site, serve


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A running fake site."""
    site, server = await serve(tmp_path)
    yield site
    await server.stop(None)
