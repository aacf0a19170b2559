"""Ending a guest at once."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.api.actions.v1 import kill_guest_pb2


async def do(message: kill_guest_pb2.KillGuest, context: Context) -> Outcome:
    """End the guest; as an undo only the one that the same step started."""
    hypervisor = context.host.hypervisor
    if context.undoing:
        guest = await hypervisor.find(message.uid)
        if guest is None or guest.mark != context.mark:
            return Outcome(result=kill_guest_pb2.KillGuestResult(was_running=False), changed=False)
    was_running = await hypervisor.kill(message.uid)
    return Outcome(result=kill_guest_pb2.KillGuestResult(was_running=was_running), changed=was_running)


ACTION = Action(message=kill_guest_pb2.KillGuest, lane=Lane.ENDING, do=do, probe=do)
