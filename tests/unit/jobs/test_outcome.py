"""What a participant's answer means for a step."""

from __future__ import annotations

import pytest
from google.rpc import code_pb2, status_pb2

from tests.unit.jobs.plans import deferrable, done, failed, job, operation_of, shape_of, step_states
from virtyard.api.actions.v1 import kill_guest_pb2, scan_repository_pb2
from virtyard.api.inventory.v1 import event_pb2
from virtyard.api.jobs.v1 import job_pb2, operation_pb2
from virtyard.api.participant.v1 import finding_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.jobs import outcome, schedule
from virtyard.kernel.errors import GenerationMismatch, StaleEpoch, Unavailable
from virtyard.kernel.plan import pack
from virtyard.runtime.status import to_status

SHAPE = shape_of(job(1, "servers/a"), job(2, "inventory", after=[1]))


def failure(error: status_pb2.Status) -> participant.EffectRecord:
    """Return the record of a clean failure."""
    return participant.EffectRecord(state=participant.EFFECT_STATE_FAILED, error=error)


def test_a_refusal_of_the_epoch_means_another_scheduler() -> None:
    """And nothing else does."""
    assert outcome.is_overtaken(failure(to_status(StaleEpoch("no"))))
    assert not outcome.is_overtaken(failure(to_status(Unavailable("no"))))


def test_a_changed_read_set_means_to_plan_again() -> None:
    """And nothing else does."""
    assert outcome.has_changed_read_set(failure(to_status(GenerationMismatch("no"))))
    assert not outcome.has_changed_read_set(failure(to_status(StaleEpoch("no"))))


@pytest.mark.parametrize(
    ("code", "state", "transient"),
    [
        (code_pb2.UNAVAILABLE, participant.EFFECT_STATE_FAILED, True),
        (code_pb2.DEADLINE_EXCEEDED, participant.EFFECT_STATE_FAILED, True),
        (code_pb2.RESOURCE_EXHAUSTED, participant.EFFECT_STATE_FAILED, False),
        (code_pb2.UNAVAILABLE, participant.EFFECT_STATE_RESIDUE, False),
    ],
)
def test_only_a_clean_failure_that_may_pass_is_tried_again(code: int, state: int, *, transient: bool) -> None:
    """What left something must be undone first, so it is no reason for another try (P8)."""
    record = participant.EffectRecord(state=state, error=status_pb2.Status(code=code))  # type: ignore[arg-type]
    assert outcome.is_transient(record) is transient


@pytest.mark.parametrize(
    ("state", "becomes"),
    [
        (participant.EFFECT_STATE_DONE, "DONE"),
        (participant.EFFECT_STATE_NOT_BEGUN, "SKIPPED"),
        (participant.EFFECT_STATE_ABORTED, "FAILED"),
        (participant.EFFECT_STATE_RESIDUE, "FAILED"),
    ],
)
def test_a_settled_step_is_what_really_happened(state: int, becomes: str) -> None:
    """Stopping may come too late, in time, or before the beginning (P1)."""
    operation = operation_of(SHAPE)
    schedule.advance(SHAPE, operation.record)
    outcome.record_settled(operation.record, "1/1", participant.EffectRecord(state=state))  # type: ignore[arg-type]
    assert step_states(SHAPE, operation.record)[0] == becomes
    assert operation.record.steps["1/1"].left_residue is (state == participant.EFFECT_STATE_RESIDUE)


def test_the_events_of_a_failure_are_about_each_object_of_the_job_that_failed() -> None:
    """They are keyed by the operation and the object, so that each is raised once however often it is due."""
    operation = operation_of(SHAPE)
    schedule.advance(SHAPE, operation.record)
    done(operation.record, "1/1")
    schedule.advance(SHAPE, operation.record)
    failed(operation.record, "2/1")
    operation.record.error.message = "the disk is full"
    assert not outcome.ending_events(operation).events, "it has not ended yet"
    operation.record.state = operation_pb2.OPERATION_STATE_FAILED
    operation.shape.jobs["2"].steps[0].target = "virtualDisks/d"
    first, second = outcome.ending_events(operation).events
    assert (first.key, second.key) == ("operations/12/failed", "operations/12/failed/virtualDisks/d")
    assert (first.event.object, second.event.object) == ("servers/o2", "virtualDisks/d")
    for keyed in (first, second):
        assert (keyed.event.type, keyed.event.job) == ("JOB_FAILED", "jobs/12-2")
        assert keyed.event.message == "Job 2 failed: the disk is full"


