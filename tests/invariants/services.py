"""The invariants between the databases of a site; each is a function that yields what breaks it, in words.

All of them hold at every moment, but for `ENDED`, which is of a site where nothing runs.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

from tests.invariants.records import ACTIVE, Effect, Records
from virtyard.api.jobs.v1 import job_pb2, operation_pb2
from virtyard.api.locks.v1 import lock_service_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.type.v1 import submission_pb2
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.inventory.objects import links_of
from virtyard.jobs.broken import rollback_owner
from virtyard.jobs.model import Operation, owner_name
from virtyard.jobs.store import EVENTS, RELEASE
from virtyard.kernel.job_states import JobState, StepState
from virtyard.kernel.lock_modes import LockMode, conflicts
from virtyard.kernel.names import collection_of
from virtyard.locks.store import operation_of_owner

Check = Callable[[Records], Iterator[str]]
_SUCCEEDED = operation_pb2.OPERATION_STATE_SUCCEEDED
_PARTIAL = operation_pb2.OPERATION_STATE_PARTIAL
_KEEPS = (submission_pb2.ON_FAILURE_STOP, submission_pb2.ON_FAILURE_CONTINUE)
_OF_FINISHED = frozenset({StepState.DONE, StepState.SKIPPED})
_OF_UNDONE = frozenset({StepState.UNDONE, StepState.SKIPPED, StepState.FAILED, StepState.PENDING})
_DO, _UNDO = participant.PHASE_DO, participant.PHASE_UNDO
_BARRED = frozenset({"CREATING", "DELETING", "STARTING"})
"""Endings of the states that an object has only while an operation works on it."""


def ended_as_promised(records: Records) -> Iterator[str]:
    """Every operation that ended did all or nothing, and says which (R1)."""
    for operation in records.ended.values():
        record, name = operation.record, operation.name
        if record.state == _PARTIAL and record.options.on_failure in _KEEPS:
            yield from _kept_what_was_finished(operation)
            continue
        jobs = {JobState(record.jobs[job].state) for job in operation.shape.jobs}
        steps = {reference: StepState(record.steps[reference].state or 1) for reference in operation.shape.steps}
        if record.state in (_SUCCEEDED, _PARTIAL) and not record.HasField("error"):
            outcome = job_pb2.OUTCOME_COMPLETE if record.state == _SUCCEEDED else job_pb2.OUTCOME_PARTIAL
            allowed = set(_OF_FINISHED)
            wanted = {JobState.COMPLETED}
            # Past the pivot a person may have accepted what failed; the job tells it.
            left = {each for each in steps if record.steps[each].accepted and steps[each] == StepState.FAILED}
            if any(not record.jobs[each.partition("/")[0]].residue for each in left) or (
                left and record.state != _PARTIAL
            ):
                yield f"{name} does not tell what was left of {sorted(left)}"
            steps = {each: state for each, state in steps.items() if each not in left}
        else:
            kept = StepState.UNDO_FAILED in steps.values()
            owed = record.takes_over
            if owed and not any(owed in text for own in record.jobs.values() for text in own.residue):
                yield f"{name} does not tell that it owes what {owed} left"
            outcome = job_pb2.OUTCOME_PARTIAL if kept or owed else job_pb2.OUTCOME_NONE
            allowed = set(_OF_UNDONE)
            allowed |= {StepState.UNDO_FAILED} if kept else set()
            allowed |= {StepState.DONE} if records.is_taken_over(operation) else set()
            wanted = {JobState.FAILED, JobState.ABORTED}
            if not record.HasField("error"):
                yield f"{name} ended badly and does not say why"
        if record.outcome != outcome:
            yield f"{name} says outcome {record.outcome}, not {outcome}"
        if not jobs <= wanted:
            yield f"{name} has ended with jobs that are {', '.join(sorted(job.name for job in jobs - wanted))}"
        for reference, state in steps.items():
            if state not in allowed or (state == StepState.FAILED and record.steps[reference].left_residue):
                yield f"{name} has ended, step {reference} is {state.name}"
        if not record.HasField("end_time"):
            yield f"{name} has ended at no time"


def _kept_what_was_finished(operation: Operation) -> Iterator[str]:
    """Where finished jobs are to be kept when one fails, each job did all or nothing."""
    record, name = operation.record, operation.name
    if record.outcome != job_pb2.OUTCOME_PARTIAL:
        yield f"{name} says outcome {record.outcome}, not {job_pb2.OUTCOME_PARTIAL}"
    if not record.HasField("end_time"):
        yield f"{name} has ended at no time"
    for reference, ref in operation.shape.steps.items():
        job = JobState(record.jobs[ref.job.id].state)
        allowed = _OF_FINISHED if job == JobState.COMPLETED else _OF_UNDONE
        state = StepState(record.steps[reference].state or 1)
        if state not in allowed or job not in (JobState.COMPLETED, JobState.FAILED, JobState.ABORTED):
            yield f"{name} has kept what was finished, step {reference} is {state.name} in a job that is {job.name}"


def rows_agree_with_records(records: Records) -> Iterator[str]:
    """The rows of jobs, the flag `open` and the counters say what the records say; no request id is there twice."""
    found: dict[int, set[str]] = defaultdict(set)
    for number, job, name, state, _ in records.jobs:
        found[number].add(str(job))
        operation = records.operations.get(number)
        if operation is None:
            yield f"{name} belongs to no operation"
        elif operation.record.jobs[str(job)].state != state:
            yield f"{name} is {state} in its row and {operation.record.jobs[str(job)].state} in its operation's record"
    for number, operation in records.operations.items():
        if number in records.archived:
            if number in found:
                yield f"{operation.name} is archived and has rows for jobs {sorted(found[number])}"
            continue
        if found[number] != set(operation.shape.jobs):
            yield f"{operation.name} has rows for jobs {sorted(found[number])}, not {sorted(operation.shape.jobs)}"
        if (number in records.open_numbers) is not (operation.record.state == ACTIVE):
            yield f"{operation.name} is open in its row or in its record, not in both"
    counted = Counter(state for _, _, _, state, _ in records.jobs)
    if dict(counted) != dict(records.job_counts):
        yield f"jobs are counted as {dict(records.job_counts)}, and are {dict(counted)}"
    for request, count in Counter(row[:2] for row in records.requests).items():
        if count > 1:
            yield f"request id {request} has {count} operations"


def locks_follow_operations(records: Records) -> Iterator[str]:
    """Only open operations and people have locks, and what ended is closed, or that is due (P5)."""
    due = {lock_service_pb2.OwnerRelease.FromString(body).owner for _, kind, body in records.due if kind == RELEASE}
    for owner, _, _ in records.owners:
        number = operation_of_owner(owner)
        operation = records.operations.get(number)
        if number and operation is None:
            yield f"{owner} has locks and is no operation"
        elif operation is not None and operation.record.state != ACTIVE and owner not in due:
            yield f"{owner} has ended, its locks are held, and their release is not due"
        if owner in records.closed:
            yield f"{owner} has locks and is closed for ever"
    for operation in records.ended.values():
        owners = [owner_name(operation.number)] if operation.shape.plan.locks else []
        if operation.record.HasField("broken"):
            owners.append(rollback_owner(operation.number))
        for owner in owners:
            if not _is_closed(owner, records) and owner not in due:
                yield f"{owner} has ended and was never closed at the lock service"


def _is_closed(owner: str, records: Records) -> bool:
    """Tell whether the lock service refuses an owner for ever; below its floor it does so without remembering it."""
    return owner in records.closed or 0 < operation_of_owner(owner) < records.closed_below


def locks_exclude(records: Records) -> Iterator[str]:
    """No two owners hold an object in modes that conflict, and no lock has a token that was never given out."""
    holders: dict[str, list[tuple[str, LockMode]]] = defaultdict(list)
    for owner, name, mode, token in records.locks:
        if token:
            holders[name].append((owner, LockMode(mode)))
        if token > records.last_token:
            yield f"{owner} has token {token} on {name}; the last one given out is {records.last_token}"
    for name, held in holders.items():
        for (one, mode), (other, its) in combinations(held, 2):
            if conflicts(mode, its):
                yield f"{one} and {other} both hold {name}, {mode.name} and {its.name}"


def tokens_given_once(records: Records) -> Iterator[str]:
    """No token is given to two, and no participant met a token or an epoch that was never given."""
    given: dict[int, str] = {}
    for operation in records.operations.values():
        for token in operation.record.tokens:
            first = given.setdefault(token.fencing_token, operation.name)
            if token.fencing_token and first != operation.name:
                yield f"token {token.fencing_token} was given to {first} and to {operation.name}"
    for who, ledger in records.ledgers.items():
        for (name, _), highest in ledger.tokens.items():
            if highest > records.last_token:
                yield f"{who} has met token {highest} on {name}; the last one given out is {records.last_token}"
        for number, epoch in ledger.epochs.items():
            known = records.operations.get(number)
            if known is not None and epoch > known.record.epoch:
                yield f"{who} has met epoch {epoch} of {known.name}, which is at {known.record.epoch}"


def tokens_rise(records: Records) -> Iterator[str]:
    """Whoever came after another had ended has a higher token on what both wanted (P2)."""
    by_object: dict[str, list[_Holding]] = defaultdict(list)
    for operation in records.operations.values():
        record = operation.record
        end = record.end_time.ToNanoseconds() if record.HasField("end_time") else None
        for token in record.tokens:
            if token.fencing_token:
                held = operation.name, record.create_time.ToNanoseconds(), end, token.mode, token.fencing_token
                by_object[token.object].append(held)
    for name, holders in by_object.items():
        ended = deque(sorted((one for one in holders if one[2] is not None), key=lambda one: one[2] or 0))
        highest: dict[int, tuple[int, str]] = {}  # of those that had ended, by mode
        for other, begin, _, its, higher in sorted(holders, key=lambda one: one[1]):
            while ended and (ended[0][2] or 0) < begin:
                before, _, _, mode, number = ended.popleft()
                highest[mode] = max(highest.get(mode, (0, "")), (number, before))
            for mode, (number, one) in highest.items():
                if number >= higher and conflicts(LockMode(mode), LockMode(its)):
                    yield f"{other} came after {one} and has token {higher} on {name}, not above {number}"


_Holding = tuple[str, int, int | None, int, int]
"""An operation, when it was asked for and had ended, and the mode and token with which it held an object."""


def effects_once(records: Records) -> Iterator[str]:
    """No key acted twice, each step is what its participant's ledger says, and nothing of an ended one is under way."""
    done: Counter[tuple[str, int]] = Counter()
    by_step: dict[tuple[str, str], list[Effect]] = defaultdict(list)
    for who, ledger in records.ledgers.items():
        for effect in ledger.effects:
            by_step[who, effect.step_key].append(effect)
            if effect.done:
                done[effect.step_key, effect.phase] += 1
            if effect.operation not in records.operations:
                yield f"{who} has an effect of operation {effect.operation}, which is not known"
            elif (
                effect.done
                and effect.step_key.partition("/")[2] not in records.operations[effect.operation].shape.steps
            ):
                yield f"{who} acted under {effect.step_key}, which is no step of its operation's plan"
            elif effect.state == participant.EFFECT_STATE_RUNNING and effect.operation in records.ended:
                yield f"{effect.step_key} is under way at {who}, and its operation has ended"
    for (key, phase), count in done.items():
        if count > 1:
            yield f"{key} was {'done' if phase == _DO else 'undone'} {count} times"
    for operation in records.ended.values():
        for reference, ref in operation.shape.steps.items():
            who = (
                ref.step.participant if ref.step.participant in records.ledgers else ref.step.participant.split("/")[-1]
            )
            if who in records.ledgers and operation.number < records.ledgers[who].settled_below:
                continue  # what is settled may be forgotten by now
            effects = by_step[who, f"{operation.number}/{reference}"]
            state = StepState(operation.record.steps[reference].state or 1)
            yield from _compare(f"{operation.name} step {reference} at {who}", state, effects)


