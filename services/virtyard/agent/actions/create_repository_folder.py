"""Laying out the folder of a repository."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.agent.drivers.storage.contract import Place, Usage
from virtyard.api.actions.v1 import create_repository_folder_pb2


async def do(message: create_repository_folder_pb2.CreateRepositoryFolder, context: Context) -> Outcome:
    """Lay the folder out under this mark."""
    place = Place(path=message.repository_path, uid=message.repository_uid)
    usage = await context.host.storage.create_repository(place, context.mark, message.capacity_bytes)
    return Outcome(result=_result(usage))


async def probe(message: create_repository_folder_pb2.CreateRepositoryFolder, context: Context) -> Outcome | None:
    """Find the folder by its mark, and finish it; one that did not get its marker yet is cleared away."""
    place = Place(path=message.repository_path, uid=message.repository_uid)
    if await context.host.storage.has_repository(place) == context.mark:
        return await do(message, context)
    await context.host.storage.remove_repository(place, context.mark)
    return None


def _result(usage: Usage) -> create_repository_folder_pb2.CreateRepositoryFolderResult:
    return create_repository_folder_pb2.CreateRepositoryFolderResult(
        total_bytes=usage.total_bytes, free_bytes=usage.free_bytes
    )


ACTION = Action(message=create_repository_folder_pb2.CreateRepositoryFolder, lane=Lane.STORAGE, do=do, probe=probe)
