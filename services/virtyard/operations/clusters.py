"""What every operation on clusters plans: joining, leaving, and the list of the members."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.actions.v1 import join_cluster_pb2, leave_cluster_pb2, leave_other_clusters_pb2
from virtyard.api.inventory.v1 import cluster_pb2, heartbeat_device_pb2, server_pb2, write_objects_pb2
from virtyard.kernel.plan import JobBuilder, update
from virtyard.kernel.view import View


def join(
    cluster: cluster_pb2.Cluster, member: cluster_pb2.ClusterMember, device: heartbeat_device_pb2.HeartbeatDevice
) -> join_cluster_pb2.JoinCluster:
    """Return the action by which a member joins a cluster."""
    return join_cluster_pb2.JoinCluster(
        cluster_uid=cluster.uid, path=device.path, device_uid=device.uid, slot=member.slot, server=member.server
    )


def leave(
    cluster: cluster_pb2.Cluster, member: cluster_pb2.ClusterMember, device: heartbeat_device_pb2.HeartbeatDevice
) -> leave_cluster_pb2.LeaveCluster:
    """Return the action by which a member leaves a cluster."""
    return leave_cluster_pb2.LeaveCluster(
        cluster_uid=cluster.uid, path=device.path, device_uid=device.uid, slot=member.slot, server=member.server
    )


def change_members(
    cluster: cluster_pb2.Cluster, members: Sequence[cluster_pb2.ClusterMember]
) -> write_objects_pb2.ObjectWrite:
    """Return the write that gives a cluster these members."""
    return update(cluster_pb2.Cluster(name=cluster.name, members=members), "members")


def plan_stray_memberships(job: JobBuilder, server: server_pb2.Server, view: View) -> None:
    """Plan the step by which a server leaves clusters that it says it is in and no record has it in, if there are any.

    It was away when its slot was cleared, and cannot tell a heartbeat device that was removed from one that is not
    mounted.

    Args:
        job: a job that has the server locked, so that it neither joins nor leaves a cluster meanwhile.
        server: the server.
        view: what was read, with the cluster of its pool.
    """
    members = {each.uid: [member.server for member in each.members] for each in view.of(cluster_pb2.Cluster)}
    kept = [uid for uid, names in members.items() if server.name in names]
    if all(each.cluster_uid in kept for each in server.observed.heartbeats):
        return
    others = leave_other_clusters_pb2.LeaveOtherClusters(cluster_uids=kept)
    job.step("Leave clusters that it is no member of", server.name, others, undo=others)