def test_an_aborted_operation_has_one_event_and_a_good_one_has_none() -> None:
    """The abort is told on what the operation would have answered with, or its first job's object."""
    operation = operation_of(SHAPE)
    operation.record.error.message = "user/ann stopped it"
    operation.record.state = operation_pb2.OPERATION_STATE_CANCELLED
    (keyed,) = outcome.ending_events(operation).events
    assert (keyed.key, keyed.event.object) == ("operations/12/aborted", "servers/o1")
    assert (keyed.event.type, keyed.event.message) == ("OPERATION_ABORTED", "Job 1 was aborted: user/ann stopped it")
    operation.record.state = operation_pb2.OPERATION_STATE_SUCCEEDED
    assert not outcome.ending_events(operation).events


def test_a_refused_undo_is_told_on_its_object_once_for_each_giving_up() -> None:
    """The key has the try, so that another one which is refused too is another event."""
    operation = operation_of(SHAPE)
    schedule.advance(SHAPE, operation.record)
    assert not outcome.stuck_events(operation).events
    step = operation.record.steps["1/1"]
    step.state, step.undo_attempt = job_pb2.STEP_STATE_UNDO_FAILED, 6
    step.error.message = "the storage is away"
    (keyed,) = outcome.stuck_events(operation).events
    assert keyed.key == "operations/12/stuck/1/1/6"
    assert (keyed.event.type, keyed.event.job) == ("ROLLBACK_FAILED", "jobs/12-1")
    assert keyed.event.message.endswith("cannot be undone: the storage is away")


MEMBERS = shape_of(job(1), deferrable(job(2, "servers/a", parent=1)), deferrable(job(3, "servers/b", parent=1)))


def test_the_events_of_a_partial_end_are_about_the_servers_that_are_behind() -> None:
    """A warning for each, keyed by its job, with the words that the operation's residue has."""
    operation = operation_of(MEMBERS)
    schedule.defer(MEMBERS, operation.record, {"3"})
    operation.record.state = operation_pb2.OPERATION_STATE_PARTIAL
    (keyed,) = outcome.events_of(operation).events
    assert (keyed.key, keyed.event.job) == ("operations/12/deferred/3", "jobs/12-3")
    assert (keyed.event.type, keyed.event.object) == ("JOB_DEFERRED", "servers/o3")
    assert keyed.event.severity == event_pb2.SEVERITY_WARNING
    assert [keyed.event.message] == outcome.residue_of(operation)


def test_what_a_participant_noticed_becomes_an_event_for_each() -> None:
    """Any result with findings raises them, once the operation has ended well, and no other result does."""
    operation = operation_of(SHAPE)
    scanned = scan_repository_pb2.ScanRepositoryResult(
        findings=[
            finding_pb2.Finding(type="IMAGE_MISSING", object="virtualDisks/a", message="gone"),
            finding_pb2.Finding(type="FOREIGN_FILE", object="repositories/r", message="not ours"),
        ]
    )
    schedule.advance(SHAPE, operation.record)
    outcome.record_done(
        operation.record, "1/1", participant.EffectRecord(state=participant.EFFECT_STATE_DONE, result=pack(scanned))
    )
    assert not outcome.events_of(operation).events
    operation.record.state = operation_pb2.OPERATION_STATE_SUCCEEDED
    first, second = outcome.events_of(operation).events
    assert (first.key, second.key) == ("operations/12/finding/1/1/1", "operations/12/finding/1/1/2")
    assert (first.event.type, first.event.object, first.event.message) == ("IMAGE_MISSING", "virtualDisks/a", "gone")
    assert second.event.severity == event_pb2.SEVERITY_WARNING
    operation.record.steps["1/1"].result.CopyFrom(pack(kill_guest_pb2.KillGuestResult()))
    assert not outcome.events_of(operation).events
