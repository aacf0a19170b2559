"""What a preview may leave behind: nothing, byte for byte, in no database and in no file of the shared folder.

No host reports on a stage, and what else may be written beside a preview is known: commits by their transitions, of
which only those of `BESIDE` make a look void, and the slots of heartbeat devices, which their members renew.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tests.integration.crash.stage import Stage
from tests.integration.jobs.site import LIMIT

BESIDE = frozenset(
    {
        "agent.heard",
        "agent.hello",
        "agent.settled",
        "inventory.events",
        "inventory.flood",
        "inventory.settled",
        "jobs.compared",
        "jobs.event_tail",
        "jobs.hello",
        "jobs.rows",
    }
)
"""Transitions of what follows the end of the operation before: its events, forgotten ledgers, a host greeted."""
_DEVICE = ".heartbeat"


def traces(folder: Path) -> dict[str, str]:
    """Return the content of every database and of every shared file below a site's folder, by path."""
    found = {}
    for path in sorted(folder.rglob("*.db")):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            found[str(path.relative_to(folder))] = "\n".join(database.iterdump())
    for path in sorted((folder / "share").rglob("*")):
        if path.is_file():
            told = f"{path.stat().st_mtime_ns} {hashlib.sha256(path.read_bytes()).hexdigest()}"
            found[str(path.relative_to(folder))] = told if path.suffix != _DEVICE else str(path.stat().st_size)
    return found


def differences(before: dict[str, str], after: dict[str, str]) -> Sequence[str]:
    """Return the paths whose content is not the same."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


async def check_preview(stage: Stage) -> None:
    """Preview the example, and see that nothing is written by it."""
    async with asyncio.timeout(LIMIT):
        while True:
            begun = len(stage.site.transitions)
            before = await asyncio.to_thread(traces, stage.site.folder)
            await stage.plan()
            after = await asyncio.to_thread(traces, stage.site.folder)
            meanwhile = set(stage.site.transitions[begun:])
            if not meanwhile or meanwhile - BESIDE:
                break
    changed = differences(before, after)
    assert not [*changed, *meanwhile], f"a preview changed {', '.join(changed)} by {', '.join(meanwhile)}"
