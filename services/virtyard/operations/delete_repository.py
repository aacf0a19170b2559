"""Delete Repository: mark it, take it off its servers, remove its folder for good, then its record.

A server that cannot be reached is put off: it gives the repository up when it catches up with what it missed.
"""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.actions.v1 import remove_repository_folder_pb2
from virtyard.api.inventory.v1 import image_pb2, repository_pb2, server_pb2, virtual_disk_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import delete_repository_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.plan import Ids, PlanBuilder, delete, update
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.hosts import servers_of, storage_server
from virtyard.operations.presentation import plan_child
from virtyard.operations.refusals import listed, wrong_state

Request = delete_repository_pb2.DeleteRepositoryRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the repository, its disks and images, and the servers of its pool with what else they have."""
    servers = "server_pool/servers@server_pool"
    pool = (servers, f"{servers}/networks@servers", "server_pool/repositories@server_pool")
    return [select(request.name, *pool, "virtualDisks@repository", "images@repository")]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan a child for each server that it is presented to, and the removal; the folder's is the point of no return."""
    repository = view.get(request.name, repository_pb2.Repository, field="name", etag=request.etag)
    held = [
        *view.of(virtual_disk_pb2.VirtualDisk, repository=repository.name),
        *view.of(image_pb2.Image, repository=repository.name),
    ]
    if held:
        raise wrong_state("name", repository.name, f"{repository.name} holds {listed(held)}; it must be empty")
    presented = [server for server in view.of(server_pb2.Server) if server.name in repository.servers]
    remover = storage_server(servers_of(view, repository), repository.uid, repository.name, "name")
    others = [each for each in view.of(repository_pb2.Repository) if each.name != repository.name]
    deleting = repository_pb2.Repository(name=repository.name, state=repository_pb2.REPOSITORY_STATE_DELETING)
    left = repository_pb2.Repository()
    left.CopyFrom(repository)
    left.ClearField("servers")

    builder = PlanBuilder(view)
    job = builder.job("Delete Repository", repository.name)
    builder.lock(repository.server_pool, LockMode.IS)
    job.write("Mark the repository", update(deleting, "state"))
    for server in presented:
        plan_child(builder, job, "Unpresent Repository from Server", server, left, others, view)
    job.step(
        "Remove the folder",
        remover.name,
        remove_repository_folder_pb2.RemoveRepositoryFolder(
            repository_path=repository.path, repository_uid=repository.uid
        ),
        pivot=True,
        after_children=True,
    )
    job.write("Remove the repository's record", delete(repository.name), after_children=True, forward=True)
    return builder.build()


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.DeleteRepository", selections=selections, plan=plan
)
