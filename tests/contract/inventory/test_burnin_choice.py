"""The pool and the repository of a burn-in, found in lists that take several pages."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.contract.inventory.samples import create, effect, pool, repository
from tests.contract.inventory.served import Served
from tests.contract.inventory.test_reads import execute
from virtyard_client.burnin import leaks
from virtyard_client.burnin.command import find
from virtyard_client.client import Client
from virtyard_client.command.usage import UsageError


async def test_what_stands_on_a_later_page_is_found(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred objects fill a page where nobody says how long it is to be, and here 40 do."""
    monkeypatch.setattr(leaks, "_PAGE", 40)
    names = [f"p{number:03}" for number in range(102)]
    repositories = [repository(name) for name in names]
    for each in repositories:
        each.server_pool = "serverPools/p000"
    repositories[-1].server_pool = "serverPools/p101"
    await execute(served, effect("1/1/1", *(create(pool(name)) for name in names)))
    await execute(served, effect("1/2/1", *(create(each) for each in repositories)))
    client: Any = cast(Client, SimpleNamespace(inventory=served.reads))
    assert await find(client, "p101", "") == ("serverPools/p101", "repositories/p101")
    assert await find(client, "p000", "p100") == ("serverPools/p000", "repositories/p100")
    with pytest.raises(UsageError, match="there is no serverPools/p102"):
        await find(client, "p102", "")
