"""What makes a process stand still with a transaction open, when the torture asks for that; see `aim`.

The nursery applies it before a process begins; no product code knows of it.
"""

from __future__ import annotations

import signal
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

VARIABLE = "VIRTYARD_TORTURE_AIM"
"""While it is set, the nursery has each process obey."""
_TRIAL = 0.2


def obey(put: Callable[[object, str, object], None], order: Path) -> None:
    """Have this process stand still before a COMMIT while there is the file `order`.

    Operations that are tried one by one after crashes are tried for a shorter time: a scheduler that is killed every
    few seconds would do nothing else.
    """
    from virtyard.jobs import probation
    from virtyard.runtime import database

    commit = vars(database)["_commit"]

    def obedient(connection: sqlite3.Connection) -> None:
        try:
            order.unlink()
        except FileNotFoundError:
            pass
        else:
            # To this thread, so that it goes no further.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        commit(connection)

    put(database, "_commit", obedient)
    put(probation, "_TRIAL", _TRIAL)