def _compare(what: str, state: StepState, effects: Sequence[Effect]) -> Iterator[str]:
    """Yield how a step differs from the rows of its participant's ledger."""
    done = any(effect.done for effect in effects if effect.phase == _DO)
    undone = any(effect.done for effect in effects if effect.phase == _UNDO)
    if state == StepState.DONE and (not done or undone):
        yield f"{what} counts as done; the ledger has it {'undone' if undone else 'not done'}"
    if state in (StepState.PENDING, StepState.SKIPPED) and (done or undone):
        yield f"{what} is {state.name}, but was done"
    if state == StepState.UNDONE and done and not undone:
        yield f"{what} counts as undone; the ledger has it done"
    if state == StepState.FAILED and done and not undone:
        yield f"{what} counts as failed; the ledger has it done"


def journals_whole(records: Records) -> Iterator[str]:
    """A feed has every number once and in order, and its last word on a job is what the row of the job says (P7)."""
    for service, journal in records.journals.items():
        numbers = [row[0] for row in journal.rows]
        if numbers != list(range(journal.oldest, journal.sequence + 1)):
            yield f"the journal of {service} has gaps between {journal.oldest} and {journal.sequence}"
    last = {key: body for _, topic, key, _, body in records.journals["jobs"].rows if topic == "job"}
    for _, _, name, _, body in records.jobs:
        if last.get(name, body) != body:
            yield f"the feed's last word on {name} is not what is stored"


