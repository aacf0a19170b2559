"""Delete Server Pool: the members leave the cluster, then the heartbeat device goes, then the pool.

Removing the device cannot be undone, so it is the pivot of a clustered pool; a plain pool is one write with an undo.
"""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.actions.v1 import remove_heartbeat_device_pb2
from virtyard.api.inventory.v1 import (
    cluster_pb2,
    heartbeat_device_pb2,
    repository_pb2,
    server_pb2,
    server_pool_pb2,
    virtual_machine_pb2,
)
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import delete_server_pool_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import InternalError
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.plan import Ids, PlanBuilder, delete, update
from virtyard.kernel.view import View, select
from virtyard.operations.clusters import can_leave, plan_leave
from virtyard.operations.contract import OperationType
from virtyard.operations.hosts import storage_server
from virtyard.operations.refusals import listed, state_word, wrong_state

Request = delete_server_pool_pb2.DeleteServerPoolRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the pool and everything that refers to it."""
    referring = ("servers", "virtualMachines", "repositories", "clusters", "heartbeatDevices")
    return [select(request.name, *(f"{collection}@server_pool" for collection in referring))]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the jobs; see the module for their order."""
    pool = view.get(request.name, server_pool_pb2.ServerPool, field="name", etag=request.etag)
    _check_unused(pool, view)
    servers = view.of(server_pb2.Server, server_pool=pool.name)
    devices = view.of(heartbeat_device_pb2.HeartbeatDevice, server_pool=pool.name)
    clusters = view.of(cluster_pb2.Cluster, server_pool=pool.name)
    # A device without a cluster is what a creation left that was to keep what was done when it failed.
    if len(devices) > 1 or len(clusters) > len(devices):
        raise InternalError(
            f"{pool.name} has {listed([*clusters, *devices])}; a pool has at most one of each", resource=pool.name
        )
    builder = PlanBuilder(view)
    for device in devices:
        for cluster in clusters:
            _plan_cluster(builder, cluster, device, servers)
        _plan_device(builder, device, servers)
    job = builder.job("Delete Server Pool", pool.name)
    freed = [update(server_pb2.Server(name=server.name), "server_pool") for server in servers]
    job.write("Free the members and remove the pool", *freed, delete(pool.name), forward=bool(devices))
    for server in servers:
        builder.lock(server.name, LockMode.X)
    return builder.build()


def _check_unused(pool: server_pool_pb2.ServerPool, view: View) -> None:
    users = [
        *view.of(virtual_machine_pb2.VirtualMachine, server_pool=pool.name),
        *view.of(repository_pb2.Repository, server_pool=pool.name),
    ]
    if users:
        raise wrong_state("name", pool.name, f"{pool.name} is used by {listed(users)}; a pool without them is needed")


def _plan_cluster(
    builder: PlanBuilder,
    cluster: cluster_pb2.Cluster,
    device: heartbeat_device_pb2.HeartbeatDevice,
    servers: Sequence[server_pb2.Server],
) -> None:
    """Let every member leave; one that cannot be asked to, and is not proven dead, would go on renewing its slot."""
    silent = [server for server in servers if not can_leave(server)]
    if silent:
        states = ", ".join(f"{server.name} is {state_word(server)}" for server in silent)
        raise wrong_state(
            "name",
            cluster.server_pool,
            f"every member must be online, or proven dead, to leave the cluster, but {states}",
        )
    job = builder.job("Delete Cluster", cluster.name)
    deleting = server_pool_pb2.ServerPool(name=cluster.server_pool, state=server_pool_pb2.SERVER_POOL_STATE_DELETING)
    job.write("Mark the pool", update(deleting, "state"), target=cluster.server_pool)
    for member in cluster.members:
        child = builder.job("Leave Cluster", member.server, parent=job)
        plan_leave(child, cluster, member, device, servers, "name")
    job.write("Remove the cluster's record", delete(cluster.name), after_children=True)


def _plan_device(
    builder: PlanBuilder, device: heartbeat_device_pb2.HeartbeatDevice, servers: Sequence[server_pb2.Server]
) -> None:
    job = builder.job("Delete Cluster Heartbeat Device", device.name)
    job.step(
        "Remove the device",
        storage_server(servers, device.uid, device.name).name,
        remove_heartbeat_device_pb2.RemoveHeartbeatDevice(path=device.path, uid=device.uid),
        pivot=True,
    )
    job.write("Remove the device's record", delete(device.name), forward=True)


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.DeleteServerPool", selections=selections, plan=plan
)
