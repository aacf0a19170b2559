"""Booting a guest again where it is."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.api.actions.v1 import boot_guest_pb2


async def do(message: boot_guest_pb2.BootGuest, context: Context) -> Outcome:
    """Boot the guest once under this mark; as an undo only if it has shut down."""
    hypervisor = context.host.hypervisor
    guest = await hypervisor.find(message.uid)
    changed = not context.undoing or (guest is not None and not guest.running)
    if changed:
        guest = await hypervisor.boot(message.uid, context.mark)
    if guest is None:
        return Outcome(result=boot_guest_pb2.BootGuestResult(hypervisor=hypervisor.name), changed=False)
    result = boot_guest_pb2.BootGuestResult(
        hypervisor=hypervisor.name,
        accelerator=guest.accelerator,
        process_id=guest.pid,
        serial_log_path=str(guest.serial_log or ""),
        run=guest.run,
    )
    return Outcome(result=result, changed=changed)


ACTION = Action(message=boot_guest_pb2.BootGuest, lane=Lane.HYPERVISOR, do=do, probe=do)
