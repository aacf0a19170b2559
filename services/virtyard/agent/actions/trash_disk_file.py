"""Moving the image of a disk into the trash of its repository."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.agent.drivers.storage.contract import Place
from virtyard.api.actions.v1 import trash_disk_file_pb2


async def do(message: trash_disk_file_pb2.TrashDiskFile, context: Context) -> Outcome:
    """Move the image, noting the mark so that only this step's undo moves it back; one that is gone is no failure."""
    place = Place(path=message.repository_path, uid=message.repository_uid)
    path = await context.host.storage.trash_disk(place, message.disk_uid, context.mark)
    if path is None:
        return Outcome(result=trash_disk_file_pb2.TrashDiskFileResult(), changed=False)
    trash = f"{path.parent.parent.name}/{path.parent.name}/{path.name}"
    return Outcome(result=trash_disk_file_pb2.TrashDiskFileResult(trash_path=trash))


ACTION = Action(message=trash_disk_file_pb2.TrashDiskFile, lane=Lane.STORAGE, do=do, probe=do)
