"""Giving the image of a disk another size; its undo gives it the old one back."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.agent.drivers.storage.contract import Place
from virtyard.api.actions.v1 import resize_disk_file_pb2


async def do(message: resize_disk_file_pb2.ResizeDiskFile, context: Context) -> Outcome:
    """Resize the image, telling how many bytes are written; doing it again does nothing."""
    place = Place(path=message.repository_path, uid=message.repository_uid)
    disk = await context.host.storage.resize_disk(
        place,
        message.disk_uid,
        message.size_bytes,
        on_progress=lambda done, total: context.progress(done, total, "resizing the image"),
    )
    return Outcome(result=resize_disk_file_pb2.ResizeDiskFileResult(allocated_bytes=disk.allocated_bytes))


async def probe(message: resize_disk_file_pb2.ResizeDiskFile, context: Context) -> Outcome | None:
    """Find the image at its new size; one whose resizing was cut short gets its old size back."""
    place = Place(path=message.repository_path, uid=message.repository_uid)
    disk = await context.host.storage.settle_size(place, message.disk_uid)
    if disk is None or disk.size_bytes != message.size_bytes:
        return None
    return Outcome(result=resize_disk_file_pb2.ResizeDiskFileResult(allocated_bytes=disk.allocated_bytes))


ACTION = Action(message=resize_disk_file_pb2.ResizeDiskFile, lane=Lane.STORAGE, do=do, probe=probe)