def inventory_whole(records: Records) -> Iterator[str]:
    """Relations, sums and states are those of the objects, and no uid or name stands for two of them (P9)."""
    stored = {row[:3] + row[4:] for row in records.relations}
    wanted = {
        (name, field, link.target, link.amount)
        for name, message in records.objects.items()
        for (field, _), link in links_of(message).items()
    }
    yield from (f"the relation {row} is not indexed" for row in sorted(wanted - stored))
    yield from (f"the relation {row} is indexed for nothing" for row in sorted(stored - wanted))
    for source, field, target, _ in sorted(wanted):
        if collection_of(target) != "macAddresses" and target not in records.objects:
            yield f"{source} refers by {field} to {target}, which is not there"
    sums: Counter[tuple[str, str, str]] = Counter()
    for _, field, target, kind, amount in records.relations:
        sums[target, kind, field] += amount
    totals = {row[:3]: row[3] for row in records.totals}
    for key in sums.keys() | totals.keys():
        if sums[key] != totals.get(key, 0):
            yield f"the sum of {key} is kept as {totals.get(key, 0)}, and is {sums[key]}"
    for uid, count in Counter(row[1] for row in records.generations if not row[4]).items():
        if count > 1:
            yield f"uid {uid} stands for {count} objects"


def nothing_open(records: Records) -> Iterator[str]:
    """Every operation has ended, nothing is due, nobody waits, and no object is between two states."""
    for operation in records.operations.values():
        if operation.record.state == ACTIVE:
            yield f"{operation.name}, {operation.record.title}, has not ended"
    for owner, _, granted in records.owners:
        if operation_of_owner(owner):
            yield f"{owner} {'holds' if granted else 'waits for'} locks"
    for key, kind, body in records.due:
        # Rows go with the next commit; what counts is whether what they ask for has happened.
        if kind == RELEASE and not _is_closed(lock_service_pb2.OwnerRelease.FromString(body).owner, records):
            yield f"{key} is due"
        if kind == EVENTS:
            asked = control_service_pb2.RaiseEventsRequest.FromString(body)
            if not {event.key for event in asked.events} <= records.event_keys:
                yield f"{key} is due"
    for name, message in records.objects.items():
        state = message.DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number[message.state].name
        if state.rpartition("_")[2] in _BARRED:
            yield f"{name} is {state}"


ALWAYS: Sequence[Check] = (
    ended_as_promised,
    rows_agree_with_records,
    locks_follow_operations,
    locks_exclude,
    tokens_given_once,
    tokens_rise,
    effects_once,
    journals_whole,
    inventory_whole,
)
"""What holds at every moment."""
ENDED: Sequence[Check] = (nothing_open,)
"""What holds where nothing runs."""
