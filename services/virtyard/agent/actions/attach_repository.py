"""Attaching a repository to this host."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.agent.drivers.storage.contract import Place
from virtyard.api.actions.v1 import attach_repository_pb2


async def do(message: attach_repository_pb2.AttachRepository, context: Context) -> Outcome:
    """Attach the repository under this mark; as an undo put back only what the same step gave up.

    Raises:
        InvalidRequest: its folder is not under a storage root.
        WrongState: the folder is not here, or is not this repository.
    """
    place = Place(path=message.repository_path, uid=message.repository_uid)
    if context.undoing:
        return Outcome(result=_result(place), changed=context.host.attachments.put_back(place.uid, context.mark))
    await context.host.storage.usage(place)
    changed = context.host.attachments.attach(place, message.repository, context.mark)
    return Outcome(result=_result(place), changed=changed)


async def probe(message: attach_repository_pb2.AttachRepository, context: Context) -> Outcome | None:
    """Find the attachment by its mark; a putting back is done again."""
    if context.undoing:
        return await do(message, context)
    if context.host.attachments.mark(message.repository_uid) != context.mark:
        return None
    return Outcome(result=_result(Place(path=message.repository_path, uid=message.repository_uid)))


def _result(place: Place) -> attach_repository_pb2.AttachRepositoryResult:
    return attach_repository_pb2.AttachRepositoryResult(repository_path=place.path)


ACTION = Action(message=attach_repository_pb2.AttachRepository, lane=Lane.STORAGE, do=do, probe=probe)
