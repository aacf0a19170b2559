"""The catalogue of event types: what each means, how grave it is, and what a person should do about it.

Every event is made by `new_event` from a type of this table; one of another type is refused where it is stored.
`docs/events.md` is rendered from it by `event_tables`. A new type is one more entry of `EVENT_TYPES`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from virtyard.api.inventory.v1 import event_pb2
from virtyard.kernel.event_type import Condition, EventType

__all__ = ["EVENT_TYPES", "Condition", "EventType", "ended_by", "find", "is_of_operation", "new_event"]

_INFORMATIONAL = event_pb2.SEVERITY_INFORMATIONAL
_WARNING = event_pb2.SEVERITY_WARNING
_CRITICAL = event_pb2.SEVERITY_CRITICAL

OBJECT_CREATED = EventType(
    name="OBJECT_CREATED",
    severity=_INFORMATIONAL,
    meaning="A job made the object.",
    advice="Nothing.",
)
OBJECT_CHANGED = EventType(
    name="OBJECT_CHANGED",
    severity=_INFORMATIONAL,
    meaning="A job changed the object's configuration; `changed_fields` says which fields.",
    advice="Nothing; `virtyard job show` says who asked for it and why.",
)
OBJECT_DELETED = EventType(
    name="OBJECT_DELETED",
    severity=_INFORMATIONAL,
    meaning="A job removed the object; with `undone`, an object that the same operation had made.",
    advice="Nothing.",
)
OBJECT_RESTORED = EventType(
    name="OBJECT_RESTORED",
    severity=_INFORMATIONAL,
    meaning="The object is back with the same uid: its removal was undone with the rest of its operation.",
    advice="Look at the operation to see why it was undone.",
)
MACHINE_STARTED = EventType(
    name="MACHINE_STARTED",
    severity=_INFORMATIONAL,
    meaning="A job started the machine, and it runs on the server that the message names.",
    advice="Nothing.",
    about=("virtualMachines",),
)
MACHINE_RESTARTED = EventType(
    name="MACHINE_RESTARTED",
    severity=_INFORMATIONAL,
    meaning="A job ended the guest and booted it again on the same server.",
    advice="Nothing.",
    about=("virtualMachines",),
)
MACHINE_STOPPED = EventType(
    name="MACHINE_STOPPED",
    severity=_INFORMATIONAL,
    meaning="A job stopped or killed the machine; with `undone`, one that the same operation had started.",
    advice="Nothing.",
    about=("virtualMachines",),
)
MACHINE_CRASHED = EventType(
    name="MACHINE_CRASHED",
    severity=_WARNING,
    meaning=(
        "The machine's guest has ended, and neither an operation nor the guest itself did it: its process crashed, "
        "was killed by hand, or went down with its host. The machine is recorded as stopped."
    ),
    advice="Read the console log that the message names; a restart policy of the machine starts it again by itself.",
    about=("virtualMachines",),
    acknowledgeable=True,
    condition=Condition.GUEST_DOWN,
    cleared_by=("MACHINE_STARTED", "OBJECT_DELETED"),
)
MACHINE_STOPPED_BY_GUEST = EventType(
    name="MACHINE_STOPPED_BY_GUEST",
    severity=_INFORMATIONAL,
    meaning="The machine's guest shut itself down, as by its own poweroff. The machine is recorded as stopped.",
    advice="Nothing, if that was intended; `virtyard vm start` runs it again.",
    about=("virtualMachines",),
)
MACHINE_RESTART_DUE = EventType(
    name="MACHINE_RESTART_DUE",
    severity=_INFORMATIONAL,
    meaning="The machine's guest has ended, and by its restart policy the machine is to be started again now.",
    advice="Nothing: the trigger `restart-policy` has it started; if that failed, see its job.",
    about=("virtualMachines",),
    cleared_by=("MACHINE_STARTED", "OBJECT_DELETED"),
)
MACHINE_RESTART_GIVEN_UP = EventType(
    name="MACHINE_RESTART_GIVEN_UP",
    severity=_WARNING,
    meaning=(
        "The machine's guest has ended once more, after it was started again 5 times within an hour: "
        "it is left stopped, whatever its restart policy."
    ),
    advice="Find out why it ends, by its console log and its crash events; then `virtyard vm start`.",
    about=("virtualMachines",),
    acknowledgeable=True,
    condition=Condition.GUEST_DOWN,
    cleared_by=("MACHINE_STARTED", "OBJECT_DELETED"),
)
MACHINE_STOPPED_UNEXPECTEDLY = EventType(
    name="MACHINE_STOPPED_UNEXPECTEDLY",
    severity=_WARNING,
    meaning=(
        "The machine's guest does not run, no operation stopped it, and its server cannot tell how it ended. Where the "
        "server knows the guest, the machine is recorded as stopped; one that it does not know keeps its state."
    ),
    advice=(
        "Read the guest's console log, if there is one. A machine that is still recorded as running: "
        "`virtyard vm kill` records it as stopped. `vm start` runs it again."
    ),
    about=("virtualMachines",),
    acknowledgeable=True,
    condition=Condition.GUEST_DOWN,
    cleared_by=("MACHINE_STARTED", "MACHINE_RESTARTED", "MACHINE_STOPPED", "OBJECT_DELETED"),
)
SERVER_ADDED_TO_POOL = EventType(
    name="SERVER_ADDED_TO_POOL",
    severity=_INFORMATIONAL,
    meaning="A job added the server to the pool that the message names.",
    advice="Nothing.",
    about=("servers",),
)
SERVER_REMOVED_FROM_POOL = EventType(
    name="SERVER_REMOVED_FROM_POOL",
    severity=_INFORMATIONAL,
    meaning="A job removed the server from the pool that the message names; with `undone`, one that it had joined.",
    advice="Nothing.",
    about=("servers",),
)
SERVER_ONLINE = EventType(
    name="SERVER_ONLINE",
    severity=_INFORMATIONAL,
    meaning="The agent of a server that was offline reports again.",
    advice="Nothing; operations that waited for it go on by themselves.",
    about=("servers",),
)
SERVER_OFFLINE = EventType(
    name="SERVER_OFFLINE",
    severity=_WARNING,
    meaning="The server's agent has not reported for 35 seconds. Its machines may well be running.",
    advice=(
        "See whether the host, its network and its agent are up. Nothing is guessed: operations on it wait. If it is "
        "certainly off and stays off, `virtyard server confirm-dead` ends that."
    ),
    about=("servers",),
    acknowledgeable=True,
    condition=Condition.SERVER_SILENT,
    cleared_by=("SERVER_ONLINE", "OBJECT_DELETED"),
)
SERVER_PROVEN_DEAD = EventType(
    name="SERVER_PROVEN_DEAD",
    severity=_WARNING,
    meaning=(
        "An administrator has made sure that the server is off: what waited for it is settled without it, and machines "
        "that ran there are recorded as stopped."
    ),
    advice="Nothing; when its agent reports again, the proof ends and the server is refreshed.",
    about=("servers",),
    acknowledgeable=True,
    condition=Condition.SERVER_SILENT,
    cleared_by=("SERVER_ONLINE", "OBJECT_DELETED"),
)
SERVER_DISCONNECTED = EventType(
    name="SERVER_DISCONNECTED",
    severity=_WARNING,
    meaning=(
        "The connection to the server's agent has ended, and the agent did not say that it stops. Its machines may "
        "well be running; SERVER_OFFLINE follows if it is not heard again in time."
    ),
    advice="See whether the host, its network and its agent are up; the agent connects again by itself.",
    about=("servers",),
    acknowledgeable=True,
    condition=Condition.SERVER_SILENT,
    cleared_by=("SERVER_RECONNECTED", "SERVER_ONLINE", "OBJECT_DELETED"),
)
SERVER_RECONNECTED = EventType(
    name="SERVER_RECONNECTED",
    severity=_INFORMATIONAL,
    meaning="The agent of a server that was disconnected is heard again, before the server was taken to be offline.",
    advice="Nothing; if it happens again and again, look at the network between the server and the inventory.",
    about=("servers",),
)
STORAGE_LOST = EventType(
    name="STORAGE_LOST",
    severity=_CRITICAL,
    meaning=(
        "A server does not find the repository's storage any more: its folder is gone, is not mounted, or cannot be "
        "read. Machines with disks in it may stand still or fail there."
    ),
    advice="Mount it again or put the folder back; `lost_servers` of the repository says which servers lack it.",
    about=("repositories",),
    acknowledgeable=True,
    condition=Condition.STORAGE_LOST,
    cleared_by=("STORAGE_BACK", "OBJECT_DELETED"),
)
STORAGE_BACK = EventType(
    name="STORAGE_BACK",
    severity=_INFORMATIONAL,
    meaning="Every server that the repository is presented to, and that had lost its storage, has it again.",
    advice="Nothing; look at the machines that had disks in it.",
    about=("repositories",),
)
LINK_DOWN = EventType(
    name="LINK_DOWN",
    severity=_WARNING,
    meaning=(
        "An interface of the server that carries a network or a guest's card was switched off, has no carrier, or is "
        "gone; the message names it and its network."
    ),
    advice="Look at the cable, the switch and the interface; `virtyard server get` says which links are down.",
    about=("servers",),
    acknowledgeable=True,
    condition=Condition.LINK_DOWN,
    cleared_by=("LINK_UP", "OBJECT_DELETED"),
)
LINK_UP = EventType(
    name="LINK_UP",
    severity=_INFORMATIONAL,
    meaning="No link of the server is down any more: all are up again, or gone with what they were for.",
    advice="Nothing.",
    about=("servers",),
)
HEARTBEAT_LATE = EventType(
    name="HEARTBEAT_LATE",
    severity=_WARNING,
    meaning=(
        "The server has not renewed its slot on the heartbeat device of a cluster for longer than the warn time 4T; "
        "the message names the cluster and says why. After 8T its machines must have been stopped there."
    ),
    advice="Look at the storage of the heartbeat device, as that server reaches it; `virtyard server get` shows it.",
    about=("servers",),
    acknowledgeable=True,
    condition=Condition.HEARTBEAT_LATE,
    cleared_by=("HEARTBEAT_IN_TIME", "OBJECT_DELETED"),
)
HEARTBEAT_IN_TIME = EventType(
    name="HEARTBEAT_IN_TIME",
    severity=_INFORMATIONAL,
    meaning="The server renews its slots in time again, in every cluster that it is a member of.",
    advice="Nothing.",
    about=("servers",),
)
JOB_FAILED = EventType(
    name="JOB_FAILED",
    severity=_WARNING,
    meaning=(
        "A job on the object failed, and what its operation had done was undone, but for finished jobs that it was to "
        "keep; `causes` says why."
    ),
    advice="Read `virtyard job transcript`, remove the cause, and ask for the operation again.",
    acknowledgeable=True,
    condition=Condition.HAPPENED,
    cleared_by=("OBJECT_CREATED", "OBJECT_DELETED"),
    of_operation=True,
)
ROLLBACK_FAILED = EventType(
    name="ROLLBACK_FAILED",
    severity=_CRITICAL,
    meaning="An undo on the object was refused again and again: its operation stays open, with its locks.",
    advice="Read the job's `residue`, remove the cause and `virtyard job retry`, or leave it: `virtyard job accept`.",
    acknowledgeable=True,
    cleared_by=("JOB_FAILED", "OPERATION_ABORTED"),
    condition=Condition.LOCKS_HELD,
)
JOB_STUCK = EventType(
    name="JOB_STUCK",
    severity=_WARNING,
    meaning="A step of a job on the object has made no progress for longer than it may; its host answers all the same.",
    advice="See what it does on its host; it goes on by itself. Before its pivot `job abort`, behind it `job accept`.",
    acknowledgeable=True,
    condition=Condition.LOCKS_HELD,
    cleared_by=("JOB_GOES_ON", "OBJECT_DELETED"),
)
JOB_GOES_ON = EventType(
    name="JOB_GOES_ON",
    severity=_INFORMATIONAL,
    meaning="A step that was stuck makes progress again, or has ended.",
    advice="Nothing.",
    of_operation=True,
)
OPERATION_POISONED = EventType(
    name="OPERATION_POISONED",
    severity=_CRITICAL,
    meaning=(
        "The operation brought the scheduler down again and again while it alone was tried, so it was set aside: "
        "nothing of it is sent, it keeps its locks, and the others go on."
    ),
    advice="Read the scheduler's log, and report it; `virtyard job release` tries it again, `job abort` undoes it.",
    acknowledgeable=True,
    cleared_by=("OPERATION_RELEASED", "OPERATION_ABORTED", "JOB_FAILED", "OBJECT_DELETED"),
    condition=Condition.LOCKS_HELD,
)
LOCK_BROKEN = EventType(
    name="LOCK_BROKEN",
    severity=_CRITICAL,
    meaning="An administrator broke the locks of an operation or a person here; the message says whose and why.",
    advice="Watch the operation be undone; if a host of it is silent, see to that host first.",
    acknowledgeable=True,
    condition=Condition.HAPPENED,
    cleared_by=("JOB_FAILED", "OPERATION_ABORTED"),
)
SAFETY_VIOLATED = EventType(
    name="SAFETY_VIOLATED",
    severity=_CRITICAL,
    meaning=(
        "The auditor saw twice what must never be: the object is locked by two who exclude each other, by an operation "
        "that has ended, even one whose release is due, or with a token out of order; or a step was done twice."
    ),
    advice="Stop work on the object and keep the databases and ledgers as they are: this is a defect, to be reported.",
    acknowledgeable=True,
    condition=Condition.UNSEEN,
    blocks=(
        "DeleteVirtualDisk",
        "DeleteVirtualMachine",
        "ResizeVirtualDisk",
        "RestartVirtualMachine",
        "StartVirtualMachine",
    ),
)
JOB_DEFERRED = EventType(
    name="JOB_DEFERRED",
    severity=_WARNING,
    meaning="The server could not be reached when its turn came, so a change is still to be made on it: it is behind.",
    advice="Nothing, if `catch-up` is enabled: it is refreshed when it is back, and runs no machine until then.",
    about=("servers",),
    acknowledgeable=True,
    condition=Condition.SERVER_BEHIND,
    cleared_by=("SERVER_CAUGHT_UP", "OBJECT_DELETED"),
)
OPERATION_HELD = EventType(
    name="OPERATION_HELD",
    severity=_WARNING,
    meaning="A person set an operation on the object aside: nothing of it begins, and it keeps the locks that it has.",
    advice="Let it go on with `virtyard job release`, or `virtyard job abort` it; others may be waiting for its locks.",
    acknowledgeable=True,
    condition=Condition.LOCKS_HELD,
    cleared_by=("OPERATION_RELEASED", "OPERATION_ABORTED", "JOB_FAILED"),
)
OPERATION_RELEASED = EventType(
    name="OPERATION_RELEASED",
    severity=_INFORMATIONAL,
    meaning="A person let an operation on the object go on that had been set aside.",
    advice="Nothing.",
    of_operation=True,
)
PRIORITY_CHANGED = EventType(
    name="PRIORITY_CHANGED",
    severity=_INFORMATIONAL,
    meaning="A person gave an operation on the object another priority; while it waits for locks its place may change.",
    advice="Nothing.",
)
JOB_RETRIED = EventType(
    name="JOB_RETRIED",
    severity=_INFORMATIONAL,
    meaning="A person had what was refused in a job on the object tried again; the message says who, and why.",
    advice="Nothing: what comes of the try follows.",
)
JOB_ACCEPTED = EventType(
    name="JOB_ACCEPTED",
    severity=_INFORMATIONAL,
    meaning="A person accepted what was refused in a job on the object as it is; the message says who, and why.",
    advice="See to what the job's residue names; nothing of it is tried any more.",
)
IMAGE_MISSING = EventType(
    name="IMAGE_MISSING",
    severity=_WARNING,
    meaning="A refresh of the repository did not find the file that the object names.",
    advice="Put the file back, or delete the object; look for who changed the repository by hand.",
    acknowledgeable=True,
    condition=Condition.UNSEEN,
    cleared_by=("OBJECT_DELETED",),
)
FOREIGN_FILE = EventType(
    name="FOREIGN_FILE",
    severity=_WARNING,
    meaning="A refresh of the repository found a file that no object names; it takes space and is left alone.",
    advice="Move it out of the repository if nobody needs it there.",
    about=("repositories",),
    acknowledgeable=True,
    condition=Condition.UNSEEN,
    cleared_by=("OBJECT_DELETED",),
)
LOCK_ENDED = EventType(
    name="LOCK_ENDED",
    severity=_INFORMATIONAL,
    meaning=(
        "The time of a lock was over that a person had taken, and it is released once nothing runs under it any more; "
        "or its object was gone when it would have been held."
    ),
    advice="Nothing, if the work is done; else take another lock, for longer.",
)
SERVER_BEHIND = EventType(
    name="SERVER_BEHIND",
    severity=_INFORMATIONAL,
    meaning=(
        "The server reports, and has missed changes that were put off while it could not be reached, or was proven "
        "dead before: what was settled without it may be there all the same."
    ),
    advice="Nothing: the trigger `catch-up` has it refreshed, again if that failed; see its jobs.",
    about=("servers",),
    cleared_by=("OBJECT_DELETED",),
)
SERVER_CAUGHT_UP = EventType(
    name="SERVER_CAUGHT_UP",
    severity=_INFORMATIONAL,
    meaning="A job brought the server up to date: it has no change left that was put off.",
    advice="Nothing.",
    about=("servers",),
)
SCHEDULE_FAILED = EventType(
    name="SCHEDULE_FAILED",
    severity=_WARNING,
    meaning="The schedule was due and its request was refused, so that nothing was submitted.",
    advice="Read the message; change the schedule's request, then `virtyard schedule run-now`.",
    about=("schedules",),
    acknowledgeable=True,
    condition=Condition.HAPPENED,
    cleared_by=("OBJECT_CHANGED", "OBJECT_DELETED"),
)
TRIGGER_FAILED = EventType(
    name="TRIGGER_FAILED",
    severity=_WARNING,
    meaning="An event came that the trigger waits for, and its request was refused, so that nothing was submitted.",
    advice="Read the message; change the trigger's request or filter, or ask for the operation yourself.",
    about=("triggers",),
    acknowledgeable=True,
    condition=Condition.HAPPENED,
    cleared_by=("OBJECT_CHANGED", "OBJECT_DELETED"),
)
TRIGGER_HELD_BACK = EventType(
    name="TRIGGER_HELD_BACK",
    severity=_WARNING,
    meaning="The trigger left events out, by its hourly limit or because it would answer itself; told once in an hour.",
    advice="Look at what sets it off so often: `virtyard trigger show` and `virtyard event list`.",
    about=("triggers",),
    acknowledgeable=True,
    condition=Condition.HAPPENED,
    cleared_by=("OBJECT_CHANGED", "OBJECT_DELETED"),
)
WEBHOOK_FAILED = EventType(
    name="WEBHOOK_FAILED",
    severity=_WARNING,
    meaning="A webhook gave events up that its receiver did not take; told once in an hour.",
    advice="Read `virtyard webhook show` and mend the receiver; then `virtyard webhook retry` sends them again.",
    about=("webhooks",),
    acknowledgeable=True,
    condition=Condition.HAPPENED,
    cleared_by=("OBJECT_CHANGED", "OBJECT_DELETED"),
)
TRIGGER_GAVE_UP = EventType(
    name="TRIGGER_GAVE_UP",
    severity=_WARNING,
    meaning="What the trigger submitted for an event failed, and so did every further try: it is left as it is.",
    advice="Read the failed job, remove the cause, and ask for the operation yourself.",
    about=("triggers",),
    acknowledgeable=True,
    condition=Condition.HAPPENED,
    cleared_by=("OBJECT_CHANGED", "OBJECT_DELETED"),
)
RESTORED_UNKNOWN_EFFECT = EventType(
    name="RESTORED_UNKNOWN_EFFECT",
    severity=_CRITICAL,
    meaning=(
        "The databases were restored, and the ledger of a server has something that they do not know: it was done "
        "after the backup was made, and has not been undone. The message names server, step, action and object."
    ),
    advice="Refresh its server or repository, compare the object with what is recorded, and remove it or do it again.",
    acknowledgeable=True,
    condition=Condition.UNSEEN,
    blocks=("DeleteVirtualDisk", "ResizeVirtualDisk"),
    cleared_by=("OBJECT_DELETED",),
)
RESTORED_UNKNOWN_GUEST = EventType(
    name="RESTORED_UNKNOWN_GUEST",
    severity=_CRITICAL,
    meaning="The databases were restored, and a server runs a guest whose machine is not recorded as running there.",
    advice="Start the machine: its guest is taken over where it runs. End the guest of one that is not recorded.",
    acknowledgeable=True,
    cleared_by=("MACHINE_STARTED", "OBJECT_DELETED"),
    condition=Condition.GUEST_UNRECORDED,
    blocks=("DeleteVirtualDisk", "DeleteVirtualMachine", "DetachVirtualDisk", "ResizeVirtualDisk"),
)
CERTIFICATE_ENDING = EventType(
    name="CERTIFICATE_ENDING",
    severity=_WARNING,
    meaning="The certificate of a server's agent or of a service ends soon, or has ended; the message says when.",
    advice="Issue it anew (`virtyard pki issue --help`), put it in place of the old one, and start that process again.",
    acknowledgeable=True,
    condition=Condition.CERTIFICATE_ENDING,
    # A later step on the way to the same end takes the place of the one before.
    cleared_by=("CERTIFICATE_RENEWED", "CERTIFICATE_ENDING", "OBJECT_DELETED"),
)
CERTIFICATE_RENEWED = EventType(
    name="CERTIFICATE_RENEWED",
    severity=_INFORMATIONAL,
    meaning="A renewed certificate was found in place of one that was near its end.",
    advice="Nothing.",
)
CLOCK_JUMPED = EventType(
    name="CLOCK_JUMPED",
    severity=_WARNING,
    meaning=(
        "The clock of a service's machine was set by more than a minute. The service's own time does not follow, so "
        "that nothing ends or begins by it: deadlines, schedules, locks with an end, what is kept for a time."
    ),
    advice=(
        "If the machine's clock is right now, acknowledge this and the service follows within seconds; if it is wrong, "
        "set it right. A time service that keeps it in step confirms it by itself after a minute."
    ),
    acknowledgeable=True,
    condition=Condition.CLOCK_JUMPED,
    # A further jump takes the place of the one before.
    cleared_by=("CLOCK_AGREES", "CLOCK_JUMPED"),
)
CLOCK_AGREES = EventType(
    name="CLOCK_AGREES",
    severity=_INFORMATIONAL,
    meaning="The time of a service and the clock of its machine agree again, or will soon, as the message says.",
    advice="Nothing.",
)
DATABASE_UNWRITABLE = EventType(
    name="DATABASE_UNWRITABLE",
    severity=_CRITICAL,
    meaning=(
        "A service cannot write its database, as its disk is full or read-only; the message names both and says why. "
        "What it was to make durable is refused or waits, and nothing that was acknowledged is lost; reads go on."
    ),
    advice=(
        "Make room on the disk that the message names, or mend it: the service goes on by itself within seconds. A "
        "file system that must be unmounted for that needs the service stopped, and started again after it."
    ),
    acknowledgeable=True,
    condition=Condition.DATABASE_UNWRITABLE,
    # Told anew by a process that did not know what an earlier one had told.
    cleared_by=("DATABASE_WRITABLE", "DATABASE_UNWRITABLE"),
)
DATABASE_WRITABLE = EventType(
    name="DATABASE_WRITABLE",
    severity=_INFORMATIONAL,
    meaning="A service can write its database again; the message says since when and until when it could not.",
    advice="Nothing.",
)
HOST_CLOCK_DIFFERS = EventType(
    name="HOST_CLOCK_DIFFERS",
    severity=_WARNING,
    meaning=(
        "The wall clock of the server differs from the time of the control plane by more than a minute; the message "
        "says by how much. Nothing is decided by it, but logs, certificates and guests go by that clock."
    ),
    advice=(
        "Set the server's clock right, best by a time service. If it is the right one, look at the control plane's, of "
        "which CLOCK_JUMPED may tell."
    ),
    about=("servers",),
    acknowledgeable=True,
    condition=Condition.HOST_CLOCK_DIFFERS,
    # A further difference takes the place of the one before.
    cleared_by=("HOST_CLOCK_AGREES", "HOST_CLOCK_DIFFERS", "OBJECT_DELETED"),
)
HOST_CLOCK_AGREES = EventType(
    name="HOST_CLOCK_AGREES",
    severity=_INFORMATIONAL,
    meaning="The wall clock of the server agrees with the time of the control plane again, to half a minute.",
    advice="Nothing.",
    about=("servers",),
)
FLOOD_FOLDED = EventType(
    name="FLOOD_FOLDED",
    severity=_INFORMATIONAL,
    meaning=(
        "Events of one type come so often for the object that further ones are not recorded each, but counted in the "
        "event that the message names."
    ),
    advice="See to what that event tells; its `count` and `last_time` say how often it came, and when last.",
)
ABORT_REQUESTED = EventType(
    name="ABORT_REQUESTED",
    severity=_INFORMATIONAL,
    meaning="A person asked to abort an operation, or a job of it; the message says who, why, and if it was too late.",
    advice="Nothing: OPERATION_ABORTED follows once what was done is undone; what was too late goes on to its end.",
)
OPERATION_ABORTED = EventType(
    name="OPERATION_ABORTED",
    severity=_INFORMATIONAL,
    meaning="A person or a deadline ended an operation on the object, and what it had done was undone.",
    advice="Nothing, if that was intended.",
    of_operation=True,
)

EVENT_TYPES = (
    OBJECT_CREATED,
    OBJECT_CHANGED,
    OBJECT_DELETED,
    OBJECT_RESTORED,
    MACHINE_STARTED,
    MACHINE_RESTARTED,
    MACHINE_STOPPED,
    MACHINE_CRASHED,
    MACHINE_STOPPED_BY_GUEST,
    MACHINE_RESTART_DUE,
    MACHINE_RESTART_GIVEN_UP,
    MACHINE_STOPPED_UNEXPECTEDLY,
    SERVER_ADDED_TO_POOL,
    SERVER_REMOVED_FROM_POOL,
    SERVER_ONLINE,
    SERVER_DISCONNECTED,
    SERVER_RECONNECTED,
    SERVER_OFFLINE,
    SERVER_PROVEN_DEAD,
    SERVER_BEHIND,
    STORAGE_LOST,
    STORAGE_BACK,
    LINK_DOWN,
    LINK_UP,
    HEARTBEAT_LATE,
    HEARTBEAT_IN_TIME,
    SERVER_CAUGHT_UP,
    JOB_FAILED,
    JOB_STUCK,
    JOB_GOES_ON,
    OPERATION_POISONED,
    JOB_DEFERRED,
    OPERATION_HELD,
    OPERATION_RELEASED,
    PRIORITY_CHANGED,
    JOB_RETRIED,
    JOB_ACCEPTED,
    ABORT_REQUESTED,
    IMAGE_MISSING,
    FOREIGN_FILE,
    ROLLBACK_FAILED,
    LOCK_BROKEN,
    LOCK_ENDED,
    SCHEDULE_FAILED,
    TRIGGER_FAILED,
    TRIGGER_HELD_BACK,
    WEBHOOK_FAILED,
    TRIGGER_GAVE_UP,
    SAFETY_VIOLATED,
    RESTORED_UNKNOWN_EFFECT,
    RESTORED_UNKNOWN_GUEST,
    OPERATION_ABORTED,
    FLOOD_FOLDED,
    CERTIFICATE_ENDING,
    CERTIFICATE_RENEWED,
    CLOCK_JUMPED,
    CLOCK_AGREES,
    DATABASE_UNWRITABLE,
    DATABASE_WRITABLE,
    HOST_CLOCK_DIFFERS,
    HOST_CLOCK_AGREES,
)
"""Every type, in the order in which the documentation shows them."""

_BY_NAME = {kind.name: kind for kind in EVENT_TYPES}


def find(name: str) -> EventType | None:
    """Return the type of this name; None if the catalogue has none."""
    return _BY_NAME.get(name)


@cache
def ended_by(name: str, collection: str) -> tuple[str, ...]:
    """Return the types of what an event of this type clears, on an object of this kind."""
    return tuple(
        kind.name for kind in EVENT_TYPES if name in kind.cleared_by and (not kind.about or collection in kind.about)
    )


@cache
def is_of_operation(name: str) -> bool:
    """Return whether what an event of this type tells may last as long as its operation."""
    kind = find(name)
    return kind is not None and any(_BY_NAME[each].of_operation for each in kind.cleared_by)


def new_event(kind: EventType, subject: str, message: str, **rest: Any) -> event_pb2.Event:
    """Return an event without its name and time, which the inventory gives it.

    Args:
        kind: its type.
        subject: resource name of the object that it is about.
        message: the fact in one sentence, as a person reads it.
        rest: other fields of the event.
    """
    return event_pb2.Event(type=kind.name, severity=kind.severity, object=subject, message=message, **rest)
