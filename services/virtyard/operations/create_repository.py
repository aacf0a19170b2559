"""Create Repository: lay out a folder on storage that a pool reaches, then record it, presented to all its servers."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.actions.v1 import create_repository_folder_pb2, remove_repository_folder_pb2
from virtyard.api.inventory.v1 import repository_pb2, server_pb2, server_pool_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import create_repository_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import AlreadyExists, InvalidRequest
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.names import id_of
from virtyard.kernel.plan import Ids, PlanBuilder
from virtyard.kernel.validation import configured
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.hosts import storage_server
from virtyard.operations.naming import check_free, display_name, named
from virtyard.operations.needs import check
from virtyard.operations.pools import active_pool
from virtyard.operations.storage_paths import absolute_path, overlap

Request = create_repository_pb2.CreateRepositoryRequest

LEAST_CAPACITY = 1 << 20


def _name(request: Request) -> str:
    return named("repositories", request.repository_id, "repository_id")


def _pool(request: Request) -> str:
    if not request.repository.server_pool:
        raise InvalidRequest.of("repository.server_pool", "is required: the pool whose servers it is presented to")
    return request.repository.server_pool


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the name to be taken, and the pool with its servers and with the repositories that it has."""
    return [select(_name(request)), select(_pool(request), "servers@server_pool", "repositories@server_pool")]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:
    """Plan the folder and the record.

    A path is compared with the repositories of the same pool here; on any storage the host itself refuses a folder that
    is another repository's, by its marker file.
    """
    name = _name(request)
    check_free(view, name, "repository_id")
    pool = view.get(_pool(request), server_pool_pb2.ServerPool, field="repository.server_pool")
    check(pool, "repository.server_pool", active_pool)
    path = absolute_path(request.repository.path, "repository.path")
    for other in view.of(repository_pb2.Repository, server_pool=pool.name):
        if overlap(path, other.path):
            text = f"repository.path: {path} overlaps {other.path} of {other.name}; choose a folder of its own"
            raise AlreadyExists(text, resource=other.name, metadata={"field": "repository.path"})
    if request.repository.capacity_bytes and request.repository.capacity_bytes < LEAST_CAPACITY:
        allowed = "0 for no limit, or at least 1 MiB"
        text = f"{request.repository.capacity_bytes} is not allowed; it must be {allowed}"
        raise InvalidRequest.of("repository.capacity_bytes", text)
    repository = configured(request.repository)
    repository.name, repository.uid, repository.path = name, ids.uid(name), path
    repository.display_name = display_name(repository.display_name, id_of(name), "repository.display_name")
    repository.state = repository_pb2.REPOSITORY_STATE_READY
    members = view.of(server_pb2.Server, server_pool=pool.name)
    repository.servers[:] = [server.name for server in members]

    builder = PlanBuilder(view)
    job = builder.job("Create Repository", name)
    # The pool is no ancestor of its repositories; IS keeps it and its members until the folder is made.
    builder.lock(pool.name, LockMode.IS)
    server = storage_server(members, repository.uid, pool.name, "repository.server_pool")
    where = {"repository_path": path, "repository_uid": repository.uid}
    made = job.step(
        "Lay out the folder",
        server.name,
        create_repository_folder_pb2.CreateRepositoryFolder(**where, capacity_bytes=repository.capacity_bytes),
        undo=remove_repository_folder_pb2.RemoveRepositoryFolder(**where),
    )
    job.write("Record the repository", repository)
    for field in ("total_bytes", "free_bytes"):
        job.bind(f"writes[0].create.repository.{field}", made, field)
    return builder.build(name)


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.CreateRepository", selections=selections, plan=plan
)
