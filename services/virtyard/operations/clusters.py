"""What every operation on clusters plans: joining, leaving, and the list of the members."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.actions.v1 import (
    clear_cluster_slot_pb2,
    join_cluster_pb2,
    leave_cluster_pb2,
    leave_other_clusters_pb2,
)
from virtyard.api.inventory.v1 import cluster_pb2, heartbeat_device_pb2, server_pb2, write_objects_pb2
from virtyard.kernel.plan import JobBuilder, update
from virtyard.kernel.view import View
from virtyard.operations.hosts import storage_server


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


def can_leave(server: server_pb2.Server) -> bool:
    """Tell whether a member can be taken out of its cluster: by itself, or by others as it is proven dead."""
    return server.state == server_pb2.SERVER_STATE_ONLINE or server.observed.HasField("death")


def plan_leave(
    job: JobBuilder,
    cluster: cluster_pb2.Cluster,
    member: cluster_pb2.ClusterMember,
    device: heartbeat_device_pb2.HeartbeatDevice,
    servers: Sequence[server_pb2.Server],
    field: str,
) -> None:
    """Plan the step by which a member's slot is given up; another server clears that of one which is proven dead.

    Args:
        job: a job that has the server locked.
        cluster: the cluster.
        member: its member.
        device: its heartbeat device.
        servers: the servers of the pool, the member's own too, which can leave.
        field: the request's field that led to it, for the refusal.

    Raises:
        WrongState: the member is dead, and no other server is online and up to date.
    """
    if any(each.name == member.server and each.state == server_pb2.SERVER_STATE_ONLINE for each in servers):
        job.step("Give the slot up", member.server, leave(cluster, member, device), undo=join(cluster, member, device))
        return
    others = [each for each in servers if each.name != member.server]
    clear = clear_cluster_slot_pb2.ClearClusterSlot(
        cluster_uid=cluster.uid, path=device.path, device_uid=device.uid, slot=member.slot, server=member.server
    )
    by = storage_server(others, device.uid, device.name, field)
    job.step(f"Clear the slot of {member.server}, which is dead", by.name, clear, undo=clear)


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
