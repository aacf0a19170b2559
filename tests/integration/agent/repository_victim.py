"""Agents that are killed while they make or remove a repository: `repository_victim.py WHAT FOLDER`.

WHAT is `create` or `remove`, and ends in ` in place` for a folder that was there before. Below FOLDER there is a
storage root for each change of files that the driver makes, where it was killed just before it; the first is `1`.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from virtyard.agent.drivers.storage import foundation

UID, MARK = "r1", "12/1/1"
_CHANGES = {"os.mkdir", "os.rmdir", "os.rename", "os.remove", "os.link"}


def is_killed(work: Callable[[], object], changes: int) -> bool:
    """Do `work` in a process that is killed just before so many changes; False if it makes fewer."""
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        assert status in {0, signal.SIGKILL}
        return status == signal.SIGKILL
    left = changes

    def count(event: str, _arguments: object) -> None:
        nonlocal left
        if event not in _CHANGES:
            return
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def main(what: str, folder: Path) -> None:
    """Kill one agent at each point."""
    for changes in itertools.count(1):
        repository = folder / str(changes) / "repo"
        repository.parent.mkdir()
        if what.endswith(" in place"):
            repository.mkdir()
        if what.startswith("remove"):
            foundation.lay_out(repository, UID, MARK, 0)
            killed = is_killed(lambda at=repository: foundation.take_away(at, UID, None), changes)  # type: ignore[misc]
        else:
            killed = is_killed(lambda at=repository: foundation.lay_out(at, UID, MARK, 0), changes)  # type: ignore[misc]
        if not killed:
            return


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
