"""Delete Network: mark it, take its bridge off each server, then remove its record.

A server that cannot be reached is put off: it loses the bridge when it catches up with what it missed.
"""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.inventory.v1 import network_pb2, server_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import delete_network_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.plan import Ids, PlanBuilder, delete, update
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.networks import create_bridge, remove_bridge, without_cards
from virtyard.operations.presentation import missed_one

Request = delete_network_pb2.DeleteNetworkRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the network, its cards, and its servers with their pools."""
    return [select(request.name, "vnics@bridged_network", "servers/server_pool")]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan a child for each server; until the record is gone everything can be put back."""
    network = view.get(request.name, network_pb2.Network, field="name", etag=request.etag)
    servers = [view.get(server, server_pb2.Server, field="name") for server in network.servers]
    deleting = network_pb2.Network(name=network.name, state=network_pb2.NETWORK_STATE_DELETING)
    builder = PlanBuilder(view)
    job = builder.job("Delete Network", network.name)
    job.write("Mark the network", update(deleting, "state"))
    for server in servers:
        child = builder.job("Remove Network from Server", server.name, parent=job)
        child.step("Remove the bridge", server.name, remove_bridge(network), undo=create_bridge(network))
        child.if_deferred("Note that it is behind", missed_one(server))
    job.write("Remove the network's record", delete(network.name), after_children=True)
    return builder.build()


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.DeleteNetwork",
    selections=selections,
    plan=plan,
    needs={"name": (without_cards,)},
)
