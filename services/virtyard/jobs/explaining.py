"""ExplainWait: what the lock service says of a wait, joined with what the scheduler knows of those in the way (P35).

An answer is no decision: it shows one moment of the lock service and one of the scheduler, which may differ a little.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.jobs.v1 import wait_explanation_pb2 as pb
from virtyard.api.locks.v1 import owner_pb2
from virtyard.jobs import waiting
from virtyard.jobs.acceptance import refusals
from virtyard.jobs.broken import operation_of_owner, owner_of_locks
from virtyard.jobs.estimate import UNKNOWN, estimate
from virtyard.jobs.model import Operation, job_name, operation_name
from virtyard.jobs.person_locks import PersonLocks
from virtyard.jobs.progress import operation_progress
from virtyard.jobs.remedies import remedies
from virtyard.jobs.render import render_job
from virtyard.jobs.scheduler import Scheduler
from virtyard.jobs.wait_words import summary
from virtyard.kernel.errors import NotFound, Unavailable, VirtyardError
from virtyard.kernel.names import INVENTORY
from virtyard.kernel.view import select

_AT_WORK = frozenset({pb.WAIT_CAUSE_RUNNING, pb.WAIT_CAUSE_RETRY, pb.WAIT_CAUSE_ROLLING_BACK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A lock that a person holds, as far as a wait for it is concerned."""

    principal: str
    """Who holds it, as `user/ann`."""
    purpose: str
    """What for, in that person's words."""
    end: datetime | None = None
    """When it ends by itself; None if it does not."""
    operations: Sequence[str] = ()
    """What runs under it, and ends before it."""


def nobody(name: str) -> Person | None:
    """Know of no people's locks."""
    del name
    return None


def person_of(people: PersonLocks, owner: str) -> Person | None:
    """Return the person behind an owner of locks; None if it is no person's lock."""
    try:
        lock = people.shown(owner)
    except NotFound:
        return None
    end = lock.end_time.ToDatetime(UTC) if lock.HasField("end_time") else None
    return Person(principal=lock.principal, purpose=lock.purpose, end=end, operations=tuple(lock.operations))


def _shown(owner: str) -> str:
    """Return who owns locks, as people know it: an operation by its own name, for its undos too."""
    number = operation_of_owner(owner)
    return operation_name(number) if number else owner


