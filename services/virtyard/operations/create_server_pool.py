"""Create Server Pool: the pool with its members and, if it is clustered, a heartbeat device and a cluster.

The jobs of a clustered pool are those that people know: Create Server Pool, Create Cluster Heartbeat Device, Create
Cluster with a child Join Cluster for each server. Pool, cluster and device share one id.
"""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.actions.v1 import lay_out_heartbeat_device_pb2, remove_heartbeat_device_pb2
from virtyard.api.inventory.v1 import cluster_pb2, heartbeat_device_pb2, server_pb2, server_pool_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import create_server_pool_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.names import id_of
from virtyard.kernel.plan import Ids, JobBuilder, PlanBuilder, update
from virtyard.kernel.validation import configured
from virtyard.kernel.view import View, select
from virtyard.operations.clusters import join, leave
from virtyard.operations.contract import OperationType
from virtyard.operations.hosts import storage_server
from virtyard.operations.naming import check_free, display_name, named
from virtyard.operations.needs import check
from virtyard.operations.servers import in_no_pool, online_now
from virtyard.operations.storage_paths import absolute_path

Request = create_server_pool_pb2.CreateServerPoolRequest

DEFAULT_SLOTS = 32
MOST_SLOTS = 2000
"""As many members as sanlock's delta leases allow."""
DEFAULT_IO_TIMEOUT_SECONDS = 10
MOST_IO_TIMEOUT_SECONDS = 600


