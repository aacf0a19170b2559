"""Forget Server: take all that it has off it, give the host back, and remove the server from the inventory.

A host that is offline keeps what it has, and its claim, where that is forced; it gives it up when it is discovered
again.
"""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.actions.v1 import claim_host_pb2, release_host_pb2
from virtyard.api.inventory.v1 import network_pb2, server_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import forget_server_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.plan import Ids, PlanBuilder, delete, update
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.networks import create_bridge, plan_other_bridges, remove_bridge
from virtyard.operations.presentation import plan_leftovers
from virtyard.operations.refusals import state_word, wrong_state

Request = forget_server_pb2.ForgetServerRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the server and what refers to it."""
    return [select(request.name, "server_pool", "virtualMachines@server", "networks@servers")]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the release, which claiming again undoes, and the removal of the record.

    Where it is forced, the first step has the host's address, so that a host which does not answer, and is not found to
    be offline yet, fails the operation before anything is sent. Else it would wait for that host.
    """
    server = view.get(request.name, server_pb2.Server, field="name", etag=request.etag)
    online = server.state == server_pb2.SERVER_STATE_ONLINE
    if not online and not request.force:
        text = f"{server.name} is {state_word(server)}; it must be online, or force must be given"
        raise wrong_state("name", server.name, text)
    builder = PlanBuilder(view)
    job = builder.job("Forget Server", server.name)
    networks = view.of(network_pb2.Network)
    for network in networks:
        builder.lock(network.name, LockMode.X)
    if online:
        address = server.observed.agent_address or server.agent_address
        plan_leftovers(job, server.name, address=address if request.force else "")
        plan_other_bridges(job, server.name, networks)
        for network in networks:
            taken = remove_bridge(network)
            job.step(f"Take {network.name} off it", server.name, taken, undo=create_bridge(network))
        job.step(
            "Give the host back",
            server.name,
            release_host_pb2.ReleaseHost(owner_id=view.owner_id),
            undo=claim_host_pb2.ClaimHost(owner_id=view.owner_id, server=server.name),
        )
    left = [
        network_pb2.Network(name=network.name, servers=[name for name in network.servers if name != server.name])
        for network in networks
    ]
    job.write("Remove the record", *(update(network, "servers") for network in left), delete(server.name))
    return builder.build()


def _out_of_its_pool(server: server_pb2.Server) -> str:
    """Need a server that no pool counts on any more."""
    if server.server_pool:
        return f"{server.name} is in {server.server_pool}; it must be removed from its pool first"
    return ""


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.ForgetServer",
    selections=selections,
    plan=plan,
    needs={"name": (_out_of_its_pool,)},
    safe_in_quarantine=True,
)
