"""Unpresent Repository: it is taken off servers on which no machine uses it; one that cannot be reached is put off."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.inventory.v1 import repository_pb2, server_pb2, virtual_disk_pb2, virtual_machine_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import unpresent_repository_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.plan import Ids, PlanBuilder
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.disks import repository_ready
from virtyard.operations.presentation import chosen_servers, plan_child, plan_record
from virtyard.operations.refusals import listed, wrong_state

Request = unpresent_repository_pb2.UnpresentRepositoryRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the repository with the others of its pool, the machines that use its disks, and each server."""
    servers = [select(name, "server_pool", "networks@servers") for name in sorted(set(request.servers))]
    follow = ("server_pool/repositories@server_pool", "virtualDisks@repository/virtual_machine")
    return [select(request.name, *follow), *servers]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the record first, so that nobody is sent to these servers for it any more, and then a child for each."""
    repository = view.get(request.name, repository_pb2.Repository, field="name", etag=request.etag)
    servers = chosen_servers(request.servers, view, repository, presented=True)
    for index, server in enumerate(servers):
        _check_unused(view, repository, server, f"servers[{index}]")
    others = [each for each in view.of(repository_pb2.Repository) if each.name != repository.name]
    left = repository_pb2.Repository()
    left.CopyFrom(repository)
    left.servers[:] = sorted({*repository.servers} - {*request.servers})

    builder = PlanBuilder(view)
    job = builder.job("Unpresent Repository", repository.name)
    plan_record(job, repository, left.servers)
    for server in servers:
        plan_child(builder, job, "Unpresent Repository from Server", server, left, others, view)
    return builder.build(repository.name)


def _check_unused(view: View, repository: repository_pb2.Repository, server: server_pb2.Server, field: str) -> None:
    disks = view.of(virtual_disk_pb2.VirtualDisk, repository=repository.name)
    owners = {disk.virtual_machine for disk in disks}
    running = [
        machine for machine in view.of(virtual_machine_pb2.VirtualMachine, server=server.name) if machine.name in owners
    ]
    if running:
        text = f"{listed(running)} run on {server.name} with disks of {repository.name}; no machine may use it there"
        raise wrong_state(field, server.name, text)


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.UnpresentRepository",
    selections=selections,
    plan=plan,
    needs={"name": (repository_ready,)},
)
