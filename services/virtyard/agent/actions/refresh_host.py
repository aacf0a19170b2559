"""Looking at this host."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.api.actions.v1 import refresh_host_pb2
from virtyard.kernel.errors import InvalidRequest


async def do(message: refresh_host_pb2.RefreshHost, context: Context) -> Outcome:
    """Tell the facts of the host as they are now.

    Raises:
        InvalidRequest: this agent speaks for another server.
    """
    if message.server != context.host.server:
        raise InvalidRequest.of(
            "server", f"{message.server} is not allowed; this agent speaks for {context.host.server}"
        )
    host = await context.host.facts()
    running = sum(guest.running for guest in host.guests)
    return Outcome(result=refresh_host_pb2.RefreshHostResult(host=host, running_guests=running), changed=False)


ACTION = Action(message=refresh_host_pb2.RefreshHost, lane=Lane.HOST, do=do, probe=do)
