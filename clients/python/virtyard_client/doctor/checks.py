"""What the doctor makes of what it has seen: pure, one function for each kind of trouble."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, timedelta

from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.jobs.v1 import job_pb2
from virtyard.api.operations.v1 import refresh_server_pb2
from virtyard_client.command.quantities import show_bytes, show_seconds, show_time
from virtyard_client.doctor.finding import Finding, Severity
from virtyard_client.doctor.sight import Sight
from virtyard_client.render.words import job_look

_SOON, _VERY_SOON = timedelta(days=30), timedelta(days=7)
_LOW, _VERY_LOW = 0.10, 0.02
"""Shares of a file system that are free."""


def examine(sight: Sight, patience: float) -> list[Finding]:
    """Return what is the matter, the gravest first.

    Args:
        sight: what was seen.
        patience: after so many seconds a wait, or an abort, is worth a finding.
    """
    found = [
        *_services(sight),
        *_jobs(sight, patience),
        *_locks(sight),
        *_violations(sight),
        *_webhooks(sight),
        *_servers(sight),
        *_certificates(sight),
        *_clocks(sight),
        *_disks(sight),
    ]
    return sorted(found, key=lambda finding: -finding.severity)


def _services(sight: Sight) -> Iterator[Finding]:
    for service, reason in sorted(sight.failures.items()):
        yield Finding(
            severity=Severity.CRITICAL,
            what=f"the {service} service does not answer",
            why=reason,
            advice="see whether its process runs, and start it; nothing is lost by its being away",
            command="virtyard status",
        )
    for service in sorted(sight.starting):
        yield Finding(
            severity=Severity.NOTICE,
            what=f"the {service} service answers, but does not serve yet",
            why="it is starting: what was open when it ended is being adopted; or it is stopping",
            advice="wait; if it stays so, read its log",
            command="virtyard status",
        )
    for service, told in sorted(sight.unwritable.items()):
        yield Finding(
            severity=Severity.CRITICAL,
            what=f"the {service} service cannot write its database",
            why=told or "its disk is full or read-only; the log of the service says which, and why",
            advice="make room on that disk, or mend it: the service goes on by itself, and nothing is lost meanwhile",
            command="virtyard event list --filter 'type = DATABASE_UNWRITABLE'",
        )


def _jobs(sight: Sight, patience: float) -> Iterator[Finding]:
    told: set[str] = set()
    for job in sorted(sight.jobs, key=_rank):
        if job.operation in told:
            continue
        finding = _stuck(job) or _slow(sight, job, patience)
        if finding is not None:
            told.add(job.operation)
            yield finding
    waiting = [job for job in sight.jobs if job.state == job_pb2.JOB_STATE_WAITING_FOR_LOCKS]
    longest = min(waiting, key=lambda job: job.create_time.ToNanoseconds(), default=None)
    if longest is not None and longest.operation not in told:
        age = (sight.now - longest.create_time.ToDatetime(UTC)).total_seconds()
        if age >= patience:
            yield Finding(
                severity=Severity.WARNING,
                what=f"{_named(longest)} has waited for its locks for {show_seconds(age)}, longer than all others",
                why=longest.waiting_for or "others hold what it needs",
                advice="see who is in its way, and what helps",
                command=f"virtyard job explain {_id(longest.name)}",
            )


def _rank(job: job_pb2.Job) -> tuple[bool, bool, str]:
    """Order the jobs of an operation by how much they tell."""
    return (job.state != job_pb2.JOB_STATE_ROLLBACK_FAILED, not (job.contact_lost or job.stalled), job.name)


def _stuck(job: job_pb2.Job) -> Finding | None:
    """Return what a job is stuck in by what it says itself; None if it is not."""
    name = _id(job.name)
    if job.state == job_pb2.JOB_STATE_ROLLBACK_FAILED:
        return Finding(
            severity=Severity.CRITICAL,
            what=f"{_named(job)} cannot be undone; its operation and its locks stay until somebody decides",
            why="; ".join(job.residue) or job.error.message or "an undo was refused",
            advice=f"remove the cause and try again, or accept what is left: virtyard job accept {name}",
            command=f"virtyard job retry {name}",
        )
    if job.held == job_pb2.HELD_REASON_BROKEN:
        # Before the host's silence, which is why this lasts: nobody can release it, and others are kept off.
        hosts = ", ".join(sorted({step.participant for step in job.steps if _is_open(step)})) or "a participant"
        return Finding(
            severity=Severity.CRITICAL,
            what=f"the locks of {_named(job)} were broken, and what it was doing may still go on",
            why=f"{hosts} has not settled it; freed by force, the object is in quarantine until then: "
            "only a refresh, a kill or a forgetting is let through",
            advice=_see_to(job),
            command=f"virtyard job explain {name}",
        )
    if job.contact_lost:
        silent = ", ".join(sorted({step.participant for step in job.steps if _is_open(step)}))
        return Finding(
            severity=Severity.CRITICAL,
            what=f"{_named(job)} has lost contact with {silent}",
            why="it does not answer, and nothing is guessed meanwhile: locks stay held",
            advice=_see_to(job),
            command=f"virtyard job explain {name}",
        )
    if job.held == job_pb2.HELD_REASON_FILTER:
        return _kept_back(job)
    if job.held:
        poison = job.held == job_pb2.HELD_REASON_POISON
        who = job.hold.principal or "the scheduler"
        since = f" at {show_time(job.hold.time.ToDatetime(UTC))}" if job.hold.HasField("time") else ""
        return Finding(
            severity=Severity.CRITICAL if poison else Severity.WARNING,
            what=f"{_named(job)} is set aside with its operation",
            why=f"{who} set it aside{since}{f': {job.hold.reason}' if job.hold.reason else ''}",
            advice="let it go on, or abort it; others may be waiting for its locks",
            command=f"virtyard job release {name}",
        )
    if job.stalled:
        return Finding(
            severity=Severity.WARNING,
            what=f"{_named(job)} makes no progress, though its host answers",
            why=_last_error(job) or f"its step has been silent for longer than it may: {job.progress.stage}",
            advice="see what it does and what helps: abort it, or past its point of no return retry or accept it",
            command=f"virtyard job explain {name}",
        )
    return None


def _kept_back(job: job_pb2.Job) -> Finding:
    """Return what is to be said of a job that a filter keeps back: nobody waits for it, and no release helps it."""
    by = job.hold.principal or "a filter"
    since = f" since {show_time(job.hold.time.ToDatetime(UTC))}" if job.hold.HasField("time") else ""
    return Finding(
        severity=Severity.WARNING,
        what=f"{_named(job)} is kept back with its operation",
        why=f"{by} keeps it back{since}, before its locks: it is in nobody's way",
        advice="see what the filter is for; what it keeps back goes on when it is changed, disabled or deleted",
        command=f"virtyard filter show {_id(by)}" if job.hold.principal else "virtyard filter list",
    )


def _last_error(job: job_pb2.Job) -> str:
    """Return why the last try of an open step of a job failed; empty if none did."""
    return next(
        (f"its last try failed: {step.error.message}" for step in job.steps if _is_open(step) and step.error.message),
        "",
    )


def _see_to(job: job_pb2.Job) -> str:
    """Return what helps where hosts of a job are silent; that of one which is certainly off can be said."""
    advice = "see to the host, its network and its agent; the job goes on when it answers"
    silent = sorted({step.participant for step in job.steps if _is_open(step)})
    dead = next((name for name in silent if name.startswith("servers/")), "")
    return f"{advice}; if it is certainly off: virtyard server confirm-dead {_id(dead)} --proof WHY" if dead else advice


def _slow(sight: Sight, job: job_pb2.Job, patience: float) -> Finding | None:
    age = (sight.now - job.create_time.ToDatetime(UTC)).total_seconds()
    if not job.abort_requested or not job.progress.abortable or age < patience:
        return None
    return Finding(
        severity=Severity.WARNING,
        what=f"{_named(job)} was to be aborted and has not ended ({job_look(job.state).word})",
        why=job.waiting_for or "what it did is still being undone",
        advice="see what it waits for",
        command=f"virtyard job explain {_id(job.name)}",
    )


def _is_open(step: job_pb2.Step) -> bool:
    return step.state in (job_pb2.STEP_STATE_STARTED, job_pb2.STEP_STATE_UNDOING)


def _locks(sight: Sight) -> Iterator[Finding]:
    by_owner: dict[str, list[str]] = {}
    for lock in sight.orphans:
        by_owner.setdefault(lock.owner, []).append(lock.object)
    for owner, objects in sorted(by_owner.items()):
        yield Finding(
            severity=Severity.CRITICAL,
            what=f"{owner} has ended and still holds locks on {', '.join(sorted(objects)[:3])}",
            why="the release that is due was not delivered, or the operation was lost with its database",
            advice="see whether the jobs service reaches the lock service; restart jobs, which repeats what is due",
            command=f"virtyard lock list --filter 'owner = \"{owner}\"'",
        )
    for lock in sight.people:
        end = lock.end_time.ToDatetime(UTC) if lock.HasField("end_time") else None
        if end is not None and end < sight.now:
            under = ", ".join(lock.operations)
            yield Finding(
                severity=Severity.WARNING,
                what=f"the lock of {lock.principal} on {lock.object} is past its end, {show_time(end)}",
                why=f"{under} runs under it" if under else "it is about to be released",
                advice="wait for what runs under it, or release it",
                command=f"virtyard lock release {_id(lock.name)}",
            )


def _violations(sight: Sight) -> Iterator[Finding]:
    for event in sight.violations:
        yield Finding(
            severity=Severity.CRITICAL,
            what=f"what must never be was seen on {event.object}",
            why=event.message,
            advice="stop work on it, keep databases and ledgers as they are, and report it; then acknowledge it",
            command=f"virtyard event acknowledge {event.name} --comment WHY",
        )


def _webhooks(sight: Sight) -> Iterator[Finding]:
    for status in sight.webhooks:
        if not status.dead:
            continue
        name = _id(status.webhook.name)
        yield Finding(
            severity=Severity.WARNING,
            what=f"{status.webhook.name} has given up {status.dead} event{'' if status.dead == 1 else 's'}",
            why=status.last_error or "its receiver did not take them, or too many waited",
            advice=f"mend the receiver, then send them again; they are listed by virtyard webhook deliveries {name}",
            command=f"virtyard webhook retry {name}",
        )


def _servers(sight: Sight) -> Iterator[Finding]:
    for server in sight.servers:
        name, offline = _id(server.name), server.state == server_pb2.SERVER_STATE_OFFLINE
        behind = server.applied_revision < server.desired_revision
        if offline:
            heard = server.observed.report_time
            since = f"since {show_time(heard.ToDatetime(UTC))}" if heard.ByteSize() else "ever"
            yield Finding(
                severity=Severity.CRITICAL,
                what=f"{server.name} is offline",
                why=f"its agent has not reported {since}; its machines may well be running",
                advice="see whether the host, its network and its agent are up",
                command=f"virtyard server describe {name}",
            )
        if behind:
            count = server.desired_revision - server.applied_revision
            changes = f"{count} change{'' if count == 1 else 's'}"
            yield Finding(
                severity=Severity.WARNING,
                what=f"{server.name} is behind by {changes}, and runs no machine until it has caught up",
                why="it could not be reached when they were made",
                advice="bring it up to date" + (" once it is back" if offline else ""),
                command=f"virtyard server refresh {name}",
                repair=None if offline else refresh_server_pb2.RefreshServerRequest(name=server.name),
            )


def _certificates(sight: Sight) -> Iterator[Finding]:
    for certificate in sight.certificates:
        left = certificate.end - sight.now
        if left > _SOON:
            continue
        over = left <= timedelta(0)
        yield Finding(
            severity=Severity.CRITICAL if left <= _VERY_SOON else Severity.WARNING,
            what=f"{certificate.owner} {'has ended' if over else 'ends'} at {show_time(certificate.end)}",
            why=f"it was issued for that long; it is at {certificate.place}",
            advice="have the authority of the site issue another one, and restart who uses it",
            command="virtyard pki issue --help",
        )


def _clocks(sight: Sight) -> Iterator[Finding]:
    for event in sight.clocks:
        yield Finding(
            severity=Severity.WARNING,
            what=f"the time of {event.object} is not that of its machine",
            why=event.message,
            advice="if the machine's clock is right, acknowledge that, and the service follows; if not, set it right",
            command=f"virtyard event acknowledge {_id(event.name)}",
        )


def _disks(sight: Sight) -> Iterator[Finding]:
    disks = [(disk.path, disk.free_bytes, disk.total_bytes) for disk in sight.disks]
    disks += [(each.name, each.free_bytes, each.total_bytes) for each in sight.repositories]
    for place, free, total in disks:
        if not total or free / total > _LOW:
            continue
        is_repository = place.startswith("repositories/")
        yield Finding(
            severity=Severity.CRITICAL if free / total <= _VERY_LOW else Severity.WARNING,
            what=f"{show_bytes(free)} of {show_bytes(total)} are free on the file system of {place}",
            why="disks and images grow into it" if is_repository else "the databases of the site grow into it",
            advice="make room, or give it more",
            command=f"virtyard repository describe {_id(place)}" if is_repository else f"df -h {place}",
        )


def _named(job: job_pb2.Job) -> str:
    return f"{job.name} ({job.title} on {job.object})"


def _id(name: str) -> str:
    return name.partition("/")[2]
