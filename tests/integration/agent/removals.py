"""What an agent takes away without a mark, and an agent that kills itself right after it: `removals.py FOLDER NAME`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from tests.integration.agent.scenario import effect, scheduler
from virtyard.api.actions.v1 import (
    claim_host_pb2,
    create_bridge_pb2,
    join_cluster_pb2,
    lay_out_heartbeat_device_pb2,
    leave_cluster_pb2,
    release_host_pb2,
    remove_bridge_pb2,
)
from virtyard.api.participant.v1 import participant_service_pb2 as participant


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """An action that takes something away."""

    before: tuple[Message, ...]
    """What makes it, the last of which is the undo."""
    do: Message
    """Takes it away."""

    @property
    def sent(self) -> participant.Effect:
        """The effect that takes it away."""
        return effect("20/1/1", self.do, undo=self.before[-1])


def removals(folder: Path) -> dict[str, Removal]:
    """Every such action, by a name."""
    device: dict[str, Any] = {"path": str(folder / "share" / "pool.heartbeat")}
    where: dict[str, Any] = {**device, "cluster_uid": "c1", "device_uid": "h1", "slot": 1, "server": "servers/s1"}
    lay_out = lay_out_heartbeat_device_pb2.LayOutHeartbeatDevice(**device, uid="h1", slots=4, io_timeout_seconds=1)
    return {
        "bridge": Removal(
            before=(create_bridge_pb2.CreateBridge(network="networks/lan", uid="n1", bridge="vylan"),),
            do=remove_bridge_pb2.RemoveBridge(bridge="vylan", uid="n1"),
        ),
        "claim": Removal(
            before=(claim_host_pb2.ClaimHost(owner_id="yard-a", server="servers/s1"),),
            do=release_host_pb2.ReleaseHost(owner_id="yard-a"),
        ),
        "membership": Removal(
            before=(lay_out, join_cluster_pb2.JoinCluster(**where)),
            do=leave_cluster_pb2.LeaveCluster(**where),
        ),
    }


async def main(folder: Path, name: str) -> None:
    """Make what is to be taken away, then die when it is taken away and that is not recorded."""
    armed = False

    def on_transition(transition: str) -> None:
        if armed and transition == "agent.acted":
            os.kill(os.getpid(), signal.SIGKILL)

    removal = removals(folder)[name]
    async with scheduler(folder, transition_hook=on_transition) as jobs:
        for number, message in enumerate(removal.before, start=10):
            await jobs.run(effect(f"{number}/1/1", message))
        armed = True
        await jobs.run(removal.sent)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
