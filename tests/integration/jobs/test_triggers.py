"""Triggers: one operation for each event, whatever ends in between, within bounds, and no answer to themselves."""

from __future__ import annotations

import asyncio
import uuid
from functools import partial
from typing import Any

import pytest
from google.protobuf.message import Message

from tests.integration.jobs.site import Site
from virtyard.api.inventory.v1 import event_pb2, trigger_pb2
from virtyard.api.jobs.v1 import automation_service_pb2, automation_service_pb2_grpc, job_pb2
from virtyard.api.operations.v1 import (
    create_trigger_pb2,
    delete_trigger_pb2,
    refresh_repository_pb2,
    update_repository_pb2,
    update_trigger_pb2,
)
from virtyard.internal.inventory.v1 import control_service_pb2, control_service_pb2_grpc
from virtyard.internal.jobs.v1 import record_pb2
from virtyard.jobs import triggers
from virtyard.jobs.automatic import AutomaticSubmission
from virtyard.jobs.run_states import RunStates
from virtyard.jobs.triggers import Triggers
from virtyard.kernel import event_types
from virtyard.kernel.plan import pack
from virtyard.runtime.database import Transaction
from virtyard.runtime.resume_point import ResumePoint

LABELLED = update_repository_pb2.UpdateRepositoryRequest
"""What most triggers here submit: it changes labels, so it needs no host."""


def labelled(value: str = "{event.name}") -> Message:
    """Return the request that notes an event on the repository that it is about."""
    request = LABELLED()
    request.repository.name, request.repository.labels["seen"] = "{event.object}", value
    return request


async def define(
    site: Site, do: Message, events: str = "type = FOREIGN_FILE", trigger_id: str = "look", **fields: Any
) -> None:
    """Make a trigger."""
    wanted = trigger_pb2.Trigger(event_filter=events, request=pack(do), **fields)
    await site.succeed(create_trigger_pb2.CreateTriggerRequest(trigger_id=trigger_id, trigger=wanted))


async def tell(
    site: Site, key: str, subject: str = "repositories/R", kind: event_types.EventType = event_types.FOREIGN_FILE
) -> None:
    """Record an event, of the type that triggers here wait for if no other is said."""
    stub: Any = control_service_pb2_grpc.ControlServiceStub(site._near["inventory"])
    request = control_service_pb2.RaiseEventsRequest()
    request.events.add(key=key, event=event_types.new_event(kind, subject, f"{key} is there"))
    await stub.RaiseEvents(request)


async def status(site: Site, name: str = "triggers/look") -> automation_service_pb2.TriggerStatus:
    """Return what a trigger has done."""
    stub: Any = automation_service_pb2_grpc.AutomationServiceStub(site._near["jobs"])
    request = automation_service_pb2.GetTriggerStatusRequest(name=name)
    found: automation_service_pb2.TriggerStatus = await stub.GetTriggerStatus(request)
    return found


async def wait_for(site: Site, what: str, count: int, name: str = "triggers/look") -> Any:
    """Wait until a count of a trigger has been reached, and return its status."""

    async def reached() -> bool:
        return bool(getattr(await status(site, name), what) >= count)

    await site.wait_until(reached)
    return await status(site, name)


async def looked_at(site: Site, name: str) -> None:
    """Wait until it is durable that the scheduler has looked at the last event about an object."""
    number = max(int(event.name.partition("/")[2]) for event in await site.events(name, "INFORMATIONAL"))

    async def kept() -> bool:
        return any(ResumePoint.parse(token).sequence >= number for token in await kept_places(site))

    await site.wait_until(kept)
    # Behind the commit's own transitions, which are told once it is durable.
    await site.jobs.database.write(lambda _: None)


async def kept_places(site: Site) -> list[str]:
    """Return up to where the events were looked at; one token, or none yet."""
    rows = await site.jobs.database.read(lambda it: it.execute("SELECT token FROM event_tail").fetchall())
    return [token for (token,) in rows]


async def fired(site: Site) -> list[record_pb2.OperationRecord]:
    """Return the records of the operations that came of events, the oldest first."""
    operations = await site.jobs.scheduler.world.store.operations_before(1 << 40, 1000)
    found = [each.record for each in operations if each.record.origin == job_pb2.ORIGIN_EVENT]
    return sorted(found, key=lambda record: record.number)


async def test_an_event_has_its_operation_submitted_with_its_causes(site: Site) -> None:
    """In the name of who made the trigger, with the event in the request, the chain of causes, and shown by `show`."""
    await define(site, labelled())
    await looked_at(site, "triggers/look")
    before = len(site.transitions)
    for number in range(20):
        await tell(site, f"of no consequence {number}", kind=event_types.IMAGE_MISSING)
    await tell(site, "a")
    shown = await wait_for(site, "runs", 1)
    # Events that nothing waits for cost no commit, and one that has its operation none beside that operation's own.
    assert not {"jobs.run_state", "jobs.event_tail", "jobs.repeated"}.intersection(site.transitions[before:])
    operation = await site.wait(shown.last_operation)
    assert not operation.HasField("error")
    (record,) = await fired(site)
    assert f"operations/{record.number}" == shown.last_operation
    assert (record.principal, record.options.reason) == ("user/admin", "triggers/look: a is there")
    assert [link.source for link in record.reason_trail] == ["triggers/look"]
    assert record.reason_trail[0].reason == "FOREIGN_FILE on repositories/R"
    (job,) = await site.jobs_of(operation.name)
    assert job.origin == job_pb2.ORIGIN_EVENT
    assert dict((await site.objects())["repositories/R"].labels)["seen"].startswith("events/")  # type: ignore[attr-defined]  # a repository
    assert (shown.trigger.owner, shown.failed, shown.left_out) == ("user/admin", 0, 0)


async def test_what_came_before_it_or_while_it_rests_is_not_made_up_for(site: Site) -> None:
    """Only what is recorded while a trigger is there and enabled fires it."""
    await tell(site, "before")
    await define(site, labelled(), state=trigger_pb2.TRIGGER_STATE_DISABLED)
    await define(
        site, labelled("other"), trigger_id="other", events='type = FOREIGN_FILE AND object = "repositories/R"'
    )
    await tell(site, "resting")
    await wait_for(site, "runs", 1, "triggers/other")
    changed = update_trigger_pb2.UpdateTriggerRequest()
    changed.trigger.name, changed.trigger.state = "triggers/look", trigger_pb2.TRIGGER_STATE_ENABLED
    await site.succeed(changed)
    await tell(site, "awake")
    await wait_for(site, "runs", 2, "triggers/other")
    assert (await wait_for(site, "runs", 1)).runs == 1
    await site.succeed(delete_trigger_pb2.DeleteTriggerRequest(name="triggers/look"))
    await tell(site, "gone")
    await wait_for(site, "runs", 3, "triggers/other")
    assert [record.reason_trail[0].source for record in await fired(site)].count("triggers/look") == 1


@pytest.mark.parametrize("transition", ["jobs.C1", "jobs.Ct", "inventory.I"])
async def test_a_scheduler_that_ends_in_between_submits_it_once(site: Site, transition: str) -> None:
    """Ended right after a durable transition of what an event set off, the next one neither repeats nor loses it."""
    await define(site, labelled())
    await define(site, labelled("other"), trigger_id="other")
    await site.wait_released()
    reached, loop = asyncio.Event(), asyncio.get_running_loop()

    def notice(name: str) -> None:
        if name == transition:
            loop.call_soon_threadsafe(reached.set)

    site.on_transition = notice
    await tell(site, "a")
    async with asyncio.timeout(20):
        await reached.wait()
    site.on_transition = lambda _: None
    await site.close_jobs()
    await tell(site, "b")
    await site.open_jobs()
    for name in ("triggers/look", "triggers/other"):
        assert (await wait_for(site, "runs", 2, name)).runs == 2
    records = await fired(site)
    for record in records:
        operation = await site.wait(f"operations/{record.number}")
        assert not operation.HasField("error")
    assert sorted(record.options.reason for record in records) == [
        f"triggers/{name}: {key} is there" for name in ("look", "other") for key in ("a", "b")
    ]


async def test_without_one_commit_an_event_is_lost(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place is kept before the submission: ended in between, the next scheduler passes the event by (P31)."""
    kept, fire = asyncio.Event(), Triggers._fire

    async def apart(triggers: Triggers, trigger: trigger_pb2.Trigger, event: event_pb2.Event, token: str) -> None:
        await triggers._states.save_token(token)
        kept.set()
        await asyncio.Event().wait()

    await define(site, labelled())
    monkeypatch.setattr(Triggers, "_fire", apart)
    await tell(site, "a")
    async with asyncio.timeout(20):
        await kept.wait()
    await site.close_jobs()
    monkeypatch.setattr(Triggers, "_fire", fire)
    await tell(site, "b")
    await site.open_jobs()
    await wait_for(site, "runs", 1)
    assert [record.options.reason for record in await fired(site)] == ["triggers/look: b is there"]


@pytest.mark.parametrize("derived", [True, False])
async def test_without_one_commit_an_event_is_answered_twice(
    site: Site, monkeypatch: pytest.MonkeyPatch, derived: bool
) -> None:
    """The place is kept after it: only a request id that follows from the event finds the first operation (P31)."""
    submitted, submit = asyncio.Event(), AutomaticSubmission.submit

    async def stand_still(automatic: AutomaticSubmission, request: Message, **fields: Any) -> Any:
        await submit(automatic, request, **fields)
        submitted.set()
        await asyncio.Event().wait()

    await define(site, labelled())
    if not derived:
        monkeypatch.setattr(triggers, "_request_id", lambda *_: str(uuid.uuid4()))
    with monkeypatch.context() as patch:
        patch.setattr(RunStates, "put", lambda *_: None)
        patch.setattr(AutomaticSubmission, "submit", stand_still)
        await tell(site, "a")
        async with asyncio.timeout(20):
            await submitted.wait()
        await site.close_jobs()
    await site.open_jobs()
    await tell(site, "b")
    # What had been submitted before is not counted as another run.
    await wait_for(site, "runs", 1 if derived else 2)
    assert len(await fired(site)) == (2 if derived else 3)


async def test_a_trigger_does_not_answer_itself(site: Site) -> None:
    """What its own operation tells fires it no more; another trigger that it sets off has the whole chain."""
    changes = 'type = OBJECT_CHANGED AND object = "repositories/R"'
    await define(
        site, labelled(), events='object = "repositories/R" AND (type = OBJECT_CHANGED OR type = FOREIGN_FILE)'
    )
    other = LABELLED()
    other.repository.name, other.repository.description = "{event.object}", "{event.name}"
    await define(site, other, events=changes, trigger_id="other")
    await tell(site, "a")
    assert (await wait_for(site, "left_out", 2)).runs == 1
    after = await wait_for(site, "left_out", 1, "triggers/other")
    assert after.runs == 1
    trails = [[link.source for link in record.reason_trail] for record in await fired(site)]
    assert trails[0] == ["triggers/look"]
    assert trails[1] == ["triggers/look", f"operations/{(await fired(site))[0].number}", "triggers/other"]
    assert len(trails) == 2
    (told,) = await site.events("triggers/look")
    assert told.type == "TRIGGER_HELD_BACK"


async def test_more_than_its_limit_is_left_out_and_told_once(site: Site) -> None:
    """Two in an hour are two; the third and fourth are counted, and one warning tells of both."""
    await define(site, labelled(), hourly_limit=2)
    for key in ("a", "b", "c", "d"):
        await tell(site, key)
    shown = await wait_for(site, "left_out", 2)
    assert (shown.runs, shown.left_out, len(await fired(site))) == (2, 2, 2)
    await site.close_jobs()
    await site.open_jobs()
    await tell(site, "e")
    assert (await wait_for(site, "left_out", 3)).runs == 2

    async def told_once() -> bool:
        return [event.type for event in await site.events("triggers/look")] == ["TRIGGER_HELD_BACK"]

    await site.wait_until(told_once)


async def test_an_event_that_is_looked_at_again_takes_nothing_of_the_limit(site: Site) -> None:
    """Its operation is found by the request id and was counted when it was new, so there is room for the next event."""
    await define(site, labelled(), hourly_limit=4)
    await looked_at(site, "triggers/look")
    (place,) = await kept_places(site)
    for key in ("a", "b", "c"):
        await tell(site, key)
    await wait_for(site, "runs", 3)
    await site.wait_released()
    await site.jobs.database.write(partial(put_place, place=place))
    await site.close_jobs()
    await site.open_jobs()
    await tell(site, "d")
    assert (await wait_for(site, "runs", 4)).left_out == 0
    await tell(site, "e")
    assert (await wait_for(site, "left_out", 1)).runs == 4
    assert [record.options.reason for record in await fired(site)] == [
        f"triggers/look: {key} is there" for key in ("a", "b", "c", "d")
    ]


def put_place(transaction: Transaction, *, place: str) -> None:
    """Have the events looked at again from a place on."""
    transaction.execute("UPDATE event_tail SET token = ?", (place,))
    transaction.transition("jobs.event_tail")


async def test_a_request_that_is_refused_is_told_and_passed_by(site: Site) -> None:
    """The next event is taken as if nothing had been."""
    await define(site, refresh_repository_pb2.RefreshRepositoryRequest(name="{event.object}"))
    await tell(site, "a", "repositories/gone")
    failed = await wait_for(site, "failed", 1)
    assert "repositories/gone does not exist" in failed.last_error

    async def told() -> bool:
        return [event.type for event in await site.events("triggers/look")] == ["TRIGGER_FAILED"]

    await site.wait_until(told)
    await tell(site, "b")
    shown = await wait_for(site, "runs", 1)
    assert (shown.failed, shown.last_error) == (1, "")


async def test_a_trigger_does_what_its_owner_may_do_now(site: Site) -> None:
    """Its owner's last certificate counts: less than the request needs ends it with an event, until he has it again."""

    def issue(*roles: str) -> None:
        site.authority.issue("user/admin", site.folder / "certificates" / "admin", roles=roles)

    await define(site, labelled())
    await tell(site, "nothing is noted of him")
    await wait_for(site, "runs", 1)
    for failed, roles in enumerate((["viewer"], []), 1):
        issue(*roles)
        await tell(site, f"as {roles}")
        shown = await wait_for(site, "failed", failed)
        assert f"needs the role operator; user/admin has {', '.join(roles) or 'none'}" in shown.last_error

    async def told() -> bool:
        return [event.type for event in await site.events("triggers/look")] == ["TRIGGER_FAILED"] * 2

    # It is delivered behind the count that says so.
    await site.wait_until(told)
    issue("operator")
    await tell(site, "as operator")
    assert (await wait_for(site, "runs", 2)).failed == 2
    assert len(await fired(site)) == 2