class Explainer:
    """Explains the waits of the jobs of one scheduler."""

    def __init__(self, scheduler: Scheduler, people: Callable[[str], Person | None] = nobody) -> None:
        """Explain what this scheduler runs.

        Args:
            scheduler: whose jobs are explained.
            people: tells of the person behind an owner of locks that is no operation; None if it knows of none.
        """
        self._scheduler = scheduler
        self._people = people

    async def explain(self, number: int, job: int) -> pb.WaitExplanation:
        """Return why a job does not go on, who is in the way, who in theirs, and what can be done about it.

        Raises:
            NotFound: there is no such job.
            Unavailable: the lock service cannot be asked.
        """
        operation = await self._scheduler.look(number)
        planned = operation.shape.jobs.get(str(job))
        if planned is None:
            name = job_name(number, str(job))
            raise NotFound(f"{name} does not exist", resource=name)
        now = self._scheduler.world.clock.now()
        told = pb.WaitExplanation(cause=waiting.cause_of(operation, planned))
        told.job.CopyFrom(await self._party(operation, planned, now))
        if told.cause == pb.WAIT_CAUSE_LOCKS:
            await self._add_locks(told, operation, now)
        elif told.cause == pb.WAIT_CAUSE_CAPACITY:
            await self._add_capacity(told, operation, planned, now)
        self._add_predecessors(told, operation, planned)
        await self._add_own_operation(told, operation, planned, now)
        await self._add_hosts(told)
        told.summary = summary(told, now)
        for name in told.job.silent_servers if told.cause == pb.WAIT_CAUSE_CONTACT_LOST else ():
            why = self._scheduler.world.participants.why_unsettled(name, number)
            told.summary += f"; {why}" if why else ""
        for name in waiting.open_participants(operation, planned) if told.cause in _AT_WORK else ():
            why = self._scheduler.world.participants.why_refusing(name)
            told.summary += f"; {name} answers, and cannot take its part now: {why}" if why else ""
        told.remedies.extend(remedies(told, now))
        if told.cause == pb.WAIT_CAUSE_LOCKS:
            self._add_refusal(told, owner_of_locks(operation.record))
        return told

    async def _add_locks(self, told: pb.WaitExplanation, operation: Operation, now: datetime) -> None:
        """Add everybody in the way of an operation's locks; one that the lock service does not know asks just now."""
        own = owner_of_locks(operation.record)
        try:
            story = await self._scheduler.world.locks.explain(own)
        except NotFound:
            return
        except Unavailable:
            if self._scheduler.world.locks.refusal_of(own) is None:
                raise
            return  # what was asked together with a commit that failed is refused with it
        told.truncated = story.truncated
        for owner in story.owners:
            if owner.owner == own:
                told.queue_place = owner.position
            elif _shown(owner.owner) != operation.name:
                told.parties.append(await self._owner(owner, now))
            for blocker in owner.blockers:
                info = blocker.info
                if _shown(info.holder) == _shown(owner.owner):
                    continue  # its own locks that were broken are just being released
                told.edges.add(
                    waiter=_shown(owner.owner),
                    blocker=_shown(info.holder),
                    kind=pb.WAIT_EDGE_KIND_BARRIER if info.waiting else pb.WAIT_EDGE_KIND_HOLDER,
                    object=info.object,
                    wanted_mode=blocker.wanted_mode,
                    mode=info.mode,
                    since_time=info.since_time,
                )
        for party in told.parties:
            person = None if party.job else self._people(party.owner)
            for under in person.operations if person is not None else ():
                told.edges.add(waiter=party.owner, blocker=under, kind=pb.WAIT_EDGE_KIND_UNDER)

    def _add_refusal(self, told: pb.WaitExplanation, owner: str) -> None:
        """Say first, with what helps, that the lock service is there and cannot take what is asked for."""
        refusal = self._scheduler.world.locks.refusal_of(owner)
        if refusal is None:
            return
        disk = refusal.metadata.get("disk")
        why = (
            f"the lock service cannot write: {disk}" if disk else f"the lock service grants nothing: {refusal.message}"
        )
        told.summary = f"{why}; {told.summary}" if told.edges else why
        if disk:
            text = "make room on the disk of the lock service, or mend it; all goes on by itself, and nothing is lost"
            rest = list(told.remedies)
            del told.remedies[:]
            told.remedies.extend([pb.WaitRemedy(text=text, command="virtyard doctor"), *rest])

    async def _add_capacity(
        self, told: pb.WaitExplanation, operation: Operation, planned: plan_pb2.PlannedJob, now: datetime
    ) -> None:
        """Add those who have of the counted locks that a job's steps wait for, and those who come before it."""
        counted, own = self._scheduler.world.counted, operation.name
        for name in dict.fromkeys(step.counted.name for step in planned.steps if step.counted.name):
            kinds = dict.fromkeys(counted.ahead(name, operation.number), pb.WAIT_EDGE_KIND_BARRIER)
            told.queue_place = max(told.queue_place, len(kinds) + 1)
            for number, kind in {**dict.fromkeys(counted.holders(name), pb.WAIT_EDGE_KIND_HOLDER), **kinds}.items():
                other = self._scheduler.find(number)
                if other is not None and other is not operation:
                    told.parties.append(await self._party(other, waiting.leading_job(other), now))
                    told.edges.add(waiter=own, blocker=other.name, kind=kind, object=name)

    async def _owner(self, owner: owner_pb2.OwnerWait, now: datetime) -> pb.WaitParty:
        """Return an owner of locks as a party: an operation that runs with all that is known, anybody else as it is."""
        number = operation_of_owner(owner.owner)
        operation = self._scheduler.find(number) if number else None
        if operation is not None:
            party = await self._party(operation, waiting.leading_job(operation), now)
        else:
            party = pb.WaitParty(owner=_shown(owner.owner), title=owner.purpose)
            person = self._people(owner.owner)
            if person is not None:
                party.principal, party.reason = person.principal, person.purpose
                if person.end is not None:
                    party.expected_end_time.FromDatetime(person.end)
        party.since_time.CopyFrom(owner.request_time if owner.waiting else owner.grant_time)
        return party

    async def _party(self, operation: Operation, planned: plan_pb2.PlannedJob, now: datetime) -> pb.WaitParty:
        record, progress = operation.record, operation_progress(operation)
        job = render_job(operation, planned)
        party = pb.WaitParty(
            owner=operation_name(record.number),
            job=job.name,
            title=planned.title,
            object=planned.object,
            state=job.state,
            percent=progress.percent,
            stage=progress.stage,
            principal=record.principal,
            reason=record.options.reason,
            since_time=job.start_time if job.HasField("start_time") else record.create_time,
            held=job.held,
            held_by=record.hold.principal,
            silent_servers=waiting.silent_servers(operation),
            aborting=record.abort_requested and not record.too_late,
            too_late=record.too_late or waiting.passed_pivot(operation),
            residue=job.residue,
            refused=refusals(operation, planned),
        )
        found = (
            UNKNOWN
            if party.silent_servers or party.refused
            else await estimate(operation, self._scheduler.world.store, now)
        )
        if found.end is not None:
            party.expected_end_time.FromDatetime(found.end)
            party.estimate = found.source
        return party

    def _add_predecessors(self, told: pb.WaitExplanation, operation: Operation, planned: plan_pb2.PlannedJob) -> None:
        """Add the jobs of the same operation that come first, and what those wait for."""
        if told.cause not in (pb.WAIT_CAUSE_PREDECESSOR, pb.WAIT_CAUSE_CONTACT_LOST):
            return
        queue, seen = [planned], {planned.id}
        while queue:
            job = queue.pop(0)
            for before in waiting.predecessors(operation, job):
                told.edges.add(
                    waiter=job_name(operation.number, job.id),
                    blocker=job_name(operation.number, before.id),
                    kind=pb.WAIT_EDGE_KIND_PREDECESSOR,
                    object=before.object,
                )
                if before.id not in seen:
                    seen.add(before.id)
                    queue.append(before)

    async def _add_own_operation(
        self, told: pb.WaitExplanation, operation: Operation, planned: plan_pb2.PlannedJob, now: datetime
    ) -> None:
        """Add the job of the same operation that is at work, where the one that was asked about waits for it."""
        leading = waiting.leading_job(operation)
        if told.edges and told.cause not in (pb.WAIT_CAUSE_LOCKS, pb.WAIT_CAUSE_CAPACITY) and leading.id != planned.id:
            told.parties.append(await self._party(operation, leading, now))

    async def _add_hosts(self, told: pb.WaitExplanation) -> None:
        """Add the silent hosts that somebody waits for, with the time of their last report."""
        waiters = [told.job, *told.parties]
        silent = sorted({name for party in waiters for name in party.silent_servers if name != INVENTORY})
        view = None
        if silent:
            try:
                view = await self._scheduler.world.view([select(name) for name in silent])
            except VirtyardError:
                view = None  # nobody can say when it was last heard of
        for party in waiters:
            for name in party.silent_servers:
                edge = told.edges.add(waiter=party.job, blocker=name, kind=pb.WAIT_EDGE_KIND_HOST, object=name)
                server = view.find(name, server_pb2.Server) if view is not None and name != INVENTORY else None
                if server is not None and server.observed.HasField("report_time"):
                    edge.since_time.CopyFrom(server.observed.report_time)
