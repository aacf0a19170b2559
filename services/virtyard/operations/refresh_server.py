"""Refresh Server: the host is looked at now, put right, and catches up with what it missed while it was not reached.

What no record names is taken off it, whether the server is behind or not: it may have done something that was settled
without it, on a proof of its death, and nothing else tells of that.
"""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.actions.v1 import refresh_host_pb2
from virtyard.api.inventory.v1 import repository_pb2, server_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import refresh_server_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.plan import Ids, PlanBuilder, update
from virtyard.kernel.view import View, select
from virtyard.operations.clusters import plan_stray_memberships
from virtyard.operations.contract import OperationType
from virtyard.operations.discover_server import FACTS
from virtyard.operations.hosts import is_behind
from virtyard.operations.networks import carried_by
from virtyard.operations.presentation import plan_catching_up, plan_putting_right

Request = refresh_server_pb2.RefreshServerRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the server, the repositories and the cluster of its pool, and the networks that it carries."""
    pool = ("server_pool/repositories@server_pool", "server_pool/clusters@server_pool")
    return [select(request.name, *pool, "networks@servers")]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the look, which also tells whether the host answers, then what puts it right, and what it missed.

    Its step has the host's address, so that a host which does not answer fails the operation before anything is sent;
    whether it reports is not asked, as a look may be what it needs.
    """
    server = view.get(request.name, server_pb2.Server, field="name", etag=request.etag)
    builder = PlanBuilder(view)
    job = builder.job("Refresh Server", server.name)
    look = refresh_host_pb2.RefreshHost(server=server.name)
    # Looking changes nothing, so there is nothing to undo: the host says so and leaves it.
    address = server.observed.agent_address or server.agent_address
    seen = job.step("Look at the host", server.name, look, undo=look, address=address)
    plan_stray_memberships(job, server, view)
    repositories, networks = view.of(repository_pb2.Repository), carried_by(view, server.name)
    if is_behind(server):
        plan_catching_up(builder, job, server, repositories, networks)
    else:
        presented = [each for each in repositories if server.name in each.servers]
        plan_putting_right(job, server.name, presented, networks)
    facts = [f"observed.{fact}" for fact in FACTS]
    job.write("Record its facts", update(server_pb2.Server(name=server.name), *facts, "observed.running_guests"))
    for fact in FACTS:
        job.bind(f"writes[0].update.object.server.observed.{fact}", seen, f"host.{fact}")
    job.bind("writes[0].update.object.server.observed.running_guests", seen, "running_guests")
    return builder.build(server.name)


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.RefreshServer",
    selections=selections,
    plan=plan,
    safe_in_quarantine=True,
)
