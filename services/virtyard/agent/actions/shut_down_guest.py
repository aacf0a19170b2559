"""Asking a guest to shut down, and waiting until it has."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.api.actions.v1 import shut_down_guest_pb2
from virtyard.kernel.errors import WrongState


async def do(message: shut_down_guest_pb2.ShutDownGuest, context: Context) -> Outcome:
    """Wait for the guest's own shutdown.

    Raises:
        WrongState: it did not shut down in time, and is not to be forced.
    """
    down = await context.host.hypervisor.shut_down(
        message.uid,
        message.grace_seconds,
        on_wait=lambda done: context.progress(done, message.grace_seconds, "waiting for the guest to shut down"),
    )
    if not down and not message.force:
        text = f"the guest of {message.virtual_machine} did not shut down within {message.grace_seconds} s"
        raise WrongState(f"{text}; it can be forced, or killed", resource=message.virtual_machine)
    return Outcome(result=shut_down_guest_pb2.ShutDownGuestResult(shut_down=down))


async def probe(message: shut_down_guest_pb2.ShutDownGuest, context: Context) -> Outcome | None:
    """Find out whether the guest has shut down; one that has not is not asked any more."""
    if not await context.host.hypervisor.is_down(message.uid):
        return None
    return Outcome(result=shut_down_guest_pb2.ShutDownGuestResult(shut_down=True))


ACTION = Action(message=shut_down_guest_pb2.ShutDownGuest, lane=Lane.ENDING, do=do, probe=probe)
