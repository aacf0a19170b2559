"""Removing the folder of a repository that holds no images."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.agent.drivers.storage.contract import Place
from virtyard.api.actions.v1 import remove_repository_folder_pb2


async def do(message: remove_repository_folder_pb2.RemoveRepositoryFolder, context: Context) -> Outcome:
    """Remove the folder; as an undo only the one that the same step made."""
    place = Place(path=message.repository_path, uid=message.repository_uid)
    changed = await context.host.storage.remove_repository(place, context.own_mark)
    if changed or not context.undoing:  # killed after the folder was gone, it goes on here
        context.host.attachments.forget(place.uid)
    return Outcome(result=remove_repository_folder_pb2.RemoveRepositoryFolderResult(), changed=changed)


ACTION = Action(message=remove_repository_folder_pb2.RemoveRepositoryFolder, lane=Lane.STORAGE, do=do, probe=do)
