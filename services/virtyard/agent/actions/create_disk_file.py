"""Making the image of a disk."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.agent.drivers.storage.contract import DiskFile, Place
from virtyard.agent.images import image_file
from virtyard.api.actions.v1 import create_disk_file_pb2


async def do(message: create_disk_file_pb2.CreateDiskFile, context: Context) -> Outcome:
    """Make the image under this mark, telling how many bytes are written."""
    place = Place(path=message.repository_path, uid=message.repository_uid)
    image = await image_file(message.image, context.host.storage) if message.HasField("image") else None
    stage = "copying the image" if image else "writing the image" if message.full else "making the image"
    disk = await context.host.storage.create_disk(
        place,
        message.disk_uid,
        message.size_bytes,
        full=message.full,
        mark=context.mark,
        on_progress=lambda done, total: context.progress(done, total, stage),
        image=image,
    )
    return Outcome(result=_result(disk))


async def probe(message: create_disk_file_pb2.CreateDiskFile, context: Context) -> Outcome | None:
    """Find the whole image by its mark; a half made one is removed, and whoever still writes it is ended."""
    place = Place(path=message.repository_path, uid=message.repository_uid)
    disk = await context.host.storage.find_disk(place, message.disk_uid)
    if disk is not None and disk.mark == context.mark:
        return Outcome(result=_result(disk))
    await context.host.storage.remove_disk(place, message.disk_uid, context.mark)
    return None


def _result(disk: DiskFile) -> create_disk_file_pb2.CreateDiskFileResult:
    return create_disk_file_pb2.CreateDiskFileResult(
        path=f"{disk.path.parent.name}/{disk.path.name}", allocated_bytes=disk.allocated_bytes
    )


ACTION = Action(message=create_disk_file_pb2.CreateDiskFile, lane=Lane.STORAGE, do=do, probe=probe)
