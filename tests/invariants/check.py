"""The invariant checker: whether a site is as it promises to be, read from its disks alone.

The same checks follow every crash point, abort point and failing step, and end the torture. A finding counts if it is
there twice: what is read from several files beside running processes is no one moment (P36).
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from tests.invariants import hosts, services
from tests.invariants.records import read

PATIENCE_SECONDS = 10.0
"""What is due follows the end of an operation by itself, in less than this."""
_PAUSE = 0.05


def findings(folder: Path, shared: Path, log: Path | None = None, *, running: bool = False) -> list[str]:
    """Return what is not as it must be, in words; nothing if all is well.

    Args:
        folder: the folder of the site, with all databases and the agents' states.
        shared: the storage that all hosts share.
        log: the effect log; see `processes/effect_log.py`.
        running: operations may be open, so only what holds at every moment is looked at.
    """
    records = read(folder)
    found = [line for check in services.ALWAYS for line in check(records)]
    if not running:
        found += [line for check in services.ENDED for line in check(records)]
        world = hosts.look(folder, shared)
        found += [line for compare in hosts.CHECKS for line in compare(records, world)]
    if log is not None and log.exists():
        made = Counter(log.read_text().splitlines())
        found += [f"{line} was made {count} times" for line, count in made.items() if count > 1]
    return found


def lasting_findings(
    folder: Path, shared: Path, log: Path | None = None, *, running: bool = False, patience: float = PATIENCE_SECONDS
) -> list[str]:
    """Return the findings that do not go away by themselves in `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            found = findings(folder, shared, log, running=running)
        except FileNotFoundError as error:  # it was renamed or removed while it was looked at
            found = [str(error)]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(_PAUSE)
