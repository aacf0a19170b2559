"""What a policy makes of a failure, on plans made by hand: families beside each other, and locks that go early."""

from __future__ import annotations

import pytest
from google.rpc import code_pb2, status_pb2

from tests.unit.jobs.plans import bind, done, job, job_states, names, operation_of, record_of, shape_of, undo
from virtyard.api.jobs.v1 import job_pb2, operation_pb2, plan_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.type.v1 import lock_pb2, submission_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import on_failure, outcome, schedule
from virtyard.jobs.early_release import shrink
from virtyard.jobs.model import Shape
from virtyard.kernel.errors import InvalidRequest

STOP, CONTINUE = submission_pb2.ON_FAILURE_STOP, submission_pb2.ON_FAILURE_CONTINUE
ERROR = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="the disk is full")
BESIDE = shape_of(
    job(1, "inventory", "inventory", after_children=1),
    job(2, "servers/a", parent=1),
    job(3, "servers/b", "servers/b", parent=1),
    job(4, "servers/c"),
    bind(job(5, "servers/d", after=[1]), 1, "1/1"),
    job(6, "servers/e", after=[1]),
)
"""A family, one job beside it, and two behind it, of which the first needs it."""


def begun(shape: Shape, policy: submission_pb2.OnFailure.ValueType) -> record_pb2.OperationRecord:
    """Return the record of an operation with a policy whose first steps are under way."""
    record = record_of(shape)
    record.options.on_failure = policy
    schedule.advance(shape, record)
    return record


def fail(record: record_pb2.OperationRecord, reference: str) -> None:
    """Note that a step failed cleanly."""
    outcome.record_failed(
        record, reference, participant.EffectRecord(state=participant.EFFECT_STATE_FAILED, error=ERROR)
    )


def test_the_others_go_on_past_a_family_that_was_given_up() -> None:
    """A sibling that runs is neither waited for nor sent again, what needs the family is aborted, the rest is begun."""
    record = begun(BESIDE, CONTINUE)
    done(record, "1/1")
    assert names(schedule.advance(BESIDE, record)) == [["2/1"], ["3/1", "3/2"]]
    fail(record, "2/1")
    on_failure.abandon(BESIDE, record, "2", ERROR)
    assert job_states(BESIDE, record) == ["ROLLING_BACK"] * 3 + ["RUNNING", "ABORTED", "PENDING"]
    assert names(schedule.advance(BESIDE, record)) == [["6/1"]]
    on_failure.advance(BESIDE, record)
    goes_back = record.rolling_back
    assert not goes_back
    assert [record.jobs[each].cause for each in "12345"] == ["jobs/12-2", "", "jobs/12-2", "", "jobs/12-2"]
    done(record, "4/1", "6/1")
    assert not schedule.advance(BESIDE, record)
    on_failure.advance(BESIDE, record)
    assert record.rolling_back, "only what was given up is left"
    assert [ref.reference for ref in schedule.in_flight(BESIDE, record)] == ["3/1", "3/2"]
    done(record, "3/1")
    outcome.record_settled(record, "3/2", participant.EffectRecord(state=participant.EFFECT_STATE_NOT_BEGUN))
    assert undo(BESIDE, record) == [[["3/1"]], [["1/1"]]]
    schedule.end_rollback(BESIDE, record)
    assert job_states(BESIDE, record) == ["ABORTED", "FAILED", "ABORTED", "COMPLETED", "ABORTED", "COMPLETED"]


def test_a_second_failure_has_its_own_mark() -> None:
    """Both jobs end FAILED; the first one is why the operation did not come out well."""
    record = begun(BESIDE, CONTINUE)
    done(record, "1/1")
    schedule.advance(BESIDE, record)
    fail(record, "2/1")
    on_failure.abandon(BESIDE, record, "2", ERROR)
    fail(record, "4/1")
    on_failure.abandon(BESIDE, record, "4", status_pb2.Status(code=code_pb2.INTERNAL, message="another"))
    assert (record.failed_job, record.error.message) == ("2", "the disk is full")
    assert [record.jobs[each].failed for each in "123456"] == [False, True, False, True, False, False]
    assert record.jobs["4"].error.message == "another"


