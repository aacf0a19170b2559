"""Present Repository: each server gets it in a child of its own, side by side; one that is out of reach is put off."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.inventory.v1 import repository_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import present_repository_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.plan import Ids, PlanBuilder
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.disks import repository_ready
from virtyard.operations.presentation import chosen_servers, plan_child, plan_record

Request = present_repository_pb2.PresentRepositoryRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the repository with the others of its pool, and each server with its pool."""
    servers = [select(name, "server_pool", "networks@servers") for name in sorted(set(request.servers))]
    return [select(request.name, "server_pool/repositories@server_pool"), *servers]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan a child for each server; the record names those that were put off too, as that is what is wanted."""
    repository = view.get(request.name, repository_pb2.Repository, field="name", etag=request.etag)
    servers = chosen_servers(request.servers, view, repository, presented=False)
    others = [each for each in view.of(repository_pb2.Repository) if each.name != repository.name]
    wanted = repository_pb2.Repository()
    wanted.CopyFrom(repository)
    wanted.servers[:] = sorted({*repository.servers, *request.servers})

    builder = PlanBuilder(view)
    job = builder.job("Present Repository", repository.name)
    for server in servers:
        plan_child(builder, job, "Present Repository to Server", server, wanted, others, view)
    plan_record(job, repository, wanted.servers, after_children=True)
    return builder.build(repository.name)


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.PresentRepository",
    selections=selections,
    plan=plan,
    needs={"name": (repository_ready,)},
)
