"""Discover Server: claim a host for this Virtyard by its agent, and take it into the inventory with its facts.

A host that was here before and was forgotten while it could not be reached gives up what it had then.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from virtyard.api.actions.v1 import claim_host_pb2, release_host_pb2
from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import discover_server_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.names import id_of
from virtyard.kernel.plan import Ids, PlanBuilder
from virtyard.kernel.validation import configured
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.naming import check_free, display_name, named
from virtyard.operations.networks import plan_other_bridges
from virtyard.operations.presentation import plan_leftovers

Request = discover_server_pb2.DiscoverServerRequest

_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.%A-Za-z0-9]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})")
FACTS = (
    "agent_address",
    "memory_bytes",
    "cpus",
    "hypervisor",
    "hypervisor_reason",
    "accelerator",
    "agent_version",
    "ledger_sequence",
    "ledger_id",
)
"""What a server's record keeps of its host's facts, by the name that both have for it."""


def _name(request: Request) -> str:
    return named("servers", request.server_id, "server_id")


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the name to be taken."""
    return [select(_name(request))]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:
    """Plan the claim, what the host gives up, and the record; its facts are those that the claim answers with."""
    name = _name(request)
    check_free(view, name, "server_id")
    address = check_address(request.server.agent_address, "server.agent_address")
    server = configured(request.server)
    server.name, server.uid, server.agent_address = name, ids.uid(name), address
    server.display_name = display_name(server.display_name, id_of(name), "server.display_name")
    server.state = server_pb2.SERVER_STATE_ONLINE

    builder = PlanBuilder(view)
    job = builder.job("Discover Server", name)
    claimed = job.step(
        "Claim the host",
        name,
        claim_host_pb2.ClaimHost(owner_id=view.owner_id, server=name),
        undo=release_host_pb2.ReleaseHost(owner_id=view.owner_id),
        address=address,
    )
    plan_leftovers(job, name, address=address)
    plan_other_bridges(job, name, address=address)
    job.write("Record the server", server)
    job.bind("writes[0].create.server.host_id", claimed, "host.host_id")
    for fact in FACTS:
        job.bind(f"writes[0].create.server.observed.{fact}", claimed, f"host.{fact}")
    return builder.build(name)


def check_address(address: str, field: str) -> str:
    """Return an agent's address if it is host:port.

    Raises:
        InvalidRequest: it is not; the refusal names `field`.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        allowed = "host:port with a port from 1 to 65535, as s1.example.org:7443 or [2001:db8::1]:7443"
        raise InvalidRequest.of(
            field, f"{address!r} is not allowed; it must be {allowed}" if address else f"is required: {allowed}"
        )
    return address


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.DiscoverServer", selections=selections, plan=plan
)
