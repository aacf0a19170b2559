"""Laying out a heartbeat device."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.api.actions.v1 import lay_out_heartbeat_device_pb2


async def do(message: lay_out_heartbeat_device_pb2.LayOutHeartbeatDevice, context: Context) -> Outcome:
    """Lay the device out under this mark."""
    device = await context.host.heartbeat.lay_out(
        message.path, message.uid, message.slots, float(message.io_timeout_seconds), context.mark
    )
    result = lay_out_heartbeat_device_pb2.LayOutHeartbeatDeviceResult(size_bytes=device.size_bytes)
    return Outcome(result=result)


async def probe(message: lay_out_heartbeat_device_pb2.LayOutHeartbeatDevice, context: Context) -> Outcome | None:
    """Find the device by its mark; one that was not linked into place yet is cleared away."""
    device = await context.host.heartbeat.find(message.path, message.uid)
    if device is not None and device.mark == context.mark:
        return Outcome(result=lay_out_heartbeat_device_pb2.LayOutHeartbeatDeviceResult(size_bytes=device.size_bytes))
    await context.host.heartbeat.remove(message.path, message.uid, context.mark)
    return None


ACTION = Action(message=lay_out_heartbeat_device_pb2.LayOutHeartbeatDevice, lane=Lane.HEARTBEAT, do=do, probe=probe)
