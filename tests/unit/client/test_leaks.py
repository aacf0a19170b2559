"""What a burn-in counts as left behind: its objects and locks, and files and guests that were not there before."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from virtyard.api.locks.v1 import lock_service_pb2
from virtyard_client.burnin.leaks import Leaks, Picture, compare
from virtyard_client.client import Client

BEFORE = Picture(
    objects=frozenset({"virtualMachines/web"}),
    files=frozenset({"an old file is nobody's"}),
    guests={"servers/s1": 2},
    recorded={"servers/s1": 1},
)
"""A site on which not all was well before the burn-in, which is not its fault."""
OURS = frozenset({"operations/7"})


class Locks:
    """A lock service's list, a lock to a page."""

    def __init__(self, *owners: str) -> None:
        """List one lock of each owner."""
        self._owners = owners

    async def ListLocks(self, request: lock_service_pb2.ListLocksRequest) -> lock_service_pb2.ListLocksResponse:  # noqa: N802 - an rpc
        """Return the page that the token names."""
        place = int(request.page_token or 0)
        locks = [lock_service_pb2.Lock(object="virtualDisks/d", owner=owner) for owner in self._owners[place:][:1]]
        more = str(place + 1) if place + 1 < len(self._owners) else ""
        return lock_service_pb2.ListLocksResponse(locks=locks, next_page_token=more)


async def left(after: Picture, *owners: str) -> Leaks:
    """Compare with what was before, while these hold locks."""
    client: Any = SimpleNamespace(locks=Locks(*owners))
    return await compare(cast(Client, client), BEFORE, after, "burnin-1", OURS)


async def test_what_was_there_before_or_is_other_peoples_is_no_leak() -> None:
    """Somebody makes and starts a machine meanwhile, and works under locks."""
    others = replace(
        BEFORE,
        objects=BEFORE.objects | {"virtualMachines/db"},
        guests={"servers/s1": 3},
        recorded={"servers/s1": 2},
    )
    assert (await left(others, "operations/6", "locks/maintenance")).count == 0


@pytest.mark.parametrize(
    ("planted", "owners", "kind", "told"),
    [
        (
            {"objects": BEFORE.objects | {"virtualDisks/burnin-1-0-4"}},
            (),
            "objects",
            "virtualDisks/burnin-1-0-4",
        ),
        ({}, ("operations/6", "operations/7"), "locks", "virtualDisks/d held by operations/7"),
        ({"files": BEFORE.files | {"lost.qcow2 is nobody's"}}, (), "files", "lost.qcow2 is nobody's"),
        (
            {"guests": {"servers/s1": 3}},
            (),
            "processes",
            "1 guests on servers/s1 that no machine is recorded for",
        ),
    ],
    ids=["object", "lock", "file", "process"],
)
async def test_a_thing_of_each_kind_is_found(
    planted: dict[str, Any], owners: tuple[str, ...], kind: str, told: str
) -> None:
    """One of each, which is named, and nothing beside it."""
    found = await left(replace(BEFORE, **planted), *owners)
    assert list(getattr(found, kind)) == [told]
    assert found.count == 1
