"""The chain of causes: who asked, the operation, and the jobs above a job."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.unit.jobs.plans import job, operation_of, shape_of
from virtyard.api.type.v1.submission_pb2 import ReasonHop
from virtyard.jobs import abort_request, decisions, schedule, stamps
from virtyard.jobs.abort_request import AbortRequest
from virtyard.jobs.decisions import Decision
from virtyard.jobs.model import Operation
from virtyard.jobs.render import render_job, render_metadata

FAMILY = shape_of(job(1, "inventory"), job(2, "servers/a", parent=1), job(3, "servers/b", parent=2))


def asked() -> Operation:
    """Return an operation that a person asked for."""
    operation = operation_of(FAMILY)
    operation.record.principal, operation.record.title = "user/ann", "Do It"
    operation.record.options.reason = "because"
    return operation


def chain(operation: Operation, number: str) -> list[tuple[str, str]]:
    """Return sources and reasons of a job's chain."""
    return [(hop.source, hop.reason) for hop in render_job(operation, FAMILY.jobs[number]).reason_trail]


def test_a_job_that_a_person_asked_for_begins_with_that_person() -> None:
    """Person, operation, and each job above it, with the times at which each led to the next."""
    operation = asked()
    schedule.advance(FAMILY, operation.record)
    person, whole = ("user/ann", "because"), ("operations/12", "Do It")
    assert chain(operation, "1") == [person, whole]
    assert chain(operation, "3") == [person, whole, ("jobs/12-1", "Job 1"), ("jobs/12-2", "Job 2")]
    hops = render_job(operation, FAMILY.jobs["2"]).reason_trail
    assert hops[0].time == hops[1].time == operation.record.create_time
    assert hops[2].time == operation.record.jobs["1"].start_time
    (only,) = render_metadata(operation).reason_trail
    assert (only.source, only.reason) == person


def test_what_another_cause_submitted_begins_with_that() -> None:
    """The hops of its submission stand in place of the person's."""
    operation = asked()
    operation.record.reason_trail.extend(
        [ReasonHop(source="events/7", reason="SERVER_ONLINE"), ReasonHop(source="triggers/t", reason="reconcile")]
    )
    assert chain(operation, "1") == [
        ("events/7", "SERVER_ONLINE"),
        ("triggers/t", "reconcile"),
        ("operations/12", "Do It"),
    ]
    assert len(render_metadata(operation).reason_trail) == 2


def test_an_abort_is_the_last_hop_of_every_chain() -> None:
    """Who aborted it stands behind all that led to it; what it yields to does not take that person's place."""
    operation = asked()
    assert abort_request.note(operation.record, AbortRequest(principal="user/bob", reason="enough"), FAMILY)
    assert not abort_request.note(operation.record, AbortRequest(principal="user/eve"), FAMILY), "only the first counts"
    abort_request.note_yield(operation.record, "operations/13")
    for hops in (render_metadata(operation).reason_trail, render_job(operation, FAMILY.jobs["3"]).reason_trail):
        assert (hops[-1].source, hops[-1].reason) == ("user/bob", "enough")
        assert [hop.source for hop in hops].count("user/bob") == 1


def test_decisions_stand_behind_the_causes_and_before_an_abort() -> None:
    """Of a job those about it or about the whole; of an operation all; of very many the newest fifty."""
    operation, at = asked(), datetime(2026, 1, 2, tzinfo=UTC)
    decisions.note(operation.record, Decision(principal="user/bob", reason="later"), "set it aside")
    decisions.note(operation.record, Decision(principal="user/bob", job="2"), decisions.RETRIED)
    assert abort_request.note(operation.record, AbortRequest(principal="user/eve"), FAMILY)
    stamps.fill(operation.record, [], at)
    aside, retried = ("user/bob", "set it aside: later"), ("user/bob", "had what is refused tried again (jobs/12-2)")
    assert chain(operation, "2")[-3:] == [aside, retried, ("user/eve", "")]
    assert chain(operation, "1")[-2:] == [aside, ("user/eve", "")]
    whole = render_metadata(operation).reason_trail
    assert [(hop.source, hop.reason) for hop in whole] == [("user/ann", "because"), aside, retried, ("user/eve", "")]
    assert {hop.time.ToDatetime(UTC) for hop in whole[1:]} == {at}
    for index in range(100):
        decisions.note(operation.record, Decision(principal="user/bob", reason=str(index)), "let it go on")
    told = [hop.reason for hop in decisions.hops_of(operation.record)]
    assert told == [f"let it go on: {index}" for index in range(50, 100)]


def test_a_deadline_and_a_yield_are_told_as_causes() -> None:
    """No person is named where none asked."""
    late, yielding = asked(), asked()
    abort_request.note(late.record, AbortRequest(cause="deadline", reason="its deadline came"), FAMILY)
    abort_request.note_yield(yielding.record, "operations/13")
    assert [hop.source for hop in render_metadata(late).reason_trail] == ["user/ann", "deadline"]
    assert [hop.source for hop in render_metadata(yielding).reason_trail] == ["user/ann", "operations/13"]
    for each in (late, yielding):
        assert not abort_request.tell(each, AbortRequest(cause="deadline"), first=True).events
