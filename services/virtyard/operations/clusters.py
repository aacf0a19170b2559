"""What every operation on clusters plans: joining, leaving, and the list of the members."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.actions.v1 import join_cluster_pb2, leave_cluster_pb2
from virtyard.api.inventory.v1 import cluster_pb2, heartbeat_device_pb2, write_objects_pb2
from virtyard.kernel.plan import update


def join(
    cluster: cluster_pb2.Cluster, member: cluster_pb2.ClusterMember, device: heartbeat_device_pb2.HeartbeatDevice
) -> join_cluster_pb2.JoinCluster:
    """Return the action by which a member joins a cluster."""
    return join_cluster_pb2.JoinCluster(
        cluster_uid=cluster.uid, path=device.path, device_uid=device.uid, slot=member.slot, server=member.server
    )


def leave(cluster: cluster_pb2.Cluster) -> leave_cluster_pb2.LeaveCluster:
    """Return the action by which a member leaves a cluster."""
    return leave_cluster_pb2.LeaveCluster(cluster_uid=cluster.uid)


def change_members(
    cluster: cluster_pb2.Cluster, members: Sequence[cluster_pb2.ClusterMember]
) -> write_objects_pb2.ObjectWrite:
    """Return the write that gives a cluster these members."""
    return update(cluster_pb2.Cluster(name=cluster.name, members=members), "members")
