"""Add Server to Server Pool: the server gets the pool's repositories, names the pool and, in a clustered one, joins it.

A server that cannot reach a repository is refused here, not when a machine is started on it.
"""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.inventory.v1 import (
    cluster_pb2,
    heartbeat_device_pb2,
    repository_pb2,
    server_pb2,
    server_pool_pb2,
)
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import add_server_to_server_pool_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import CapacityExhausted, FieldViolation
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.plan import Ids, PlanBuilder, update
from virtyard.kernel.view import View, select
from virtyard.operations.clusters import change_members, join, leave
from virtyard.operations.contract import OperationType
from virtyard.operations.hosts import is_behind
from virtyard.operations.networks import carried_by
from virtyard.operations.pools import active_pool
from virtyard.operations.presentation import caught_up, plan_attach, plan_putting_right, plan_record
from virtyard.operations.servers import in_no_pool, online_now

Request = add_server_to_server_pool_pb2.AddServerToServerPoolRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the server with its networks, and the pool with its cluster, heartbeat device and repositories."""
    follow = ("clusters@server_pool", "heartbeatDevices@server_pool", "repositories@server_pool")
    return [select(request.name, *follow), select(request.server, "networks@servers")]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the record and, in a clustered pool, the membership after it."""
    pool = view.get(request.name, server_pool_pb2.ServerPool, field="name", etag=request.etag)
    server = view.get(request.server, server_pb2.Server, field="server")
    builder = PlanBuilder(view)
    job = builder.job("Add Server to Server Pool", server.name)
    builder.lock(server.name, LockMode.X, parent=pool.name)
    repositories = view.of(repository_pb2.Repository, server_pool=pool.name)
    behind = is_behind(server)
    if behind:
        plan_putting_right(job, server.name, repositories, carried_by(view, server.name))
    for repository in repositories:
        builder.lock(repository.name, LockMode.X)
        plan_attach(job, repository, server.name)
    joined = update(server_pb2.Server(name=server.name, server_pool=pool.name), "server_pool")
    job.write("Record its pool", joined, *([caught_up(server)] if behind else []))
    for repository in repositories:
        plan_record(job, repository, {*repository.servers, server.name})
    devices = view.of(heartbeat_device_pb2.HeartbeatDevice, server_pool=pool.name)
    for cluster, device in zip(view.of(cluster_pb2.Cluster, server_pool=pool.name), devices, strict=True):
        member = cluster_pb2.ClusterMember(server=server.name, slot=_free_slot(cluster, device))
        joining = builder.job("Join Cluster", server.name)
        undo = leave(cluster, member, device)
        joining.step("Take the slot and renew it", server.name, join(cluster, member, device), undo=undo)
        builder.lock(cluster.name, LockMode.X)
        members = sorted([*cluster.members, member], key=lambda each: each.slot)
        joining.write("Record the member", change_members(cluster, members), target=cluster.name)
    return builder.build(pool.name)


def _free_slot(cluster: cluster_pb2.Cluster, device: heartbeat_device_pb2.HeartbeatDevice) -> int:
    taken = {member.slot for member in cluster.members}
    free = next((slot for slot in range(1, device.slots + 1) if slot not in taken), 0)
    if not free:
        description = f"all {device.slots} slots of {device.name} are taken"
        raise CapacityExhausted(
            f"name: {description}",
            resource=device.name,
            violations=(FieldViolation(field="name", description=description),),
            metadata={"field": "name"},
        )
    return free


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.AddServerToServerPool",
    selections=selections,
    plan=plan,
    needs={"name": (active_pool,), "server": (in_no_pool, online_now)},
)
