"""Delete Repository: mark it, remove its folder for good, then its record."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.actions.v1 import remove_repository_folder_pb2
from virtyard.api.inventory.v1 import image_pb2, repository_pb2, virtual_disk_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import delete_repository_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.plan import Ids, PlanBuilder, delete, update
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.hosts import servers_of, storage_server
from virtyard.operations.refusals import listed, wrong_state

Request = delete_repository_pb2.DeleteRepositoryRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the repository, its disks and images, and the servers that reach it."""
    return [select(request.name, "server_pool/servers@server_pool", "virtualDisks@repository", "images@repository")]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the removal; the folder's is the point of no return."""
    repository = view.get(request.name, repository_pb2.Repository, field="name", etag=request.etag)
    held = [
        *view.of(virtual_disk_pb2.VirtualDisk, repository=repository.name),
        *view.of(image_pb2.Image, repository=repository.name),
    ]
    if held:
        raise wrong_state("name", repository.name, f"{repository.name} holds {listed(held)}; it must be empty")
    server = storage_server(servers_of(view, repository), repository.uid, repository.name, "name")
    deleting = repository_pb2.Repository(name=repository.name, state=repository_pb2.REPOSITORY_STATE_DELETING)

    builder = PlanBuilder(view)
    job = builder.job("Delete Repository", repository.name)
    builder.lock(repository.server_pool, LockMode.IS)
    job.write("Mark the repository", update(deleting, "state"))
    job.step(
        "Remove the folder",
        server.name,
        remove_repository_folder_pb2.RemoveRepositoryFolder(
            repository_path=repository.path, repository_uid=repository.uid
        ),
        pivot=True,
    )
    job.write("Remove the repository's record", delete(repository.name), forward=True)
    return builder.build()


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.DeleteRepository", selections=selections, plan=plan
)
