"""Removing the image of a disk that the same step made."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.agent.drivers.storage.contract import Place
from virtyard.api.actions.v1 import remove_disk_file_pb2


async def do(message: remove_disk_file_pb2.RemoveDiskFile, context: Context) -> Outcome:
    """Remove the image if it carries this mark."""
    place = Place(path=message.repository_path, uid=message.repository_uid)
    changed = await context.host.storage.remove_disk(place, message.disk_uid, context.mark)
    return Outcome(result=remove_disk_file_pb2.RemoveDiskFileResult(), changed=changed)


ACTION = Action(message=remove_disk_file_pb2.RemoveDiskFile, lane=Lane.STORAGE, do=do, probe=do)
