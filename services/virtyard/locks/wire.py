"""Between the values of the lock service and its messages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

from google.protobuf.timestamp_pb2 import Timestamp

from virtyard.api.locks.v1 import lock_service_pb2 as pb
from virtyard.api.type.v1 import lock_pb2
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.lock_modes import LockMode
from virtyard.locks.model import (
    Blocker,
    Claim,
    ClaimedLock,
    Grant,
    LockSet,
    LockView,
    LockWish,
    QueuePlace,
    Refusal,
    Release,
    Report,
    views,
)

__all__ = [
    "HIGHEST_PRIORITY",
    "bodies",
    "info_of",
    "lock",
    "lock_set",
    "lock_set_message",
    "lock_view",
    "mode_number",
    "release",
    "release_message",
    "report",
    "report_message",
    "stamp",
]

HIGHEST_PRIORITY = 20
"""Priorities are allowed from this number below 0 to this above."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def lock(view: LockView) -> pb.Lock:
    """Return the message that shows a lock."""
    message = pb.Lock(
        object=view.object,
        mode=mode_number(view.mode),
        owner=view.owner,
        fencing_token=view.token,
        purpose=view.purpose,
        job=view.job,
        waiting=view.granted is None,
        blockers=[info_of(blocker) for blocker in view.blockers],
        queue_place=view.position,
    )
    stamp(message.request_time, view.requested)
    if view.granted is not None:
        stamp(message.grant_time, view.granted)
    return message


def bodies(claim: Claim, place: QueuePlace | None) -> Iterator[bytes]:
    """Yield the serialised message of each lock of a claim; made from one message, as every grant takes this path."""
    message = pb.Lock()
    for view in islice(views(claim, place), 1):
        message = lock(view)
    for each in claim.locks:
        message.object = each.object
        message.mode = mode_number(each.mode)
        message.fencing_token = each.token
        message.job = each.job
        yield message.SerializeToString()


def lock_view(message: pb.Lock) -> LockView:
    """Return the lock that a message shows."""
    return LockView(
        object=message.object,
        mode=LockMode(message.mode),
        owner=message.owner,
        token=message.fencing_token,
        purpose=message.purpose,
        job=message.job,
        requested=_datetime(message.request_time),
        granted=_datetime(message.grant_time) if message.HasField("grant_time") else None,
        position=message.queue_place,
        blockers=tuple(_blocker(info) for info in message.blockers),
    )


def lock_set(message: pb.LockSet) -> LockSet:
    """Return the set that a message asks for.

    Raises:
        InvalidRequest: the owner or an object has no name, or the priority or a mode is out of range.
    """
    if not message.owner:
        raise InvalidRequest.of("sets.owner", "is required")
    if abs(message.priority) > HIGHEST_PRIORITY:
        raise InvalidRequest.of("sets.priority", f"{message.priority} is not allowed; -20 to 20 is")
    return LockSet(
        owner=message.owner,
        epoch=message.epoch,
        locks=tuple(LockWish(object=each.object, mode=_mode(each), job=each.job) for each in message.locks),
        priority=message.priority,
        purpose=message.purpose,
        round=message.round,
        trace_context=dict(message.trace_context),
        under=message.under,
    )


def lock_set_message(wanted: LockSet) -> pb.LockSet:
    """Return the message that asks for a set."""
    return pb.LockSet(
        owner=wanted.owner,
        locks=[pb.LockRequest(object=wish.object, mode=mode_number(wish.mode), job=wish.job) for wish in wanted.locks],
        priority=wanted.priority,
        purpose=wanted.purpose,
        epoch=wanted.epoch,
        round=wanted.round,
        trace_context=wanted.trace_context,
        under=wanted.under,
    )


