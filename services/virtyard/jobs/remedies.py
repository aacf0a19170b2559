"""What a person can do about a wait: sentences, each with the command line that does it, the mildest first.

Pure: from an explanation without its remedies. To wait is one where an end is in sight.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from virtyard.api.jobs.v1 import job_pb2
from virtyard.api.jobs.v1 import wait_explanation_pb2 as pb
from virtyard.jobs.wait_words import everybody, hold_words, how_far, in_words, time_of

_MOST = 8
_HIGHEST = 20
_GOING_BACK = frozenset({job_pb2.JOB_STATE_ROLLING_BACK, job_pb2.JOB_STATE_ROLLBACK_FAILED})


def remedies(told: pb.WaitExplanation, now: datetime) -> list[pb.WaitRemedy]:
    """Return what can be done about a wait, the mildest first.

    Args:
        told: the explanation, whole but for this.
        now: the present time.
    """
    if told.cause == pb.WAIT_CAUSE_NONE:
        return []
    found: dict[str, pb.WaitRemedy] = {}
    for remedy in _all(told, now):
        found.setdefault(remedy.text, remedy)
    return list(found.values())[:_MOST]


def _all(told: pb.WaitExplanation, now: datetime) -> Iterator[pb.WaitRemedy]:
    yield from _wait(told, now)
    yield from _release(told)
    yield from _see_to_host(told, now)
    yield from _decide(told)
    yield from _go_before(told)
    yield from _ask_person(told, now)
    yield from _abort(told, now)


def _wait(told: pb.WaitExplanation, now: datetime) -> Iterator[pb.WaitRemedy]:
    holders = {edge.blocker for edge in told.edges if edge.kind == pb.WAIT_EDGE_KIND_HOLDER} | {told.job.owner}
    for party in told.parties or [told.job]:
        if party.owner in holders and party.job and party.HasField("expected_end_time"):
            yield pb.WaitRemedy(text=f"wait: {party.job} ({party.title}) is {how_far(party, now)}")


def _release(told: pb.WaitExplanation) -> Iterator[pb.WaitRemedy]:
    for party in everybody(told):
        if party.held == job_pb2.HELD_REASON_FILTER:
            yield _see_to_filter(party)
        elif party.held and party.held != job_pb2.HELD_REASON_BROKEN:
            text = f"let {party.job} ({party.title}) go on: {hold_words(party)}"
            yield pb.WaitRemedy(text=text, command=f"virtyard job release {_id(party.job)}")


def _see_to_filter(party: pb.WaitParty) -> pb.WaitRemedy:
    """Return what helps against a filter: no release does, only a change of the filter."""
    by = party.held_by or "the filter"
    text = f"see what {by} is for; {party.job} goes on when that is changed, disabled or deleted"
    command = f"virtyard filter show {_id(party.held_by)}" if party.held_by else "virtyard filter list"
    return pb.WaitRemedy(text=text, command=command)


def _see_to_host(told: pb.WaitExplanation, now: datetime) -> Iterator[pb.WaitRemedy]:
    for edge in told.edges:
        if edge.kind != pb.WAIT_EDGE_KIND_HOST:
            continue
        heard = edge.HasField("since_time")
        since = f", silent for {in_words((now - time_of(edge.since_time)).total_seconds())}" if heard else ""
        is_server = edge.blocker.startswith("servers/")
        yield pb.WaitRemedy(
            text=f"see to {edge.blocker}{since}: its host, its network, its agent; all goes on when it answers",
            command=f"virtyard server describe {_id(edge.blocker)}" if is_server else "virtyard status",
        )
        if is_server:
            text = f"if {edge.blocker} is certainly off, say so: what its host took with it is settled without it"
            yield pb.WaitRemedy(text=text, command=f"virtyard server confirm-dead {_id(edge.blocker)} --proof WHY")
    if told.cause == pb.WAIT_CAUSE_DEFERRED and told.job.object.startswith("servers/"):
        text = f"once {told.job.object} is back, bring it up to date"
        yield pb.WaitRemedy(text=text, command=f"virtyard server refresh {_id(told.job.object)}")


def _decide(told: pb.WaitExplanation) -> Iterator[pb.WaitRemedy]:
    for party in everybody(told):
        yield from _decide_past_pivot(party)
        if party.state != job_pb2.JOB_STATE_ROLLBACK_FAILED:
            continue
        left = f" ({party.residue[0]})" if party.residue else ""
        yield pb.WaitRemedy(
            text=f"remove what is in the way of the undo of {party.job}{left}, and have it tried again",
            command=f"virtyard job retry {_id(party.job)}",
        )
        yield pb.WaitRemedy(
            text=f"leave what {party.job} left behind, and see to it by hand",
            command=f"virtyard job accept {_id(party.job)}",
        )


def _decide_past_pivot(party: pb.WaitParty) -> Iterator[pb.WaitRemedy]:
    """Offer what a person can decide about what is refused past the point of no return."""
    if party.refused:
        text = f"remove what is in the way of {party.job} ({party.refused[0]}), and have it tried now"
        yield pb.WaitRemedy(text=text, command=f"virtyard job retry {_id(party.job)}")
        text = f"leave what {party.job} cannot do, past its point of no return, and see to it by hand"
        yield pb.WaitRemedy(text=text, command=f"virtyard job accept {_id(party.job)}")


def _go_before(told: pb.WaitExplanation) -> Iterator[pb.WaitRemedy]:
    """Offer another priority where others that wait themselves go first."""
    own = [edge for edge in told.edges if edge.waiter == told.job.owner]
    ahead = sorted({edge.blocker for edge in own if edge.kind == pb.WAIT_EDGE_KIND_BARRIER})
    if ahead:
        others = " and others" if len(ahead) > 3 else ""
        text = f"go before {', '.join(ahead[:3])}{others}, by a higher priority"
        yield pb.WaitRemedy(text=text, command=f"virtyard job set-priority {_id(told.job.job)} --priority {_HIGHEST}")


def _ask_person(told: pb.WaitExplanation, now: datetime) -> Iterator[pb.WaitRemedy]:
    for party in told.parties:
        if party.job:
            continue
        what, until = f"{party.principal or party.owner} holds for '{party.reason or party.title}'", ""
        if party.HasField("expected_end_time"):
            until = f", which ends by itself in {in_words((time_of(party.expected_end_time) - now).total_seconds())}"
        is_lock = party.owner.startswith("locks/")
        yield pb.WaitRemedy(
            text=f"release the lock that {what}{until}",
            command=f"virtyard lock release {_id(party.owner)}" if is_lock else "",
        )


def _abort(told: pb.WaitExplanation, now: datetime) -> Iterator[pb.WaitRemedy]:
    for party in [*told.parties, told.job]:
        is_vain = party.too_late or party.aborting or party.state in _GOING_BACK
        if party.job and not is_vain and told.cause != pb.WAIT_CAUSE_DEFERRED:
            far = how_far(party, now) if party.percent else "which has done nothing yet"
            text = f"abort {party.job} ({party.title}), {far}"
            yield pb.WaitRemedy(text=text, command=f"virtyard job abort {_id(party.job)} --operation")


def _id(name: str) -> str:
    return name.partition("/")[2]
