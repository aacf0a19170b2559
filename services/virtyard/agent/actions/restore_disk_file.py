"""Putting the image of a disk back from the trash."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.agent.drivers.storage.contract import Place
from virtyard.api.actions.v1 import restore_disk_file_pb2


async def do(message: restore_disk_file_pb2.RestoreDiskFile, context: Context) -> Outcome:
    """Put the image back; as an undo only if the same step moved it away."""
    place = Place(path=message.repository_path, uid=message.repository_uid)
    changed = await context.host.storage.restore_disk(place, message.disk_uid, context.own_mark)
    return Outcome(result=restore_disk_file_pb2.RestoreDiskFileResult(), changed=changed)


ACTION = Action(message=restore_disk_file_pb2.RestoreDiskFile, lane=Lane.STORAGE, do=do, probe=do)
