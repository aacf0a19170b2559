"""Erasing images from the trash for good."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.agent.drivers.storage.contract import Place
from virtyard.api.actions.v1 import erase_disk_files_pb2


async def do(message: erase_disk_files_pb2.EraseDiskFiles, context: Context) -> Outcome:
    """Erase each image that is still in the trash."""
    place = Place(path=message.repository_path, uid=message.repository_uid)
    freed = 0
    for number, uid in enumerate(message.disk_uids):
        context.progress(number, len(message.disk_uids), "erasing images")
        freed += await context.host.storage.erase_disk(place, uid)
    return Outcome(result=erase_disk_files_pb2.EraseDiskFilesResult(freed_bytes=freed), changed=freed > 0)


ACTION = Action(message=erase_disk_files_pb2.EraseDiskFiles, lane=Lane.STORAGE, do=do, probe=do)
