"""Joining a cluster: taking a slot of its heartbeat device, and renewing it from now on."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.agent.drivers.heartbeat.contract import Membership
from virtyard.agent.views import member_view
from virtyard.api.actions.v1 import join_cluster_pb2
from virtyard.kernel.errors import InvalidRequest


async def do(message: join_cluster_pb2.JoinCluster, context: Context) -> Outcome:
    """Take the slot under this mark.

    Raises:
        InvalidRequest: this agent speaks for another server.
    """
    if message.server != context.host.server:
        raise InvalidRequest.of(
            "server", f"{message.server} is not allowed; this agent speaks for {context.host.server}"
        )
    membership = Membership(
        cluster_uid=message.cluster_uid,
        path=message.path,
        device_uid=message.device_uid,
        slot=message.slot,
        server=message.server,
        mark=context.mark,
    )
    await context.host.heartbeat.join(membership)
    return Outcome(result=_result(context), changed=context.host.heartbeat.joined(message.cluster_uid) == membership)


async def probe(message: join_cluster_pb2.JoinCluster, context: Context) -> Outcome | None:
    """Find the membership by its mark; without one nothing was written."""
    membership = context.host.heartbeat.joined(message.cluster_uid)
    if membership is None or membership.mark != context.mark:
        return None
    return Outcome(result=_result(context))


def _result(context: Context) -> join_cluster_pb2.JoinClusterResult:
    members = [member_view(view) for view in context.host.heartbeat.members()]
    return join_cluster_pb2.JoinClusterResult(members=members)


ACTION = Action(message=join_cluster_pb2.JoinCluster, lane=Lane.HEARTBEAT, do=do, probe=probe)
