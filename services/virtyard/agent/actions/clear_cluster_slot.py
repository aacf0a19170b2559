"""Clearing the slot of a member whose server is proven dead."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.agent.drivers.heartbeat.contract import Slot
from virtyard.api.actions.v1 import clear_cluster_slot_pb2


async def do(message: clear_cluster_slot_pb2.ClearClusterSlot, context: Context) -> Outcome:
    """Clear the slot; as an undo put back what the same step cleared."""
    if context.undoing:
        return _outcome(await context.host.heartbeat.put_back(_slot(message), context.mark))
    return _outcome(await context.host.heartbeat.clear(_slot(message), context.mark))


async def probe(message: clear_cluster_slot_pb2.ClearClusterSlot, context: Context) -> Outcome | None:
    """Find by its mark what was cleared; putting back is done again."""
    if context.undoing:
        return await do(message, context)
    cleared = await context.host.heartbeat.was_cleared(_slot(message), context.mark)
    return _outcome(cleared) if cleared else None


def _slot(message: clear_cluster_slot_pb2.ClearClusterSlot) -> Slot:
    return Slot(path=message.path, device_uid=message.device_uid, number=message.slot, server=message.server)


def _outcome(changed: bool) -> Outcome:
    return Outcome(result=clear_cluster_slot_pb2.ClearClusterSlotResult(was_member=changed), changed=changed)


ACTION = Action(message=clear_cluster_slot_pb2.ClearClusterSlot, lane=Lane.HEARTBEAT, do=do, probe=probe)
