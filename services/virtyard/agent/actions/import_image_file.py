"""Copying an image into a repository, from a file of this host or from an upload."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.agent.drivers.storage.contract import ImageFile, Place, Source
from virtyard.agent.drivers.storage.sources import UploadSource
from virtyard.api.actions.v1 import import_image_file_pb2
from virtyard.api.inventory.v1 import image_pb2
from virtyard.kernel.errors import InvalidRequest


async def do(message: import_image_file_pb2.ImportImageFile, context: Context) -> Outcome:
    """Copy the image under this mark, telling how many bytes are written, and check what it is.

    Raises:
        InvalidRequest: it is not what it should be; nothing of it is kept.
    """
    image = await context.host.storage.import_image(
        _place(message),
        message.image_uid,
        _source(message, context),
        iso=message.format == image_pb2.IMAGE_FORMAT_ISO,
        sha256=message.sha256,
        mark=context.mark,
        on_progress=lambda done, total: context.progress(done, total, "copying the image"),
    )
    return Outcome(result=_result(image))


async def probe(message: import_image_file_pb2.ImportImageFile, context: Context) -> Outcome | None:
    """Find the whole image by its mark; a half copied one is removed."""
    image = await context.host.storage.find_image(_place(message), message.image_uid)
    if image is not None and image.mark == context.mark:
        return Outcome(result=_result(image))
    await context.host.storage.remove_disk(_place(message), message.image_uid, context.mark)
    return None


def _place(message: import_image_file_pb2.ImportImageFile) -> Place:
    return Place(path=message.repository_path, uid=message.repository_uid)


def _source(message: import_image_file_pb2.ImportImageFile, context: Context) -> Source:
    if message.WhichOneof("source") == "server_path":
        return context.host.storage.file(context.host.roots.check(message.server_path, "server_path"))
    if not message.upload:
        raise InvalidRequest.of("source", "is required: one of server_path and upload")
    return UploadSource(message.upload, context.host.read_upload)


def _result(image: ImageFile) -> import_image_file_pb2.ImportImageFileResult:
    return import_image_file_pb2.ImportImageFileResult(
        path=f"{image.path.parent.name}/{image.path.name}",
        size_bytes=image.size_bytes,
        virtual_size_bytes=image.virtual_size_bytes,
        sha256=image.sha256,
    )


ACTION = Action(message=import_image_file_pb2.ImportImageFile, lane=Lane.STORAGE, do=do, probe=probe)
