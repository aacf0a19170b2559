"""What the doctor makes of what it sees, and how it reads the ends of certificates; the rest is on a real site."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from virtyard.api.inventory.v1 import event_pb2, repository_pb2, server_pb2, webhook_pb2
from virtyard.api.jobs.v1 import automation_service_pb2, hold_pb2, job_pb2
from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.runtime.pki import Authority
from virtyard_client.doctor.certificates import Certificate, end_of, own_certificate
from virtyard_client.doctor.checks import examine
from virtyard_client.doctor.finding import Finding, Severity
from virtyard_client.doctor.main import report
from virtyard_client.doctor.sight import Disk, Sight
from virtyard_client.render.line import plain

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
PATIENCE = 300.0


def ago(seconds: float) -> Timestamp:
    """Return a time before now."""
    stamp = Timestamp()
    stamp.FromDatetime(NOW - timedelta(seconds=seconds))
    return stamp


def job(name: str, state: int, seconds: float = 10, **fields: Any) -> job_pb2.Job:
    """Return a job that was accepted so long ago."""
    made = job_pb2.Job(
        name=f"jobs/{name}",
        operation=f"operations/{name.partition('-')[0]}",
        title="Create Virtual Disk",
        object="virtualDisks/data",
        state=state,  # type: ignore[arg-type]  # a number of the enum
        create_time=ago(seconds),
        **fields,
    )
    made.progress.abortable = True
    return made


def only(sight: Sight) -> Finding:
    """Return the one thing that is found."""
    (finding,) = examine(sight, PATIENCE)
    return finding


def test_a_refused_undo_is_critical_and_tells_of_both_ways_out() -> None:
    """What is left is the reason; the operation's other jobs are not told again."""
    stuck = job("7-3", job_pb2.JOB_STATE_ROLLBACK_FAILED, residue=["Make the image: the storage is away"])
    found = only(Sight(now=NOW, jobs=[job("7-1", job_pb2.JOB_STATE_ROLLING_BACK), stuck]))
    assert (found.severity, found.why) == (Severity.CRITICAL, "Make the image: the storage is away")
    assert found.command == "virtyard job retry 7-3"
    assert "virtyard job accept 7-3" in found.advice
    assert found.repair is None


def test_only_the_longest_wait_is_told_and_only_past_the_patience() -> None:
    """A queue of many is one finding, about the one that waits longest."""
    waiting = job_pb2.JOB_STATE_WAITING_FOR_LOCKS
    assert not examine(Sight(now=NOW, jobs=[job("7-1", waiting, 299)]), PATIENCE)
    found = only(Sight(now=NOW, jobs=[job("8-1", waiting, 301), job("7-1", waiting, 400), job("9-1", waiting, 1)]))
    assert found.command == "virtyard job explain 7-1"


@pytest.mark.parametrize(
    ("fields", "severity", "command"),
    [
        ({"held": job_pb2.HELD_REASON_POISON}, Severity.CRITICAL, "virtyard job release 7-1"),
        ({"held": job_pb2.HELD_REASON_PERSON}, Severity.WARNING, "virtyard job release 7-1"),
        ({"contact_lost": True}, Severity.CRITICAL, "virtyard job explain 7-1"),
        ({"stalled": True}, Severity.WARNING, "virtyard job explain 7-1"),
        ({"abort_requested": True, "seconds": 301}, Severity.WARNING, "virtyard job explain 7-1"),
    ],
)
def test_a_job_that_does_not_go_on_is_told(fields: dict[str, Any], severity: Severity, command: str) -> None:
    """Each with the command that helps."""
    found = only(Sight(now=NOW, jobs=[job("7-1", job_pb2.JOB_STATE_RUNNING, **fields)]))
    assert (found.severity, found.command) == (severity, command)


def test_a_job_that_a_filter_keeps_back_is_told_with_the_filter() -> None:
    """It has no locks that others wait for, and a release would not help it."""
    held = {"held": job_pb2.HELD_REASON_FILTER}
    kept = job("7-1", job_pb2.JOB_STATE_PENDING, hold=hold_pb2.Hold(principal="filters/calm", time=ago(60)), **held)
    found = only(Sight(now=NOW, jobs=[kept]))
    assert (found.severity, found.command) == (Severity.WARNING, "virtyard filter show calm")
    assert found.why.startswith("filters/calm keeps it back since ")
    assert "release" not in found.advice
    assert "waiting for its locks" not in found.advice
    # One that was kept back under a release that did not note by which filter.
    assert only(Sight(now=NOW, jobs=[job("7-1", job_pb2.JOB_STATE_PENDING, **held)])).command == "virtyard filter list"


