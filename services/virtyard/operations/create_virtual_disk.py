"""Create Virtual Disk: the image in a repository, its record, and the machine to attach it to if one is named."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import create_virtual_disk_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.names import id_of
from virtyard.kernel.plan import Ids, PlanBuilder
from virtyard.kernel.validation import configured
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.disks import (
    attachable_machine,
    complete,
    next_position,
    plan_attachment,
    plan_image,
    ready_repository,
    source_image,
)
from virtyard.operations.naming import check_free, display_name, named

Request = create_virtual_disk_pb2.CreateVirtualDiskRequest


def _name(request: Request) -> str:
    return named("virtualDisks", request.virtual_disk_id, "virtual_disk_id")


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the name to be taken, the repository with its servers, the image, and the machine with its disks."""
    if not request.virtual_disk.repository:
        raise InvalidRequest.of("virtual_disk.repository", "is required: the repository that is to hold the image")
    found = [select(_name(request)), select(request.virtual_disk.repository, "server_pool/servers@server_pool")]
    if request.virtual_disk.image:
        found.append(select(request.virtual_disk.image, "repository"))
    if request.virtual_machine:
        found.append(select(request.virtual_machine, "server_pool", "virtualDisks@virtual_machine"))
    return found


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:
    """Plan the image, and the attachment where a machine is named."""
    name = _name(request)
    check_free(view, name, "virtual_disk_id")
    disk = configured(request.virtual_disk)
    disk.name, disk.uid = name, ids.uid(name)
    disk.display_name = display_name(disk.display_name, id_of(name), "virtual_disk.display_name")
    machine = attachable_machine(view, request.virtual_machine, "virtual_machine") if request.virtual_machine else None
    pool = machine.server_pool if machine is not None else ""
    repository = ready_repository(view, disk.repository, pool, "virtual_disk.repository")
    source = source_image(view, disk, repository.server_pool, "virtual_disk")
    builder = PlanBuilder(view)
    if machine is not None:
        disk.position = next_position(view, machine, "virtual_machine")
    plan_image(builder, complete(disk), repository, view, "virtual_disk.repository", source)
    if machine is not None:
        plan_attachment(builder, name, machine)
    return builder.build(name)


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.CreateVirtualDisk", selections=selections, plan=plan
)
