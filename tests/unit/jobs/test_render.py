"""How operations and jobs look from outside: states, families, progress that never falls."""

from __future__ import annotations

from tests.unit.jobs.plans import deferrable, done, failed, job, operation_of, shape_of, undo
from virtyard.api.jobs.v1 import job_pb2, operation_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.jobs import schedule
from virtyard.jobs.progress import operation_progress
from virtyard.jobs.render import render_job, render_metadata, render_operation

FAMILY = shape_of(
    job(1, "inventory", "inventory", after_children=1),
    job(2, "servers/a", "servers/a", parent=1),
    job(3, "servers/b", parent=1),
)


def test_a_job_shows_its_family_and_its_steps() -> None:
    """Names are those of the api; a step that never began is pending."""
    operation = operation_of(FAMILY)
    parent, child = (render_job(operation, FAMILY.jobs[number]) for number in ("1", "2"))
    assert (parent.name, list(parent.child_jobs)) == ("jobs/12-1", ["jobs/12-2", "jobs/12-3"])
    assert (child.parent_job, child.operation) == ("jobs/12-1", "operations/12")
    assert [step.state for step in child.steps] == [job_pb2.STEP_STATE_PENDING] * 2


def test_a_parent_is_done_before_its_family_is() -> None:
    """`done` is about the job, `summary_done` about all its children too."""
    operation = operation_of(FAMILY)
    operation.record.jobs["1"].state = job_pb2.JOB_STATE_COMPLETED
    rendered = render_job(operation, FAMILY.jobs["1"])
    assert rendered.done
    assert not rendered.summary_done


def test_a_job_that_waits_says_for_whom() -> None:
    """Only a job that waits for locks shows what it waits for."""
    operation = operation_of(FAMILY)
    operation.waiting_for = "servers/a, held by operations/3 (Kill)"
    assert "operations/3" in render_job(operation, FAMILY.jobs["1"]).waiting_for
    schedule.advance(FAMILY, operation.record)
    assert not render_job(operation, FAMILY.jobs["1"]).waiting_for


def test_progress_rises_with_every_step_to_a_hundred() -> None:
    """Steps count by weight, children as parts of their parent; it never falls on the way."""
    operation = operation_of(FAMILY)
    seen = [operation_progress(operation).percent]
    while rounds := schedule.advance(FAMILY, operation.record):
        for ref in [ref for refs in rounds for ref in refs]:
            operation.progress[ref.reference] = participant.Progress(percent=50, stage="half way")
            seen.append(operation_progress(operation).percent)
            assert "half way" in [step.progress.stage for step in render_job(operation, ref.job).steps]
            done(operation.record, ref.reference)
            seen.append(operation_progress(operation).percent)
    assert seen == sorted(seen)
    assert seen[-1] == 100
    assert all(render_job(operation, planned).progress.percent == 100 for planned in FAMILY.plan.jobs)


def test_a_rollback_says_so_and_its_progress_falls() -> None:
    """On the way back the percentages fall, and the stage tells why."""
    operation = operation_of(FAMILY)
    record = operation.record
    schedule.advance(FAMILY, record)
    done(record, "1/1")
    schedule.advance(FAMILY, record)
    failed(record, "3/1")
    done(record, "2/1", "2/2")
    schedule.begin_rollback(FAMILY, record, record.number)
    before = operation_progress(operation)
    undo(FAMILY, record)
    assert before.stage == "rolling back"
    assert operation_progress(operation).percent < before.percent
    assert render_job(operation, FAMILY.jobs["1"]).cause == "jobs/12-3"
    schedule.end_rollback(FAMILY, record)
    assert operation_progress(operation).stage == ""


def test_a_finished_operation_has_a_response_or_an_error() -> None:
    """Google's clients need one of the two as soon as it is done (AIP-151)."""
    operation = operation_of(FAMILY)
    assert not render_operation(operation).done
    operation.record.state = operation_pb2.OPERATION_STATE_FAILED
    operation.record.error.message = "no"
    assert render_operation(operation).WhichOneof("result") == "error"
    operation.record.state = operation_pb2.OPERATION_STATE_SUCCEEDED
    operation.record.response.type_url = "type.googleapis.com/google.protobuf.Empty"
    assert render_operation(operation).WhichOneof("result") == "response"


def test_the_plan_is_shown_only_where_it_is_asked_for() -> None:
    """A watcher is not sent the whole plan again with every change."""
    operation = operation_of(FAMILY)
    assert not render_metadata(operation).HasField("plan")
    assert render_metadata(operation, with_plan=True).plan == FAMILY.plan


def test_the_etag_changes_with_the_state_alone() -> None:
    """The same state has the same etag, another state another one."""
    operation = operation_of(FAMILY)
    first = render_job(operation, FAMILY.jobs["1"]).etag
    assert render_job(operation, FAMILY.jobs["1"]).etag == first
    schedule.advance(FAMILY, operation.record)
    assert render_job(operation, FAMILY.jobs["1"]).etag != first


def test_a_job_that_was_put_off_is_shown_as_such_and_as_done() -> None:
    """Its skipped steps count as done, its outcome is partial, and the operation names what is missing."""
    shape = shape_of(job(1), deferrable(job(2, "servers/a", parent=1)), deferrable(job(3, "servers/b", parent=1)))
    operation = operation_of(shape)
    record = operation.record
    schedule.defer(shape, record, {"2"})
    schedule.advance(shape, record, {"3"})
    done(record, "2/2", "3/1")
    schedule.advance(shape, record)
    put_off, other = (render_job(operation, shape.jobs[number]) for number in ("2", "3"))
    assert (put_off.deferred, put_off.outcome) == (True, job_pb2.OUTCOME_PARTIAL)
    assert (other.deferred, other.outcome) == (False, job_pb2.OUTCOME_COMPLETE)
    assert {put_off.progress.percent, other.progress.percent, operation_progress(operation).percent} == {100}
    assert not render_metadata(operation).residue
    record.state = operation_pb2.OPERATION_STATE_PARTIAL
    (missing,) = render_metadata(operation).residue
    assert missing.startswith("servers/o2: Job 2 is put off")
