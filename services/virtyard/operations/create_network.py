"""Create Network: its bridge on each server, side by side, then its record; one that fails takes all back.

A server that cannot be reached is put off: it gets the bridge when it catches up with what it missed.
"""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.inventory.v1 import network_pb2, server_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import create_network_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.mac_addresses import check_pool
from virtyard.kernel.names import id_of
from virtyard.kernel.plan import Ids, PlanBuilder
from virtyard.kernel.validation import configured
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.naming import check_free, display_name, named
from virtyard.operations.networks import bridge_name, check_uplink, create_bridge, remove_bridge
from virtyard.operations.presentation import missed_one

Request = create_network_pb2.CreateNetworkRequest


def _name(request: Request) -> str:
    return named("networks", request.network_id, "network_id")


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the name to be taken, and each server with its pool."""
    return [select(_name(request)), *(select(name, "server_pool") for name in sorted(set(request.servers)))]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:
    """Plan a child for each server; the record comes last, so that nobody plugs a card into half a network."""
    name = _name(request)
    check_free(view, name, "network_id")
    if len(set(request.servers)) < len(request.servers):
        raise InvalidRequest.of("servers", "a server is named twice; name each server once")
    servers = [
        view.get(server, server_pb2.Server, field=f"servers[{index}]") for index, server in enumerate(request.servers)
    ]
    network = configured(request.network)
    network.name, network.uid = name, ids.uid(name)
    network.display_name = display_name(network.display_name, id_of(name), "network.display_name")
    network.driver = network.driver or network_pb2.NETWORK_DRIVER_BRIDGE
    network.uplink = check_uplink(network.uplink, "network.uplink")
    network.mac_pool = check_pool(network.mac_pool, "network.mac_pool") if network.mac_pool else ""
    network.bridge = bridge_name(network.uid)
    network.servers.extend(server.name for server in servers)
    network.state = network_pb2.NETWORK_STATE_READY

    builder = PlanBuilder(view)
    job = builder.job("Create Network", name)
    for server in servers:
        child = builder.job("Add Network to Server", server.name, parent=job)
        child.step("Make the bridge", server.name, create_bridge(network), undo=remove_bridge(network))
        child.if_deferred("Note that it is behind", missed_one(server))
    job.write("Record the network", network, after_children=True)
    return builder.build(name)


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.CreateNetwork", selections=selections, plan=plan
)
