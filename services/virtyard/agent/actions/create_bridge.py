"""Making the bridge of a network."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome, cannot_bridge
from virtyard.agent.drivers.network.contract import Bridge
from virtyard.api.actions.v1 import create_bridge_pb2


async def do(message: create_bridge_pb2.CreateBridge, context: Context) -> Outcome:
    """Make the bridge under this mark; one that carries the network already stays as it is."""
    bridge = Bridge(name=message.bridge, uid=message.uid, uplink=message.uplink)
    changed = await context.host.network.create_bridge(bridge, context.mark)
    return Outcome(result=create_bridge_pb2.CreateBridgeResult(bridge=message.bridge), changed=changed)


async def probe(message: create_bridge_pb2.CreateBridge, context: Context) -> Outcome | None:
    """Find the bridge by its mark."""
    if await context.host.network.find_bridge(message.bridge, message.uid) != context.mark:
        return None
    return Outcome(result=create_bridge_pb2.CreateBridgeResult(bridge=message.bridge))


ACTION = Action(message=create_bridge_pb2.CreateBridge, lane=Lane.HOST, do=do, probe=probe, unsupported=cannot_bridge)
