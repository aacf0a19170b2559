"""Faults for tests: a process that kills itself right after a durable transition that VIRTYARD_KILL_AT names.

``VIRTYARD_KILL_AT=jobs.C2`` kills at the first one, ``jobs.Ck#2`` at the second. Without it nothing is hooked.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

VARIABLE = "VIRTYARD_KILL_AT"


def kill_hook() -> Callable[[str], None] | None:
    """Return the hook for `Database.open`; None if no fault is asked for."""
    wanted, _, count = os.environ.get(VARIABLE, "").partition("#")
    if not wanted:
        return None
    left = int(count or 1)

    def hook(transition: str) -> None:
        nonlocal left
        if transition == wanted:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook
