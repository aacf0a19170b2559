"""Acknowledging events: what still holds is not waved through, who did it is kept, and watchers are told once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import grpc.aio
import pytest

from tests.contract.inventory.samples import GIB, create, effect, pool, repository, server
from tests.contract.inventory.served import Served
from tests.contract.inventory.test_event_watch import BOOKMARK, Frames, forget_journal
from tests.contract.inventory.test_hosts import report
from tests.contract.inventory.test_reads import execute
from tests.fakes.clock import FakeClock
from virtyard.api.inventory.v1 import event_pb2, repository_pb2, server_pb2
from virtyard.api.inventory.v1 import inventory_service_pb2 as pb
from virtyard.api.inventory.v1 import inventory_service_pb2_grpc as grpc_pb
from virtyard.api.type.v1 import watch_pb2
from virtyard.api.type.v1.annotations_pb2 import Role
from virtyard.internal.inventory.v1 import control_service_pb2
from virtyard.inventory.main import open_inventory
from virtyard.kernel import event_types
from virtyard.kernel.errors import ConditionHolds, InvalidRequest, NotFound, PermissionDenied, Unavailable, WrongState
from virtyard.kernel.permissions import Principal
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.status import errors_named

CHANGED, REMOVED, SNAPSHOT = (
    watch_pb2.FRAME_KIND_CHANGED,
    watch_pb2.FRAME_KIND_REMOVED,
    watch_pb2.FRAME_KIND_SNAPSHOT,
)


async def raised(
    served: Served, kind: event_types.EventType, subject: str, key: str, operation: str = ""
) -> event_pb2.Event:
    """Raise an event and return it as it was recorded."""
    event = event_types.new_event(kind, subject, f"{key} happened", operation=operation)
    request = control_service_pb2.RaiseEventsRequest(events=[control_service_pb2.KeyedEvent(key=key, event=event)])
    await served.control.RaiseEvents(request)
    return (await served.reads.ListEvents(pb.ListEventsRequest(page_size=1, filter=f"type = {kind.name}"))).events[0]


async def acknowledged(served: Served, name: str, comment: str = "", *, force: bool = False) -> event_pb2.Event:
    """Acknowledge an event as the operator."""
    stub = grpc_pb.InventoryServiceStub(served.dial("user/operator"))
    with errors_named():
        return await stub.AcknowledgeEvent(pb.AcknowledgeEventRequest(name=name, comment=comment, force=force))


async def test_an_event_is_open_until_somebody_acknowledges_it(served: Served) -> None:
    """Who, when, and why is kept; a second acknowledgement changes nothing."""
    event = await raised(served, event_types.JOB_FAILED, "servers/s", "1")
    assert event.open
    assert event.acknowledgeable
    done = await acknowledged(served, event.name, "seen")
    assert (done.open, done.acknowledged_by, done.comment, done.forced) == (False, "user/operator", "seen", False)
    assert done.HasField("acknowledge_time")
    assert await acknowledged(served, event.name, "again", force=True) == done
    assert await served.reads.GetEvent(pb.GetEventRequest(name=event.name)) == done
    found = (await served.reads.ListEvents(pb.ListEventsRequest(filter="open = true"))).events
    assert list(found) == []


async def test_what_needs_no_acknowledging_is_refused(served: Served) -> None:
    """A fact that calls for nothing, an event that is not there, and a name that is none."""
    event = await raised(served, event_types.SERVER_ONLINE, "servers/s", "1")
    with pytest.raises(WrongState):
        await acknowledged(served, event.name)
    for name, error in (("events/999", NotFound), ("events/" + "9" * 30, NotFound), ("events/x", NotFound)):
        with pytest.raises(error):
            await acknowledged(served, name)
    with pytest.raises(InvalidRequest, match="comment"):
        await acknowledged(served, event.name, "x" * 4001)


async def test_a_viewer_may_not_acknowledge(served: Served) -> None:
    """It lets operations through, so it takes an operator."""
    event = await raised(served, event_types.JOB_FAILED, "servers/s", "1")
    with pytest.raises(PermissionDenied), errors_named():
        await served.reads.AcknowledgeEvent(pb.AcknowledgeEventRequest(name=event.name))


async def test_what_cannot_be_looked_at_takes_force_which_is_recorded(served: Served) -> None:
    """Without a lock service it cannot be told whether the operation still holds locks."""
    event = await raised(served, event_types.ROLLBACK_FAILED, "servers/s", "1", "operations/7")
    with pytest.raises(Unavailable):
        await acknowledged(served, event.name)
    assert (await acknowledged(served, event.name, force=True)).forced
    # Force where none is needed is not recorded as such.
    other = await raised(served, event_types.JOB_FAILED, "servers/s", "2")
    assert not (await acknowledged(served, other.name, force=True)).forced


async def test_an_event_clears_what_it_ends(served: Served) -> None:
    """On the same object; of the same operation, wherever, if it tells of an operation's end; and nothing else."""
    offline = await raised(served, event_types.SERVER_OFFLINE, "servers/s", "1")
    other = await raised(served, event_types.SERVER_OFFLINE, "servers/t", "2")
    held = await raised(served, event_types.OPERATION_HELD, "servers/s", "3", "operations/3")
    online = await raised(served, event_types.SERVER_ONLINE, "servers/s", "4")
    aborted = await raised(served, event_types.OPERATION_ABORTED, "virtualMachines/m", "5", "operations/3")
    await raised(served, event_types.OPERATION_ABORTED, "servers/t", "6", "operations/4")
    read = {event.name: event for event in (await served.reads.ListEvents(pb.ListEventsRequest(page_size=100))).events}
    for name, by in ((offline.name, online.name), (held.name, aborted.name)):
        assert (read[name].cleared, read[name].cleared_by, read[name].open) == (True, by, False)
        assert read[name].clear_time == read[by].create_time
    assert read[other.name].open


async def test_an_effect_clears_what_it_ends(served: Served) -> None:
    """What failed on a name is over once an object of that name was made."""
    failed = await raised(served, event_types.JOB_FAILED, "serverPools/p", "1")
    await execute(served, effect("9/1/1", create(pool("p"))))
    read = await served.reads.GetEvent(pb.GetEventRequest(name=failed.name))
    created = (await served.reads.ListEvents(pb.ListEventsRequest(filter="type = OBJECT_CREATED"))).events[0]
    assert (read.cleared, read.cleared_by) == (True, created.name)


async def test_a_watcher_is_told_once_of_what_becomes_of_an_event_wherever_it_was_cut(served: Served) -> None:
    """The same frames come live, by every token that there is, and to a filter that they leave."""
    watch, open_ones = Frames(served), Frames(served, "open = true")
    tokens = [(await watch.next()).resume_token]
    await open_ones.until(BOOKMARK)
    event = await raised(served, event_types.JOB_FAILED, "servers/s", "1")
    other = await raised(served, event_types.SERVER_OFFLINE, "servers/s", "2")
    done = await acknowledged(served, event.name, "seen")
    frames = await watch.take(3)
    assert [(frame.name, frame.kind, frame.revised) for frame in frames] == [
        (event.name, CHANGED, False),
        (other.name, CHANGED, False),
        (event.name, CHANGED, True),
    ]
    assert frames[2].event == done
    assert [frame.kind for frame in await open_ones.take(3)] == [CHANGED, CHANGED, REMOVED]
    tokens += [frame.resume_token for frame in frames]
    for place, token in enumerate(tokens[:-1]):
        again = Frames(served, token=token)
        assert await again.take(3 - place) == frames[place:]


async def test_a_new_watcher_is_shown_each_event_as_it_is(served: Served) -> None:
    """Once, where it was last told, in an order that can be cut anywhere."""
    event = await raised(served, event_types.JOB_FAILED, "servers/s", "1")
    other = await raised(served, event_types.SERVER_OFFLINE, "servers/s", "2")
    await acknowledged(served, event.name)
    snapshot = await Frames(served).until(BOOKMARK)
    assert [frame.name for frame in snapshot] == [other.name, event.name, ""]
    assert [frame.kind for frame in snapshot[:-1]] == [SNAPSHOT, SNAPSHOT]
    assert await Frames(served, token=snapshot[0].resume_token).until(BOOKMARK) == snapshot[1:]
    left = await Frames(served, "open = true").until(BOOKMARK)
    assert [frame.name for frame in left] == [other.name, ""]


async def test_the_worst_open_event_is_found(served: Served) -> None:
    """The gravest, then the latest; with what belongs to the object if that is asked for; none is an answer too."""
    await execute(served, effect("9/1/1", create(pool("p"))))
    request = pb.GetTriageEventRequest(name="serverPools/p")
    empty = await served.reads.GetTriageEvent(request)
    assert not empty.HasField("event")
    first = await raised(served, event_types.JOB_FAILED, "serverPools/p", "1")
    second = await raised(served, event_types.JOB_FAILED, "serverPools/p", "2")
    answer = await served.reads.GetTriageEvent(request)
    assert (answer.event, answer.open_events) == (second, 2)
    await acknowledged(served, second.name)
    assert (await served.reads.GetTriageEvent(request)).event == first
    worst = await raised(served, event_types.SAFETY_VIOLATED, "serverPools/p", "3")
    assert (await served.reads.GetTriageEvent(request)).event == worst
    with pytest.raises(InvalidRequest, match="name"), errors_named():
        await served.reads.GetTriageEvent(pb.GetTriageEventRequest(name="p"))


async def test_many_are_acknowledged_by_a_filter(served: Served) -> None:
    """Each by itself: one that cannot be is told with its reason, and the others are; a rehearsal changes nothing."""
    failed = [await raised(served, event_types.JOB_FAILED, "servers/s", str(number)) for number in range(3)]
    stuck = await raised(served, event_types.ROLLBACK_FAILED, "servers/s", "4", "operations/7")
    stub = grpc_pb.InventoryServiceStub(served.dial("user/operator"))
    for rehearsal in (True, False):
        request = pb.AcknowledgeEventsRequest(filter="object = servers/s", comment="tidied", validate_only=rehearsal)
        answer = await stub.AcknowledgeEvents(request)
        assert [(one.event, one.acknowledged) for one in answer.acknowledgements] == [
            *((event.name, True) for event in failed),
            (stuck.name, False),
        ]
        assert "lock" in answer.acknowledgements[-1].refusal
        left = (await served.reads.ListEvents(pb.ListEventsRequest(filter="open = true"))).events
        assert len(left) == (4 if rehearsal else 1)
    with pytest.raises(InvalidRequest, match="filter"), errors_named():
        await stub.AcknowledgeEvents(pb.AcknowledgeEventsRequest(filter=" "))


async def test_an_acknowledgement_outlasts_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    """Lost in the answer and asked for again, it is the first one; who watched from before is told of it, once."""

    async def opened(stack: AsyncExitStack, hook: Callable[[str], None] | None = None) -> Served:
        inventory = await stack.enter_async_context(open_inventory(tmp_path, clock, transition_hook=hook))

        def dial(identity: str) -> grpc.aio.Channel:
            return channels[identity]

        roles = {"user/operator": frozenset({Role.ROLE_OPERATOR}), "user/viewer": frozenset({Role.ROLE_VIEWER})}
        channels = {
            identity: await stack.enter_async_context(
                LocalChannel(inventory.services, Principal.of(identity, roles.get(identity, frozenset())))
            )
            for identity in ("user/operator", "user/viewer", "service/jobs")
        }
        return Served(inventory=inventory, dial=dial)

    async with AsyncExitStack() as stack:
        transitions: list[str] = []
        served = await opened(stack, transitions.append)
        token = (await Frames(served).next()).resume_token
        event = await raised(served, event_types.JOB_FAILED, "servers/s", "1")
        done = await acknowledged(served, event.name, "seen")
        assert "inventory.acknowledged" in transitions, "the point at which faults are injected"
    clock.advance(60)
    async with AsyncExitStack() as stack:
        served = await opened(stack)
        assert await acknowledged(served, event.name, "again") == done
        frames = await Frames(served, token=token).take(2)
        assert [(frame.name, frame.revised) for frame in frames] == [(event.name, False), (event.name, True)]
        assert frames[1].event == done
        await raised(served, event_types.SERVER_OFFLINE, "servers/s", "2")
        assert (await Frames(served, token=frames[1].resume_token).next()).event.type == "SERVER_OFFLINE"


async def test_behind_a_gap_it_is_told_what_became_of_older_events(served: Served) -> None:
    """Where the journal has forgotten, what was told behind a watcher's place comes once, as it is, cut anywhere."""
    events = [await raised(served, event_types.JOB_FAILED, "servers/s", str(number)) for number in range(3)]
    await raised(served, event_types.SERVER_ONLINE, "servers/s", "fact")
    token = (await Frames(served).until(BOOKMARK))[-1].resume_token
    for event in (events[2], events[0]):
        await acknowledged(served, event.name)
    late = await raised(served, event_types.SERVER_OFFLINE, "servers/s", "late")
    await forget_journal(served)
    served.inventory.feed._ring.clear()
    frames = await Frames(served, token=token).until(BOOKMARK)
    assert [frame.name for frame in frames] == ["", events[2].name, events[0].name, late.name, ""]
    assert [frame.revised for frame in frames[1:4]] == [True, True, False]
    for place in range(1, 4):
        cut = await Frames(served, token=frames[place].resume_token).until(BOOKMARK)
        assert [frame.name for frame in cut if frame.name] == [frame.name for frame in frames[place + 1 : -1]]
    left = await Frames(served, "open = true AND type = JOB_FAILED", token).until(BOOKMARK)
    assert [(frame.kind, frame.name) for frame in left[1:-1]] == [(REMOVED, events[2].name), (REMOVED, events[0].name)]


async def test_what_still_holds_of_a_warning_is_kept_and_of_something_critical_refused(
    served: Served, clock: FakeClock
) -> None:
    """A person who has seen that a server is offline may say so; who would let operations through must force it."""
    made = [create(server("s", memory=GIB)), create(server("t", memory=GIB)), create(presented("r", "servers/s"))]
    await execute(served, effect("1/1/1", *made))
    clock.advance(40)
    await served.inventory.presence.sweep()
    await served.host("t").ReportHost(report("t"))
    found = (await served.reads.ListEvents(pb.ListEventsRequest(filter="type = SERVER_OFFLINE"))).events
    events = {event.object: event.name for event in found}
    done = await acknowledged(served, events["servers/s"], "seen")
    assert (done.still_held, done.forced, done.open) == ("servers/s is offline", False, False)
    assert (await acknowledged(served, events["servers/t"])).still_held == "", "it is back"
    lost = report("s", sequence=2)
    lost.host.repositories.add(
        repository="repositories/r", uid="uid-r", state=server_pb2.STORAGE_STATE_LOST, reason="it is gone"
    )
    await served.host("s").ReportHost(lost)
    (event,) = (await served.reads.ListEvents(pb.ListEventsRequest(filter="type = STORAGE_LOST"))).events
    with pytest.raises(ConditionHolds, match="repositories/r is not there on servers/s"):
        await acknowledged(served, event.name)
    many = pb.AcknowledgeEventsRequest(filter="type = STORAGE_LOST", validate_only=True)
    stub = grpc_pb.InventoryServiceStub(served.dial("user/operator"))
    (told,) = (await stub.AcknowledgeEvents(many)).acknowledgements
    assert (told.acknowledged, "still holds" in told.refusal) == (False, True)
    forced = await acknowledged(served, event.name, force=True)
    assert (forced.forced, forced.still_held) == (True, "repositories/r is not there on servers/s")


def presented(name: str, where: str) -> repository_pb2.Repository:
    """Return a repository that is ready and presented to a server."""
    made = repository(name)
    made.state = repository_pb2.REPOSITORY_STATE_READY
    made.servers.append(where)
    return made
