"""An agent in a process of its own that kills itself with SIGKILL at a named point: `victim.py FOLDER POINT`.

Points: `accepted` (the intent is durable, nothing is done), `acting` (a disk is half written), `acted` (the effect is
done and its result is not recorded), `recorded` (it is, and nobody was told).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.integration.agent.scenario import create_disk, create_repository, scheduler
from virtyard.agent.actions.contract import Context, Outcome
from virtyard.agent.actions.create_disk_file import ACTION

SIZE = 1 << 30


def die() -> None:
    """End like a host whose power fails."""
    os.kill(os.getpid(), signal.SIGKILL)


async def main(folder: Path, point: str) -> None:
    """Make the repository, then die while making the disk."""
    armed = False

    def on_transition(name: str) -> None:
        if armed and name == {"accepted": "agent.A1", "acted": "agent.acted", "recorded": "agent.A2"}.get(point):
            die()

    async def do(message: Any, context: Context) -> Outcome:
        def progress(done: int, total: int, stage: str) -> None:
            if point == "acting" and done * 10 > total:
                die()

        return await ACTION.do(message, replace(context, progress=progress))

    catalogue = {ACTION.message.DESCRIPTOR.full_name: replace(ACTION, do=do)}
    async with scheduler(folder, catalogue, driver="qemu", transition_hook=on_transition) as jobs:
        await jobs.run(create_repository(folder))
        armed = True
        await jobs.run(create_disk(folder, size=SIZE, full=True))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
