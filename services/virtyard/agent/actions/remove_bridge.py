"""Removing the bridge of a network."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome, done_again
from virtyard.api.actions.v1 import remove_bridge_pb2


async def do(message: remove_bridge_pb2.RemoveBridge, context: Context) -> Outcome:
    """Remove the bridge; as an undo only the one that the same step made."""
    was_there = await context.host.network.remove_bridge(message.bridge, message.uid, context.own_mark)
    return Outcome(result=remove_bridge_pb2.RemoveBridgeResult(was_there=was_there), changed=was_there)


ACTION = Action(message=remove_bridge_pb2.RemoveBridge, lane=Lane.HOST, do=do, probe=done_again(do))
