"""Remove Server from Server Pool: it leaves the cluster, gives the repositories up, and names no pool any more.

One that is proven dead does neither: another member clears its slot, and it gives the rest up if it ever returns.
"""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.inventory.v1 import (
    cluster_pb2,
    heartbeat_device_pb2,
    repository_pb2,
    server_pb2,
    server_pool_pb2,
    virtual_machine_pb2,
)
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import remove_server_from_server_pool_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.plan import Ids, PlanBuilder, update
from virtyard.kernel.view import View, select
from virtyard.operations.clusters import can_leave, change_members, plan_leave
from virtyard.operations.contract import OperationType
from virtyard.operations.hosts import is_behind
from virtyard.operations.networks import carried_by
from virtyard.operations.presentation import caught_up, missed_one, plan_detach, plan_putting_right, plan_record
from virtyard.operations.refusals import listed, state_word, wrong_state
from virtyard.operations.servers import in_a_pool

Request = remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the server with what runs on it and what it has, and the pool with all that is of it."""
    return [
        select(request.name, "clusters@server_pool", "heartbeatDevices@server_pool", "servers@server_pool"),
        select(request.server, "server_pool", "virtualMachines@server", "repositories@servers", "networks@servers"),
    ]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the leave and the record after it."""
    pool = view.get(request.name, server_pool_pb2.ServerPool, field="name", etag=request.etag)
    server = view.get(request.server, server_pb2.Server, field="server")
    if server.server_pool != pool.name:
        text = f"{server.name} is in {server.server_pool}; a server of {pool.name} is needed"
        raise InvalidRequest.of("server", text)
    running = view.of(virtual_machine_pb2.VirtualMachine, server=server.name)
    if running:
        text = f"{listed(running)} run on {server.name}; a server on which nothing runs is needed"
        raise wrong_state("server", server.name, text)
    builder = PlanBuilder(view)
    devices = view.of(heartbeat_device_pb2.HeartbeatDevice, server_pool=pool.name)
    members = view.of(server_pb2.Server, server_pool=pool.name)
    if devices and len(members) == 1:
        # Nobody could remove the device then.
        text = f"{server.name} is the last server of {pool.name}; delete {pool.name} instead"
        raise wrong_state("server", server.name, text)
    clusters = view.of(cluster_pb2.Cluster, server_pool=pool.name)
    # A device without a cluster is what a creation left that was to keep what was done when it failed.
    for cluster, device in zip(clusters, devices, strict=bool(clusters)):
        _plan_leave(builder, cluster, device, server, members)
    job = builder.job("Remove Server from Server Pool", server.name)
    repositories = [each for each in view.of(repository_pb2.Repository) if server.name in each.servers]
    online = server.state == server_pb2.SERVER_STATE_ONLINE
    for repository in repositories:
        builder.lock(repository.name, LockMode.X)
    if online and is_behind(server):
        plan_putting_right(job, server.name, (), carried_by(view, server.name))
        missed = [caught_up(server)]
    elif online:
        for repository in repositories:
            plan_detach(job, repository, server.name)
        missed = []
    else:
        # It is not there to give them up, and has no use of them either: it does so when it returns.
        missed = [missed_one(server)] if repositories else []
    job.write("Forget its pool", update(server_pb2.Server(name=server.name), "server_pool"), *missed)
    for repository in repositories:
        plan_record(job, repository, {*repository.servers} - {server.name})
    return builder.build(pool.name)


def _plan_leave(
    builder: PlanBuilder,
    cluster: cluster_pb2.Cluster,
    device: heartbeat_device_pb2.HeartbeatDevice,
    server: server_pb2.Server,
    servers: Sequence[server_pb2.Server],
) -> None:
    if not can_leave(server):
        text = f"{server.name} is {state_word(server)}; it must be online, or proven dead, to leave {cluster.name}"
        raise wrong_state("server", server.name, text)
    member = next((each for each in cluster.members if each.server == server.name), None)
    if member is None:
        return
    if len(cluster.members) == 1:
        text = f"{server.name} is the last member of {cluster.name}; delete {cluster.server_pool} instead"
        raise wrong_state("server", server.name, text)
    job = builder.job("Leave Cluster", server.name)
    plan_leave(job, cluster, member, device, servers, "server")
    builder.lock(cluster.name, LockMode.X)
    members = [each for each in cluster.members if each.server != server.name]
    job.write("Forget the member", change_members(cluster, members), target=cluster.name)


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.RemoveServerFromServerPool",
    selections=selections,
    plan=plan,
    needs={"server": (in_a_pool,)},
)
