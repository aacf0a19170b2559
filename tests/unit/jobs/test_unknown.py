"""What a ledger has and a restored database does not: left over, undone in the meantime, and told (P32)."""

from __future__ import annotations

from tests.unit.jobs.plans import job, operation_of, shape_of
from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.inventory.v1 import object_pb2, virtual_machine_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs.unknown import (
    tell_effects,
    tell_ended,
    tell_forgotten,
    tell_guests,
    undone_operations,
    unknown_effects,
)
from virtyard.kernel.view import View, select

DO, UNDO = participant.PHASE_DO, participant.PHASE_UNDO
DONE, RUNNING = participant.EFFECT_STATE_DONE, participant.EFFECT_STATE_RUNNING
FAILED, RESIDUE = participant.EFFECT_STATE_FAILED, participant.EFFECT_STATE_RESIDUE
NOT_BEGUN = participant.EFFECT_STATE_NOT_BEGUN
WEB = "virtualMachines/web"


def entry(
    key: str, state: int, *, phase: int = DO, attempt: int = 1, changed: bool = True
) -> agent_service_pb2.LedgerEntry:
    """Return what a ledger has of a step."""
    made = agent_service_pb2.LedgerEntry(
        step_key=key, attempt=attempt, action="StartGuest", target=WEB, job="jobs/8-1", changed=changed
    )
    made.state, made.phase = state, phase  # type: ignore[assignment]  # values of enums
    return made


def left(*entries: agent_service_pb2.LedgerEntry) -> list[str]:
    """Return the keys of what is left of operations above 7."""
    return [found.step_key for found in unknown_effects(entries, 7)]


def test_what_is_left_of_operations_that_nobody_knows() -> None:
    """Done, under way or half done counts; known, undone, failed, refused and merely looked at does not."""
    assert left(entry("8/1/1", DONE), entry("9/1/1", RUNNING, changed=False), entry("9/1/2", RESIDUE)) == [
        "8/1/1",
        "9/1/1",
        "9/1/2",
    ]
    assert left(entry("7/1/1", DONE), entry("8/1/1", FAILED), entry("8/1/2", NOT_BEGUN)) == []
    assert left(entry("8/1/1", DONE, changed=False)) == []
    assert left(entry("8/1/1", FAILED), entry("8/1/1", DONE, attempt=2)) == ["8/1/1"]
    assert left(entry("8/1/1", DONE), entry("8/1/1", DONE, phase=UNDO)) == []
    assert left(entry("8/1/1", DONE), entry("8/1/1", FAILED, phase=UNDO)) == ["8/1/1"]


def test_an_open_operation_that_a_host_undid_goes_back() -> None:
    """Its done steps would else be heard as done, though nothing of them is there."""
    forward = record_pb2.OperationRecord(number=6)
    back = record_pb2.OperationRecord(number=7, rolling_back=True)
    entries = [entry(f"{number}/1/1", DONE, phase=UNDO) for number in (5, 6, 7)] + [entry("4/1/1", DONE)]
    records = {4: record_pb2.OperationRecord(number=4), 6: forward, 7: back}
    assert undone_operations(entries, records) == {6}


def test_each_is_told_once_with_all_that_names_it() -> None:
    """Server, step, action and object; an effect that is forgotten is told by the numbers that it may have had."""
    events = control_service_pb2.RaiseEventsRequest()
    tell_effects(events, "servers/s1", 3, [entry("8/1/2", DONE), entry("8/1/1", FAILED, phase=UNDO)])
    tell_forgotten(events, "servers/s1", 3, 8, 12)
    tell_forgotten(events, "servers/s1", 3, 8, 7)
    assert len({event.key for event in events.events}) == len(events.events) == 3
    done, undone, forgotten = (keyed.event for keyed in events.events)
    assert (done.type, done.object) == ("RESTORED_UNKNOWN_EFFECT", WEB)
    assert all(word in done.message for word in ("servers/s1", "8/1/2", "StartGuest", "jobs/8-1", WEB))
    assert "undoing StartGuest" in undone.message
    assert "operations 8 to 12" in forgotten.message
    assert forgotten.object == "servers/s1"


def test_guests_are_compared_with_their_records() -> None:
    """Only a guest that is not recorded as running there is told."""
    stopped, running = (
        virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED,
        virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING,
    )
    records = {
        "a": ("servers/s1", running),
        "b": ("", stopped),
        "c": ("servers/s2", running),
        "d": ("servers/s1", running),
    }
    machines = [
        virtual_machine_pb2.VirtualMachine(name=f"virtualMachines/{name}", uid=name, server=server, state=state)
        for name, (server, state) in records.items()
    ]
    view = View(
        [object_pb2.Object(virtual_machine=each) for each in machines], [select(each.name) for each in machines]
    )
    host = agent_service_pb2.Host(server="servers/s1")
    for name in ("a", "b", "c", "x"):
        host.guests.add(uid=name, virtual_machine=f"virtualMachines/{name}", running=True)
    host.guests.add(uid="another", virtual_machine="virtualMachines/d", running=True)
    host.guests.add(uid="y", virtual_machine="virtualMachines/y", running=False)
    events = control_service_pb2.RaiseEventsRequest()
    tell_guests(events, 3, host, view)
    told = {keyed.event.object.rpartition("/")[2]: keyed.event.message for keyed in events.events}
    assert set(told) == {"b", "c", "d", "x"}
    assert "is recorded as stopped" in told["b"]
    assert "is recorded on servers/s2" in told["c"]
    assert "is not recorded" in told["x"]


def test_an_open_operation_that_a_ledger_has_settled_is_told_on_its_objects() -> None:
    """Only one that had begun something there, and only below what was forgotten."""
    shape = shape_of(job(1, "servers/s1"), job(2, "servers/s2", after=[1]))
    operation = operation_of(shape, number=6)
    events = control_service_pb2.RaiseEventsRequest()
    tell_ended(events, "servers/s1", 3, 7, [operation])
    assert not events.events
    operation.record.steps["1/1"].attempt = 1
    tell_ended(events, "servers/s1", 3, 6, [operation])
    tell_ended(events, "servers/s2", 3, 7, [operation])
    assert not events.events
    tell_ended(events, "servers/s1", 3, 7, [operation])
    (keyed,) = events.events
    assert "servers/s1 has forgotten what operations/6" in keyed.event.message
    assert keyed.event.operation == "operations/6"
