"""Giving up the claim on a host."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome, done_again
from virtyard.api.actions.v1 import release_host_pb2


async def do(message: release_host_pb2.ReleaseHost, context: Context) -> Outcome:
    """Give the host up; as an undo only if the same step claimed it."""
    changed = context.host.claim.release(message.owner_id, context.own_mark)
    return Outcome(result=release_host_pb2.ReleaseHostResult(), changed=changed)


ACTION = Action(message=release_host_pb2.ReleaseHost, lane=Lane.HOST, do=do, probe=done_again(do))
