"""Detaching a repository from this host; its files stay."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.api.actions.v1 import detach_repository_pb2


async def do(message: detach_repository_pb2.DetachRepository, context: Context) -> Outcome:
    """Give the repository up; as an undo let go only what the same step attached."""
    attachments, uid = context.host.attachments, message.repository_uid
    changed = attachments.forget(uid, context.mark) if context.undoing else attachments.give_up(uid, context.mark)
    return _outcome(changed=changed)


async def probe(message: detach_repository_pb2.DetachRepository, context: Context) -> Outcome | None:
    """Find by its mark what was given up; letting go is done again."""
    if context.undoing:
        return await do(message, context)
    given_up = context.host.attachments.given_up_by(message.repository_uid) == context.mark
    return _outcome(changed=True) if given_up else None


def _outcome(*, changed: bool) -> Outcome:
    return Outcome(result=detach_repository_pb2.DetachRepositoryResult(was_attached=changed), changed=changed)


ACTION = Action(message=detach_repository_pb2.DetachRepository, lane=Lane.STORAGE, do=do, probe=probe)