def release(message: pb.OwnerRelease) -> Release:
    """Return what an owner gives back.

    Raises:
        InvalidRequest: the owner is missing, what is kept has no name or no mode, or there is an heir of a part.
    """
    if not message.owner:
        raise InvalidRequest.of("owners.owner", "is required")
    keep = {each.object: _mode(each) for each in message.keep} or None
    if keep and message.heir:
        raise InvalidRequest.of("owners.heir", "is not allowed beside keep; only an owner that is closed has an heir")
    return Release(owner=message.owner, epoch=message.epoch, keep=keep, heir=message.heir)


def release_message(given_back: Release) -> pb.OwnerRelease:
    """Return the message that gives back what an owner held."""
    keep = [pb.LockRequest(object=name, mode=mode_number(mode)) for name, mode in (given_back.keep or {}).items()]
    return pb.OwnerRelease(owner=given_back.owner, epoch=given_back.epoch, keep=keep, heir=given_back.heir)


def report_message(news: Report) -> pb.LockSetReport:
    """Return the message that tells what became of a set."""
    match news:
        case Grant():
            tokens = [
                lock_pb2.LockToken(object=each.object, fencing_token=each.token, mode=mode_number(each.mode))
                for each in news.locks
            ]
            return pb.LockSetReport(owner=news.owner, round=news.round, grant=pb.Grant(tokens=tokens))
        case QueuePlace():
            blockers = [info_of(blocker) for blocker in news.blockers]
            place = pb.QueuePlace(position=news.position, blockers=blockers)
            return pb.LockSetReport(owner=news.owner, round=news.round, queue_place=place)
        case Refusal():
            refusal = pb.Refusal(reason=news.reason, message=news.message)
            return pb.LockSetReport(owner=news.owner, round=news.round, refusal=refusal)


def report(message: pb.LockSetReport) -> Report:
    """Return what a message tells of a set."""
    match message.WhichOneof("report"):
        case "grant":
            locks = tuple(
                ClaimedLock(object=each.object, mode=LockMode(each.mode), token=each.fencing_token)
                for each in message.grant.tokens
            )
            return Grant(owner=message.owner, locks=locks, round=message.round)
        case "queue_place":
            place = message.queue_place
            blockers = tuple(_blocker(info) for info in place.blockers)
            return QueuePlace(owner=message.owner, position=place.position, blockers=blockers, round=message.round)
        case _:
            refusal = message.refusal
            return Refusal(owner=message.owner, reason=refusal.reason, message=refusal.message, round=message.round)


def info_of(blocker: Blocker) -> lock_pb2.LockInfo:
    """Return the message that shows who is in the way."""
    info = lock_pb2.LockInfo(
        object=blocker.object,
        holder=blocker.owner,
        purpose=blocker.purpose,
        mode=mode_number(blocker.mode),
        waiting=blocker.waiting,
        job=blocker.job,
    )
    stamp(info.since_time, blocker.since)
    return info


def _blocker(info: lock_pb2.LockInfo) -> Blocker:
    return Blocker(
        object=info.object,
        owner=info.holder,
        mode=LockMode(info.mode),
        waiting=info.waiting,
        purpose=info.purpose,
        since=_datetime(info.since_time),
        job=info.job,
    )


def _mode(message: pb.LockRequest) -> LockMode:
    if not message.object:
        raise InvalidRequest.of("locks.object", "is required")
    try:
        return LockMode(message.mode)
    except ValueError:
        raise InvalidRequest.of("locks.mode", f"{message.mode} is not a mode; IS, IX, S, SIX and X are") from None


def mode_number(mode: LockMode) -> lock_pb2.LockMode.ValueType:
    """Return a mode as messages carry it."""
    return lock_pb2.LockMode.ValueType(mode)


def stamp(field: Timestamp, time: datetime) -> None:
    """Set a timestamp; several times faster than its own FromDatetime."""
    since = time - _EPOCH
    field.seconds = since.days * 86_400 + since.seconds
    field.nanos = since.microseconds * 1_000


def _datetime(time: Timestamp) -> datetime:
    return time.ToDatetime(tzinfo=UTC)