def test_what_stops_keeps_only_whole_families() -> None:
    """A child that is completed is undone with its parent; a job beside it that is through is kept."""
    record = begun(BESIDE, STOP)
    done(record, "1/1", "4/1")
    schedule.advance(BESIDE, record)
    done(record, "2/1", "3/1")
    fail(record, "3/2")
    schedule.advance(BESIDE, record)
    on_failure.note_failed(record, "3", ERROR)
    on_failure.turn_round(BESIDE, record)
    states = ["ROLLING_BACK"] * 3 + ["COMPLETED", "ABORTED", "ABORTED"]
    assert job_states(BESIDE, record) == states
    assert undo(BESIDE, record) == [[["3/1"], ["2/1"]], [["1/1"]]]
    operation = operation_of(BESIDE)
    operation.record.CopyFrom(record)
    schedule.end_rollback(BESIDE, operation.record)
    operation.record.state = operation_pb2.OPERATION_STATE_FAILED
    on_failure.mark_kept(operation, operation.record)
    assert operation.record.state == operation_pb2.OPERATION_STATE_PARTIAL
    assert operation.record.outcome == job_pb2.OUTCOME_PARTIAL
    assert len(on_failure.missing_of(operation)) == 5


@pytest.mark.parametrize(
    ("policy", "left"),
    [
        (submission_pb2.ON_FAILURE_ROLL_BACK, {"o1", "o2", "p"}),
        (STOP, {"o2", "p"}),
    ],
)
def test_tokens_go_with_the_job_that_needed_them(policy: submission_pb2.OnFailure.ValueType, left: set[str]) -> None:
    """Those of a kept job go, those of ancestors of what is left stay; where all may be undone, all stay."""
    plan = plan_pb2.Plan(jobs=[job(1, "inventory"), job(2, "servers/a", after=[1])])
    tokens = {"servers/o1": "1", "servers/o2": "2", "serverPools/p": "1"}
    for name, user in tokens.items():
        plan.locks.add(object=name, job=user)
    shape = Shape.of(plan)
    record = begun(shape, policy)
    record.tokens.extend(lock_pb2.LockToken(object=name, fencing_token=7) for name in tokens)
    shrink(shape, record)
    assert len(record.tokens) == 3, "nothing is through yet"
    done(record, "1/1")
    schedule.advance(shape, record)
    shrink(shape, record)
    assert {token.object.partition("/")[2] for token in record.tokens} == left
    done(record, "2/1")
    schedule.advance(shape, record)
    shrink(shape, record)
    assert record.tokens, "the last ones go with the end"


def test_a_pivot_leaves_nothing_to_keep() -> None:
    """STOP and CONTINUE are refused with the step that cannot be undone; ROLL_BACK, also by default, is not."""
    plan = plan_pb2.Plan(jobs=[job(1, "inventory", "servers/a!")])
    for policy in (STOP, CONTINUE):
        with pytest.raises(InvalidRequest, match="Step 2"):
            on_failure.check_policy(submission_pb2.SubmissionOptions(on_failure=policy), plan)
    on_failure.check_policy(submission_pb2.SubmissionOptions(), plan)
    on_failure.check_policy(submission_pb2.SubmissionOptions(on_failure=STOP), BESIDE.plan)


def test_what_comes_after_a_job_given_up_before_its_turn_waits_for_those_before_it() -> None:
    """The third of a chain does not begin while the first is under way, though the second is given up already."""
    chain = shape_of(job(1, "servers/a"), job(2, "servers/b", after=[1]), job(3, "servers/c", after=[2]))
    record = begun(chain, CONTINUE)
    on_failure.give_up(chain, record, "2")
    assert job_states(chain, record) == ["RUNNING", "ABORTED", "PENDING"]
    assert schedule.advance(chain, record) == []
    done(record, "1/1")
    assert names(schedule.advance(chain, record)) == [["3/1"]]
