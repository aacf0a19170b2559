"""Looks at a site while the torture goes on, so that a bug is known minutes before the end.

What is read beside running processes is no one moment, so a finding counts if two looks that follow each other have it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping

from tests.acceptance.site import Site
from tests.invariants.check import findings
from tests.invariants.records import read

_PAUSE_SECONDS = 3.0


def not_as_acknowledged(site: Site, accepted: Mapping[str, str]) -> list[str]:
    """Return the operations that were acknowledged for a request id and are not there, or are of another one."""
    told = dict(accepted)
    known = {f"operations/{number}": request for _, request, number in read(site.folder).requests}
    return [
        f"{name} was acknowledged for {request}, and is {known.get(name) or 'not there'}"
        for name, request in told.items()
        if known.get(name) != request
    ]


async def look_for(
    site: Site, accepted: Mapping[str, str], known: Callable[[], list[str]], seconds: float
) -> list[str]:
    """Look for so long, until something is found that lasts or is known from elsewhere; return that, or nothing."""
    before: set[str] = set()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        await asyncio.sleep(_PAUSE_SECONDS)
        if found := known():
            return found
        try:
            now = set(await asyncio.to_thread(_look, site, accepted))
        except (sqlite3.Error, FileNotFoundError):  # it was renamed or locked while it was looked at
            continue
        if lasting := now & before:
            return sorted(lasting)
        before = now
    return []


def _look(site: Site, accepted: Mapping[str, str]) -> list[str]:
    found = not_as_acknowledged(site, accepted)
    return found + findings(site.folder, site.shared, site.effect_log, running=True)
