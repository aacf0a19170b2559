"""Detaching every repository from this host but those that it should have; their files stay."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.api.actions.v1 import detach_other_repositories_pb2


async def do(message: detach_other_repositories_pb2.DetachOtherRepositories, context: Context) -> Outcome:
    """Give the others up in one write; as an undo put back what the same step gave up."""
    attachments = context.host.attachments
    if context.undoing:
        return _outcome(attachments.put_all_back(context.mark))
    return _outcome(attachments.give_up_others(message.repository_uids, context.mark))


async def probe(message: detach_other_repositories_pb2.DetachOtherRepositories, context: Context) -> Outcome | None:
    """Find by its mark what was given up; putting back is done again."""
    if context.undoing:
        return await do(message, context)
    given_up = context.host.attachments.all_given_up_by(context.mark)
    return _outcome(given_up) if given_up else None


def _outcome(repositories: Sequence[str]) -> Outcome:
    result = detach_other_repositories_pb2.DetachOtherRepositoriesResult(repositories=repositories)
    return Outcome(result=result, changed=bool(repositories))


ACTION = Action(message=detach_other_repositories_pb2.DetachOtherRepositories, lane=Lane.STORAGE, do=do, probe=probe)
