"""Import Image: copy a file into a repository, then record it, so that no half-imported image is visible."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.actions.v1 import import_image_file_pb2, remove_disk_file_pb2
from virtyard.api.inventory.v1 import image_pb2, repository_pb2, server_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import import_image_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.names import id_of
from virtyard.kernel.plan import Ids, PlanBuilder
from virtyard.kernel.validation import configured
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.disks import ready_repository
from virtyard.operations.hosts import copy_on, online, servers_of, storage_server
from virtyard.operations.images import check_digest, check_upload
from virtyard.operations.naming import check_free, display_name, named
from virtyard.operations.refusals import state_word, wrong_state
from virtyard.operations.storage_paths import absolute_path

Request = import_image_pb2.ImportImageRequest


def _name(request: Request) -> str:
    return named("images", request.image_id, "image_id")


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the name to be taken, the repository with its servers, and the server that is named."""
    if not request.image.repository:
        raise InvalidRequest.of("image.repository", "is required: the repository that is to hold the image")
    found = [select(_name(request)), select(request.image.repository, "server_pool/servers@server_pool")]
    return [*found, select(request.server)] if request.server else found


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:
    """Plan the copy and the record."""
    name = _name(request)
    check_free(view, name, "image_id")
    image = configured(request.image)
    image.name, image.uid = name, ids.uid(name)
    image.display_name = display_name(image.display_name, id_of(name), "image.display_name")
    if not image.format:
        raise InvalidRequest.of("image.format", "is required; it must be one of IMAGE_FORMAT_ISO, IMAGE_FORMAT_DISK")
    image.state = image_pb2.IMAGE_STATE_READY
    repository = ready_repository(view, image.repository, "", "image.repository")
    server = _server(request, view, repository, image.uid)
    copy = import_image_file_pb2.ImportImageFile(
        repository_path=repository.path,
        repository_uid=repository.uid,
        image_uid=image.uid,
        format=image.format,
        sha256=check_digest(request.sha256, "sha256"),
    )
    _take_source(request, copy)
    image.source = copy.upload or f"{server.name}:{copy.server_path}"
    undo = remove_disk_file_pb2.RemoveDiskFile(
        repository_path=repository.path, repository_uid=repository.uid, disk_uid=image.uid
    )

    builder = PlanBuilder(view)
    job = builder.job("Import Image", name)
    builder.lock(name, LockMode.X, parent=repository.name)
    copied = job.step("Copy the image", server.name, copy, undo=undo, weight=10, counted=copy_on(server.name, "server"))
    job.write("Record the image", image)
    for field in ("path", "size_bytes", "virtual_size_bytes", "sha256"):
        job.bind(f"writes[0].create.image.{field}", copied, field)
    return builder.build(name)


def _server(request: Request, view: View, repository: repository_pb2.Repository, uid: str) -> server_pb2.Server:
    """Return the server that copies: the one that is named, or one that reaches the repository."""
    servers = servers_of(view, repository)
    if not request.server:
        return storage_server(servers, uid, repository.name, "image.repository")
    server = view.get(request.server, server_pb2.Server, field="server")
    if server.name not in repository.servers:
        allowed = ", ".join(each.name for each in servers) or "none, as it is presented to no server"
        raise InvalidRequest.of("server", f"{server.name} does not reach {repository.name}; allowed are {allowed}")
    if not online([server]):
        raise wrong_state("server", server.name, f"{server.name} is {state_word(server)}; it must be online")
    return server


def _take_source(request: Request, copy: import_image_file_pb2.ImportImageFile) -> None:
    match request.WhichOneof("source"):
        case "server_path":
            copy.server_path = absolute_path(request.server_path, "server_path")
        case "upload":
            copy.upload = check_upload(request.upload, "upload")
        case _:
            raise InvalidRequest.of("source", "is required: one of server_path and upload")


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.ImportImage", selections=selections, plan=plan
)