def test_a_job_that_waits_for_a_silent_host_is_told_with_the_way_out() -> None:
    """The server of the open step is named, where that is a server."""
    step = job_pb2.Step(participant="servers/s1", state=job_pb2.STEP_STATE_STARTED)
    found = only(Sight(now=NOW, jobs=[job("7-1", job_pb2.JOB_STATE_RUNNING, contact_lost=True, steps=[step])]))
    assert "virtyard server confirm-dead s1 --proof WHY" in found.advice
    step.participant = "inventory"
    found = only(Sight(now=NOW, jobs=[job("7-1", job_pb2.JOB_STATE_RUNNING, contact_lost=True, steps=[step])]))
    assert "confirm-dead" not in found.advice


def test_broken_locks_that_are_not_settled_are_told_with_the_object_and_the_host() -> None:
    """Neither as a job that could be released, nor as a mere silence: others are kept off the object meanwhile."""
    step = job_pb2.Step(participant="servers/s1", state=job_pb2.STEP_STATE_STARTED)
    broken = job("7-1", job_pb2.JOB_STATE_RUNNING, held=job_pb2.HELD_REASON_BROKEN, contact_lost=True, steps=[step])
    found = only(Sight(now=NOW, jobs=[broken]))
    assert (found.severity, found.command) == (Severity.CRITICAL, "virtyard job explain 7-1")
    assert "virtualDisks/data) were broken" in found.what
    assert found.why.startswith("servers/s1 has not settled")
    assert "quarantine" in found.why
    assert "virtyard server confirm-dead s1" in found.advice


def test_a_broken_invariant_is_told_until_somebody_takes_note_of_it() -> None:
    """With what the auditor saw, and that nothing is to be tidied up before it was reported."""
    seen = event_pb2.Event(name="events/9", object="virtualDisks/web", message="two exclude each other and hold it")
    found = only(Sight(now=NOW, violations=[seen]))
    assert (found.severity, found.why) == (Severity.CRITICAL, "two exclude each other and hold it")
    assert "virtualDisks/web" in found.what
    assert "report it" in found.advice
    assert found.command == "virtyard event acknowledge events/9 --comment WHY"


def test_deliveries_that_were_given_up_are_told_with_the_last_reason() -> None:
    """Those that are still tried are nobody's business yet."""
    status = automation_service_pb2.WebhookStatus(webhook=webhook_pb2.Webhook(name="webhooks/pager"), pending=7)
    assert not examine(Sight(now=NOW, webhooks=[status]), PATIENCE)
    status.dead, status.last_error = 2, "503"
    found = only(Sight(now=NOW, webhooks=[status]))
    assert (found.severity, found.what, found.why) == (
        Severity.WARNING,
        "webhooks/pager has given up 2 events",
        "503",
    )
    assert found.command == "virtyard webhook retry pager"


def test_a_job_at_work_is_no_finding() -> None:
    """However long it runs; an abort that was just asked for is none either."""
    running = job("7-1", job_pb2.JOB_STATE_RUNNING, 100_000)
    aborting = job("8-1", job_pb2.JOB_STATE_ROLLING_BACK, 5, abort_requested=True)
    assert not examine(Sight(now=NOW, jobs=[running, aborting]), PATIENCE)


def test_locks_of_an_ended_operation_are_one_finding() -> None:
    """With the objects that nobody else gets."""
    locks = [lock_service_pb2.Lock(object=f"virtualDisks/{name}", owner="operations/7") for name in "ab"]
    found = only(Sight(now=NOW, orphans=locks))
    assert found.what == "operations/7 has ended and still holds locks on virtualDisks/a, virtualDisks/b"


@pytest.mark.parametrize(("state", "repairable"), [("ONLINE", True), ("OFFLINE", False)])
def test_a_server_that_is_behind_is_repaired_once_it_is_there(state: str, repairable: bool) -> None:
    """One that is offline is told of twice, and is left alone until it is back."""
    server = server_pb2.Server(
        name="servers/s3", state=server_pb2.ServerState.Value(f"SERVER_STATE_{state}"), desired_revision=3
    )
    found = examine(Sight(now=NOW, servers=[server]), PATIENCE)
    assert len(found) == (1 if repairable else 2)
    behind = found[-1]
    assert behind.what.startswith("servers/s3 is behind by 3 changes")
    assert (behind.repair is not None) == repairable


