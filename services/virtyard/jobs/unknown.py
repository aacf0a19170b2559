"""The unknown: what a host has and a restored database does not, found by comparing, and told as events (P32)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs.model import Operation
from virtyard.kernel import event_types
from virtyard.kernel.effects import operation_number
from virtyard.kernel.view import View

__all__ = ["tell_effects", "tell_ended", "tell_forgotten", "tell_guests", "undone_operations", "unknown_effects"]

Entry = agent_service_pb2.LedgerEntry
Events = control_service_pb2.RaiseEventsRequest
_RUNNING = participant.EFFECT_STATE_RUNNING
_DONE = participant.EFFECT_STATE_DONE
_LEFT = frozenset({_RUNNING, participant.EFFECT_STATE_RESIDUE})
_WORDS: Mapping[int, str] = {_RUNNING: "is at", participant.EFFECT_STATE_RESIDUE: "left something of"}


def unknown_effects(entries: Iterable[Entry], known: int) -> list[Entry]:
    """Return what is left of operations above the last known one: done, under way or half done, and not undone."""
    steps = _by_step(entry for entry in entries if operation_number(entry.step_key) > known)
    return [last for did, undid in steps if (last := undid or did) is not None and _is_left(last)]


def _is_left(last: Entry) -> bool:
    """Tell whether the last that was heard of a step means that something of it is there."""
    if last.phase == participant.PHASE_UNDO:
        return last.state != _DONE
    return last.state in _LEFT or (last.state == _DONE and last.changed)


def undone_operations(entries: Iterable[Entry], records: Mapping[int, record_pb2.OperationRecord]) -> set[int]:
    """Return the open operations of which a host undid a step, though they are recorded as going forward."""
    found = set()
    for entry in entries:
        record = records.get(operation_number(entry.step_key))
        if record is not None and not record.rolling_back and entry.phase == participant.PHASE_UNDO:
            found.add(record.number)
    return found


def tell_effects(events: Events, server: str, life: int, unknown: Iterable[Entry]) -> None:
    """Add an event for each effect that is not known."""
    for entry in unknown:
        word = _WORDS.get(entry.state, "has done")
        what = f"{entry.action} for {entry.job}, step {entry.step_key}"
        if entry.phase == participant.PHASE_UNDO:
            what = f"undoing {what}"
        message = f"{server} {word} {what}, on {entry.target}, and the restored databases do not know of it"
        event = event_types.new_event(event_types.RESTORED_UNKNOWN_EFFECT, entry.target, message)
        events.events.add(key=f"restored/{life}/{server}/{entry.step_key}/{entry.phase}", event=event)


def tell_forgotten(events: Events, server: str, life: int, first: int, last: int) -> None:
    """Add an event for operations whose effects a ledger has forgotten, as they were settled."""
    if first > last:
        return
    message = (
        f"{server} has forgotten the effects of operations {first} to {last}, which had ended, "
        "and the restored databases do not know of them"
    )
    event = event_types.new_event(event_types.RESTORED_UNKNOWN_EFFECT, server, message)
    events.events.add(key=f"restored/{life}/{server}/forgotten", event=event)


def tell_ended(events: Events, server: str, life: int, below: int, operations: Iterable[Operation]) -> None:
    """Add an event for each open operation of which a ledger has forgotten everything, as it had ended by then.

    Args:
        events: where the events are added.
        server: whose ledger it is.
        life: the incarnation of the life that begins.
        below: the number below which the ledger has forgotten what was settled.
        operations: the open operations.
    """
    for operation in operations:
        steps = [ref for ref in operation.shape.steps.values() if ref.step.participant == server]
        if operation.number >= below or not any(ref.reference in operation.record.steps for ref in steps):
            continue
        message = (
            f"{server} has forgotten what {operation.name}, {operation.record.title}, did on it: it had ended since "
            "the backup was made, in which it is open; its steps are refused now, and what it left must be looked for"
        )
        for target in dict.fromkeys(ref.step.target for ref in steps):
            event = event_types.new_event(
                event_types.RESTORED_UNKNOWN_EFFECT, target, message, operation=operation.name
            )
            events.events.add(key=f"restored/{life}/{server}/{operation.number}/{target}", event=event)


def tell_guests(events: Events, life: int, host: agent_service_pb2.Host, view: View) -> None:
    """Add an event for each guest that runs on a host and is not recorded as running there."""
    for guest in host.guests:
        machine = view.find(guest.virtual_machine, virtual_machine_pb2.VirtualMachine)
        if not guest.running:
            continue
        if machine is None or machine.uid != guest.uid:
            recorded = "is not recorded"
        elif machine.state == virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED:
            recorded = "is recorded as stopped"
        elif machine.server != host.server:
            recorded = f"is recorded on {machine.server}"
        else:
            continue
        message = f"{host.server} runs a guest of {guest.virtual_machine}, which {recorded} in the restored databases"
        event = event_types.new_event(event_types.RESTORED_UNKNOWN_GUEST, guest.virtual_machine, message)
        events.events.add(key=f"restored/{life}/{host.server}/guest/{guest.uid}", event=event)


def _by_step(entries: Iterable[Entry]) -> Iterable[tuple[Entry | None, Entry | None]]:
    """Return the last try to do each step, and the last to undo it, in the order in which they were first heard of."""
    last: dict[str, dict[int, Entry]] = {}
    for entry in entries:
        phases = last.setdefault(entry.step_key, {})
        if entry.phase not in phases or phases[entry.phase].attempt <= entry.attempt:
            phases[entry.phase] = entry
    return [(phases.get(participant.PHASE_DO), phases.get(participant.PHASE_UNDO)) for phases in last.values()]
