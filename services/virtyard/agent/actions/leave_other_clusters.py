"""Leaving every cluster but those that this host is to be a member of."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.api.actions.v1 import leave_other_clusters_pb2


async def do(message: leave_other_clusters_pb2.LeaveOtherClusters, context: Context) -> Outcome:
    """Leave the others, whether their heartbeat devices are there still or not; as an undo do nothing."""
    heartbeat = context.host.heartbeat
    others = [] if context.undoing else [each.cluster_uid for each in heartbeat.renewals()]
    left = [uid for uid in others if uid not in message.cluster_uids and await heartbeat.leave(uid)]
    result = leave_other_clusters_pb2.LeaveOtherClustersResult(cluster_uids=left)
    return Outcome(result=result, changed=bool(left))


ACTION = Action(message=leave_other_clusters_pb2.LeaveOtherClusters, lane=Lane.HEARTBEAT, do=do, probe=do)
