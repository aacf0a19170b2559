"""Between messages and values: one owner's priority, and what it waits for."""

from __future__ import annotations

from virtyard.api.locks.v1 import owner_pb2 as pb
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.lock_modes import LockMode
from virtyard.locks.explaining import OwnerStory, OwnerWait
from virtyard.locks.model import Rerank
from virtyard.locks.wire import HIGHEST_PRIORITY, info_of, mode_number, stamp

__all__ = ["owner_of", "rerank", "story_message"]


def rerank(message: pb.SetPriorityRequest) -> Rerank:
    """Return what a message asks for.

    Raises:
        InvalidRequest: the owner has no name, or the priority is out of range.
    """
    if not message.owner:
        raise InvalidRequest.of("owner", "is required")
    if abs(message.priority) > HIGHEST_PRIORITY:
        raise InvalidRequest.of("priority", f"{message.priority} is not allowed; -20 to 20 is")
    return Rerank(owner=message.owner, epoch=message.epoch, priority=message.priority)


def owner_of(message: pb.ExplainOwnerRequest) -> str:
    """Return the owner that a message asks about.

    Raises:
        InvalidRequest: it has no name.
    """
    if not message.owner:
        raise InvalidRequest.of("owner", "is required")
    return message.owner


def story_message(story: OwnerStory) -> pb.ExplainOwnerResponse:
    """Return the message that tells of owners and of who is in their way."""
    return pb.ExplainOwnerResponse(owners=map(_owner, story.owners), truncated=story.truncated)


def _owner(told: OwnerWait) -> pb.OwnerWait:
    claim = told.claim
    message = pb.OwnerWait(
        owner=claim.owner,
        waiting=claim.waiting,
        position=told.position,
        priority=claim.priority,
        purpose=claim.purpose,
        blockers=[
            pb.OwnerBlocker(
                info=info_of(blocker),
                wanted_mode=mode_number(told.wanted.get(blocker.object, LockMode.UNSPECIFIED)),
            )
            for blocker in told.blockers
        ],
    )
    stamp(message.request_time, claim.requested)
    if claim.granted is not None:
        stamp(message.grant_time, claim.granted)
    return message
