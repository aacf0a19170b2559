"""Removing the bridge of every network from this host but those of the networks that it is to carry."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.api.actions.v1 import remove_other_bridges_pb2
from virtyard.kernel.errors import WrongState


async def do(message: remove_other_bridges_pb2.RemoveOtherBridges, context: Context) -> Outcome:
    """Remove them one by one, but those that guests are plugged into; as an undo bring nothing back."""
    result = remove_other_bridges_pb2.RemoveOtherBridgesResult()
    network = context.host.network
    # A host that cannot carry networks has no bridges, and is no worse for being asked.
    if context.undoing or network.unsupported:
        return Outcome(result=result, changed=False)
    for bridge in await network.bridges():
        if bridge.uid in message.network_uids:
            continue
        try:
            if await network.remove_bridge(bridge.name, bridge.uid):
                result.removed.append(bridge.name)
        except WrongState:
            result.used.append(bridge.name)
    return Outcome(result=result, changed=bool(result.removed))


ACTION = Action(message=remove_other_bridges_pb2.RemoveOtherBridges, lane=Lane.HOST, do=do, probe=do)
