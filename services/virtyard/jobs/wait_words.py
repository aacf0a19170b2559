"""A wait in words: how far somebody is and for how long yet, why it is held, and the whole answer in one sentence."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from virtyard.api.jobs.v1 import job_pb2
from virtyard.api.jobs.v1 import wait_explanation_pb2 as pb

_HOLDS = {
    job_pb2.HELD_REASON_POISON: "it brought the scheduler down again and again",
    job_pb2.HELD_REASON_BROKEN: "its locks were broken",
    job_pb2.HELD_REASON_FILTER: "a filter keeps it back",
    job_pb2.HELD_REASON_PERSON: "somebody set it aside",
}
_PLAIN = {
    pb.WAIT_CAUSE_NONE: "it waits for nothing",
    pb.WAIT_CAUSE_RETRY: "its last try failed, and it is tried again by itself",
    pb.WAIT_CAUSE_ROLLING_BACK: "what it did is being undone, the last step first",
}


def summary(told: pb.WaitExplanation, now: datetime) -> str:
    """Return the whole answer in one sentence."""
    job, text = told.job, _PLAIN.get(told.cause, "")
    match told.cause:
        case pb.WAIT_CAUSE_LOCKS | pb.WAIT_CAUSE_CAPACITY:
            text = _lock_summary(told)
        case pb.WAIT_CAUSE_HELD | pb.WAIT_CAUSE_FILTER:
            text = f"{job.owner} is set aside: {hold_words(job)}"
        case pb.WAIT_CAUSE_CONTACT_LOST:
            silent = sorted({name for party in everybody(told) for name in party.silent_servers})
            text = f"{', '.join(silent)} {'does' if len(silent) == 1 else 'do'} not answer, and nothing is guessed"
        case pb.WAIT_CAUSE_STUCK_UNDO:
            text = f"an undo of {job.owner} was refused, so a person must decide"
        case pb.WAIT_CAUSE_PREDECESSOR:
            first = next(edge.blocker for edge in told.edges if edge.kind == pb.WAIT_EDGE_KIND_PREDECESSOR)
            text = f"{first} of the same operation comes first"
        case pb.WAIT_CAUSE_DEFERRED:
            text = f"{job.object} could not be reached when its turn came, so its part is still to be done"
        case pb.WAIT_CAUSE_RUNNING:
            text = f"it is at work, {how_far(job, now)}"
    return text


def _lock_summary(told: pb.WaitExplanation) -> str:
    own = [edge for edge in told.edges if edge.waiter == told.job.owner]
    if not own:
        return "it is asking for its locks just now"
    nearest = own[0]
    others = len({edge.blocker for edge in own}) - 1
    more = f", and for {others} more" if others else ""
    if nearest.kind == pb.WAIT_EDGE_KIND_BARRIER:
        return f"it waits for {nearest.object} behind {nearest.blocker}, which goes first{more}"
    return f"it waits for {nearest.object}, which {nearest.blocker} has{more}"


def everybody(told: pb.WaitExplanation) -> list[pb.WaitParty]:
    """Return the job that was asked about, and all who are in a way."""
    return [told.job, *told.parties]


def hold_words(party: pb.WaitParty) -> str:
    """Return why somebody is set aside."""
    if party.held == job_pb2.HELD_REASON_PERSON and party.held_by:
        return f"{party.held_by} set it aside"
    if party.held == job_pb2.HELD_REASON_FILTER and party.held_by:
        return f"{party.held_by} keeps it back"
    return _HOLDS.get(party.held, "it is set aside")


def how_far(party: pb.WaitParty, now: datetime) -> str:
    """Return how far somebody is, as `61 % done, about 7 minutes left`."""
    far = f"{party.percent:.0f} % done"
    if party.HasField("expected_end_time"):
        far += f", about {in_words((time_of(party.expected_end_time) - now).total_seconds())} left"
    return far


def in_words(seconds: float) -> str:
    """Return a span of time as people say it, as `7 minutes`."""
    for size, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size * (0.9 if size == 60 else 1.5):
            count = round(seconds / size)
            return f"{count} {word}{'' if count == 1 else 's'}"
    count = max(1, round(seconds))
    return f"{count} second{'' if count == 1 else 's'}"


def time_of(stamp: Timestamp) -> datetime:
    """Return a timestamp as a time with its zone."""
    return stamp.ToDatetime(UTC)
