"""Claiming a host for one Virtyard, and telling its facts."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.api.actions.v1 import claim_host_pb2
from virtyard.kernel.errors import InvalidRequest


async def do(message: claim_host_pb2.ClaimHost, context: Context) -> Outcome:
    """Claim the host.

    Raises:
        InvalidRequest: this agent speaks for another server.
        WrongState: another Virtyard owns the host.
    """
    if not message.owner_id:
        raise InvalidRequest.of("owner_id", "the id of the Virtyard is required")
    if message.server != context.host.server:
        raise InvalidRequest.of(
            "server", f"{message.server} is not allowed; this agent speaks for {context.host.server}"
        )
    context.host.claim.take(message.owner_id, context.mark)
    changed = context.host.claim.mark == context.mark
    return Outcome(result=claim_host_pb2.ClaimHostResult(host=await context.host.facts()), changed=changed)


async def probe(message: claim_host_pb2.ClaimHost, context: Context) -> Outcome | None:
    """Tell whether the claim was taken under this mark."""
    claim = context.host.claim
    if (claim.owner_id, claim.mark) != (message.owner_id, context.mark):
        return None
    return Outcome(result=claim_host_pb2.ClaimHostResult(host=await context.host.facts()))


ACTION = Action(message=claim_host_pb2.ClaimHost, lane=Lane.HOST, do=do, probe=probe)