@pytest.mark.parametrize(
    ("days", "severity"), [(40, None), (29, Severity.WARNING), (6, Severity.CRITICAL), (-1, Severity.CRITICAL)]
)
def test_a_certificate_is_told_before_its_end(days: int, severity: Severity | None) -> None:
    """Early enough to do something about it."""
    certificate = Certificate(owner="the agent of servers/s1", place="host:1", end=NOW + timedelta(days=days))
    found = examine(Sight(now=NOW, certificates=[certificate]), PATIENCE)
    assert [each.severity for each in found] == ([severity] if severity else [])


@pytest.mark.parametrize(("free", "severity"), [(20, None), (9, Severity.WARNING), (1, Severity.CRITICAL)])
def test_a_file_system_is_told_before_it_is_full(free: int, severity: Severity | None) -> None:
    """That of a repository and one of this machine; one of unknown size is not."""
    sight = Sight(
        now=NOW,
        disks=[Disk(path="/var/lib/virtyard", free_bytes=free, total_bytes=100)],
        repositories=[
            repository_pb2.Repository(name="repositories/r", free_bytes=free, total_bytes=100),
            repository_pb2.Repository(name="repositories/unknown"),
        ],
    )
    assert [each.severity for each in examine(sight, PATIENCE)] == ([severity] * 2 if severity else [])


def test_a_service_that_starts_is_no_failure() -> None:
    """One that is away is."""
    found = examine(Sight(now=NOW, failures={"locks": "refused"}, starting={"jobs"}), PATIENCE)
    assert [(each.severity, each.what) for each in found] == [
        (Severity.CRITICAL, "the locks service does not answer"),
        (Severity.NOTICE, "the jobs service answers, but does not serve yet"),
    ]


def test_a_report_fits_the_terminal_and_says_what_to_do() -> None:
    """Severity, what, why, what to do, and the command alone on its line."""
    finding = Finding(severity=Severity.WARNING, what="w " * 60, why="y " * 60, advice="d " * 60, command="virtyard x")
    lines = [plain(each) for each in report([finding], 60)]
    assert max(map(len, lines)) <= 60
    assert "            virtyard x" in lines
    assert lines[-1] == "1 finding."
    assert [plain(each) for each in report([], 60)] == ["Nothing is stuck."]


@pytest.mark.parametrize("days", [1, 365, 365 * 40])
def test_the_end_of_a_certificate_is_read_as_it_was_issued(tmp_path: Path, days: int) -> None:
    """In both forms of time that a certificate may have, which change with the year 2050."""
    authority = Authority.create(tmp_path / "ca", "virtyard.test")
    before = datetime.now(UTC)
    folder = authority.issue("user/ann", tmp_path / "ann", lifetime=timedelta(days=days))
    certificate = own_certificate(folder)
    assert certificate is not None
    assert abs(certificate.end - before - timedelta(days=days)) < timedelta(minutes=10)


def test_what_is_no_certificate_is_refused(tmp_path: Path) -> None:
    """A folder without one, and data that ends too early."""
    assert own_certificate(tmp_path) is None
    authority = Authority.create(tmp_path / "ca", "virtyard.test")
    folder = authority.issue("user/ann", tmp_path / "ann")
    first = (folder / "cert.pem").read_text().partition("-----END")[0]
    der = ssl.PEM_cert_to_DER_cert(f"{first}-----END CERTIFICATE-----\n")
    with pytest.raises(ValueError, match="ends inside"):
        end_of(der[:100])


def test_a_clock_that_was_set_is_told_with_what_confirms_it() -> None:
    """The service's own words are the reason, and acknowledging its event is what helps."""
    event = event_pb2.Event(name="events/12", object="services/jobs", message="the machine's clock has jumped")
    found = only(Sight(now=NOW, clocks=[event]))
    assert (found.severity, found.why) == (Severity.WARNING, event.message)
    assert found.what == "the time of services/jobs is not that of its machine"
    assert found.command == "virtyard event acknowledge 12"
    assert found.repair is None


def test_a_database_that_cannot_be_written_is_told_in_the_service_s_words_if_there_are_any() -> None:
    """Those are stored as an event; what the inventory cannot store of its own is known from its health alone."""
    found = only(Sight(now=NOW, unwritable={"jobs": "jobs.db cannot be written: No space left on device"}))
    assert (found.severity, found.what) == (Severity.CRITICAL, "the jobs service cannot write its database")
    assert found.why.endswith("No space left on device")
    found = only(Sight(now=NOW, unwritable={"inventory": ""}))
    assert "its disk is full or read-only" in found.why
    assert found.repair is None
