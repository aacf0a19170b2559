"""Delete Image: move its file to the trash, which can be undone, then erase it and remove the record."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.inventory.v1 import image_pb2, repository_pb2, virtual_machine_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import delete_image_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.plan import Ids, PlanBuilder
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.disks import plan_erasure
from virtyard.operations.hosts import servers_of, storage_server
from virtyard.operations.images import image_ready
from virtyard.operations.refusals import listed, wrong_state

Request = delete_image_pb2.DeleteImageRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the image, the machines that have it in their drives, and its repository with the servers that reach it."""
    return [select(request.name, "repository/server_pool/servers@server_pool", "virtualMachines@cdrom")]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the steps; erasing is the point of no return."""
    image = view.get(request.name, image_pb2.Image, field="name", etag=request.etag)
    machines = view.of(virtual_machine_pb2.VirtualMachine, cdrom=image.name)
    if machines:
        text = f"{image.name} is in the CD-ROM drive of {listed(machines)}; it must be in none"
        raise wrong_state("name", image.name, text)
    repository = view.get(image.repository, repository_pb2.Repository, field="name")
    server = storage_server(servers_of(view, repository), image.uid, repository.name, "name").name
    builder = PlanBuilder(view)
    leaving = image_pb2.Image(name=image.name, state=image_pb2.IMAGE_STATE_DELETING)
    plan_erasure(builder.job("Delete Image", image.name), leaving, image.uid, repository, server)
    return builder.build()


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.DeleteImage",
    selections=selections,
    plan=plan,
    needs={"name": (image_ready,)},
)
