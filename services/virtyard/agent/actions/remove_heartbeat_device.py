"""Removing a heartbeat device that no member uses."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.api.actions.v1 import remove_heartbeat_device_pb2


async def do(message: remove_heartbeat_device_pb2.RemoveHeartbeatDevice, context: Context) -> Outcome:
    """Remove the device; as an undo only the one that the same step laid out."""
    changed = await context.host.heartbeat.remove(message.path, message.uid, context.own_mark)
    return Outcome(result=remove_heartbeat_device_pb2.RemoveHeartbeatDeviceResult(), changed=changed)


ACTION = Action(message=remove_heartbeat_device_pb2.RemoveHeartbeatDevice, lane=Lane.HEARTBEAT, do=do, probe=do)