def _names(request: Request) -> tuple[str, str, str]:
    return (
        named("serverPools", request.server_pool_id, "server_pool_id"),
        f"clusters/{request.server_pool_id}",
        f"heartbeatDevices/{request.server_pool_id}",
    )


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the names to be taken and each server."""
    names = _names(request)[: 3 if request.server_pool.clustered else 1]
    return [select(name) for name in (*names, *sorted(set(request.servers)))]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:
    """Plan the jobs; see the module for their order."""
    pool_name, cluster_name, _ = _names(request)
    clustered = request.server_pool.clustered
    check_free(view, pool_name, "server_pool_id")
    servers = _members(request, view)
    device = _device(request, view, ids, len(servers)) if clustered else None
    if request.HasField("heartbeat_device") and not clustered:
        raise InvalidRequest.of("heartbeat_device", "is allowed only if server_pool.clustered is true")

    pool = configured(request.server_pool)
    pool.name, pool.uid = pool_name, ids.uid(pool_name)
    pool.display_name = display_name(pool.display_name, id_of(pool_name), "server_pool.display_name")
    # A clustered pool is complete only when its cluster is; that write ends the operation.
    pool.state = server_pool_pb2.SERVER_POOL_STATE_CREATING if clustered else server_pool_pb2.SERVER_POOL_STATE_ACTIVE
    builder = PlanBuilder(view)
    # One write: nobody ever sees a pool without its members, or a member that names no pool.
    joined = [update(server_pb2.Server(name=server.name, server_pool=pool_name), "server_pool") for server in servers]
    builder.job("Create Server Pool", pool_name).write("Record the pool with its members", pool, *joined)
    for server in servers:
        builder.lock(server.name, LockMode.X, parent=pool_name)
    if device is not None:
        _plan_device(builder, device, servers)
        check_free(view, cluster_name, "server_pool_id")
        _plan_cluster(builder, cluster_name, ids.uid(cluster_name), device, servers)
    return builder.build(pool_name)


def _members(request: Request, view: View) -> list[server_pb2.Server]:
    """Return the servers in the order of the request; each online, in no pool, and named once."""
    found: list[server_pb2.Server] = []
    for index, name in enumerate(request.servers):
        field = f"servers[{index}]"
        server = view.get(name, server_pb2.Server, field=field)
        if any(name == other.name for other in found):
            raise InvalidRequest.of(field, f"{name} is named twice; name each server once")
        check(server, field, in_no_pool, online_now)
        found.append(server)
    return found


def _device(request: Request, view: View, ids: Ids, members: int) -> heartbeat_device_pb2.HeartbeatDevice:
    """Return the heartbeat device that is asked for, with its defaults."""
    name = _names(request)[2]
    check_free(view, name, "server_pool_id")
    device = configured(request.heartbeat_device)
    device.name, device.uid, device.server_pool = name, ids.uid(name), _names(request)[0]
    device.display_name = display_name(device.display_name, id_of(name), "heartbeat_device.display_name")
    device.path = absolute_path(device.path, "heartbeat_device.path")
    device.slots = device.slots or DEFAULT_SLOTS
    if not members <= device.slots <= MOST_SLOTS:
        allowed = f"from {members}, the number of servers, to {MOST_SLOTS}"
        raise InvalidRequest.of("heartbeat_device.slots", f"{device.slots} is not allowed; it must be {allowed}")
    device.io_timeout_seconds = device.io_timeout_seconds or DEFAULT_IO_TIMEOUT_SECONDS
    if not 1 <= device.io_timeout_seconds <= MOST_IO_TIMEOUT_SECONDS:
        allowed = f"from 1 to {MOST_IO_TIMEOUT_SECONDS} seconds"
        field = "heartbeat_device.io_timeout_seconds"
        raise InvalidRequest.of(field, f"{device.io_timeout_seconds} is not allowed; it must be {allowed}")
    device.state = heartbeat_device_pb2.HEARTBEAT_DEVICE_STATE_READY
    return device


def _plan_device(
    builder: PlanBuilder, device: heartbeat_device_pb2.HeartbeatDevice, servers: Sequence[server_pb2.Server]
) -> None:
    job = builder.job("Create Cluster Heartbeat Device", device.name)
    builder.lock(device.name, LockMode.X, parent=device.server_pool)
    job.step(
        "Lay out the device",
        storage_server(servers, device.uid, device.name).name,
        lay_out_heartbeat_device_pb2.LayOutHeartbeatDevice(
            path=device.path, uid=device.uid, slots=device.slots, io_timeout_seconds=device.io_timeout_seconds
        ),
        undo=remove_heartbeat_device_pb2.RemoveHeartbeatDevice(path=device.path, uid=device.uid),
    )
    job.write("Record the device", device)


def _plan_cluster(
    builder: PlanBuilder,
    name: str,
    uid: str,
    device: heartbeat_device_pb2.HeartbeatDevice,
    servers: Sequence[server_pb2.Server],
) -> None:
    cluster = cluster_pb2.Cluster(
        name=name,
        uid=uid,
        display_name=id_of(name),
        server_pool=device.server_pool,
        heartbeat_device=device.name,
        members=[cluster_pb2.ClusterMember(server=server.name, slot=slot) for slot, server in enumerate(servers, 1)],
        io_timeout_seconds=device.io_timeout_seconds,
        state=cluster_pb2.CLUSTER_STATE_ACTIVE,
    )
    job = builder.job("Create Cluster", name)
    builder.lock(name, LockMode.X, parent=device.server_pool)
    for member in cluster.members:
        _plan_join(builder, job, cluster, member, device)
    pool = server_pool_pb2.ServerPool(name=device.server_pool, state=server_pool_pb2.SERVER_POOL_STATE_ACTIVE)
    job.write("Record the cluster", cluster, update(pool, "state"), after_children=True)


def _plan_join(
    builder: PlanBuilder,
    parent: JobBuilder,
    cluster: cluster_pb2.Cluster,
    member: cluster_pb2.ClusterMember,
    device: heartbeat_device_pb2.HeartbeatDevice,
) -> None:
    job = builder.job("Join Cluster", member.server, parent=parent)
    builder.lock(member.server, LockMode.X, parent=device.server_pool)
    job.step(
        "Take the slot and renew it", member.server, join(cluster, member, device), undo=leave(cluster, member, device)
    )


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.CreateServerPool", selections=selections, plan=plan
)
