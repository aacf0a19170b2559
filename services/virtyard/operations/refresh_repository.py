"""Refresh Repository: one of its servers looks through it; its space is recorded, and what does not belong is told."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.actions.v1 import scan_repository_pb2
from virtyard.api.inventory.v1 import image_pb2, repository_pb2, virtual_disk_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import refresh_repository_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.plan import Ids, PlanBuilder, update
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.disks import repository_ready
from virtyard.operations.hosts import servers_of, storage_server

Request = refresh_repository_pb2.RefreshRepositoryRequest

SPACE = ("total_bytes", "free_bytes", "promised_bytes")
"""What the record keeps of what the server saw."""


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the repository with its disks and images, and its servers."""
    return [select(request.name, "virtualDisks@repository", "images@repository", "servers")]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the look and the record; under the lock no disk or image comes or goes meanwhile."""
    repository = view.get(request.name, repository_pb2.Repository, field="name", etag=request.etag)
    server = storage_server(servers_of(view, repository), repository.uid, repository.name, "name")
    look = scan_repository_pb2.ScanRepository(
        repository=repository.name,
        repository_path=repository.path,
        repository_uid=repository.uid,
        files=[
            *(_file(disk) for disk in view.of(virtual_disk_pb2.VirtualDisk, repository=repository.name)),
            *(_file(image) for image in view.of(image_pb2.Image, repository=repository.name)),
        ],
    )
    builder = PlanBuilder(view)
    job = builder.job("Refresh Repository", repository.name)
    # Looking changes nothing, so there is nothing to undo: the host says so and leaves it.
    seen = job.step("Look through the folder", server.name, look, undo=look, weight=3)
    job.write("Record its space", update(repository_pb2.Repository(name=repository.name), *SPACE))
    for field in SPACE:
        job.bind(f"writes[0].update.object.repository.{field}", seen, field)
    return builder.build(repository.name)


def _file(held: virtual_disk_pb2.VirtualDisk | image_pb2.Image) -> scan_repository_pb2.ScannedFile:
    return scan_repository_pb2.ScannedFile(object=held.name, uid=held.uid)


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.RefreshRepository",
    selections=selections,
    plan=plan,
    needs={"name": (repository_ready,)},
    safe_in_quarantine=True,
)
