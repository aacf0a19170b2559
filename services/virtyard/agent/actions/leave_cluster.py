"""Leaving a cluster: clearing the slot."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.api.actions.v1 import leave_cluster_pb2


async def do(message: leave_cluster_pb2.LeaveCluster, context: Context) -> Outcome:
    """Leave; as an undo only what the same step joined."""
    was_member = await context.host.heartbeat.leave(message.cluster_uid, context.own_mark)
    return Outcome(result=leave_cluster_pb2.LeaveClusterResult(was_member=was_member), changed=was_member)


ACTION = Action(message=leave_cluster_pb2.LeaveCluster, lane=Lane.HEARTBEAT, do=do, probe=do)
