"""Defects of one operation type: its trigger tells of them, and the others go on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from tests.integration.jobs.receiver import receiving
from tests.integration.jobs.site import Site
from tests.integration.jobs.test_retries import REFRESH, fail, types
from tests.integration.jobs.test_triggers import define, fired, labelled, status, tell, wait_for
from tests.integration.jobs.test_webhooks import define as define_webhook
from tests.integration.jobs.test_webhooks import until
from virtyard.jobs import retries
from virtyard.jobs.triggers import Triggers
from virtyard.kernel import event_types
from virtyard.kernel.errors import WrongState
from virtyard.operations.contract import OperationType

MISSING = 'type = IMAGE_MISSING AND object = "repositories/R"'


def spoil(site: Site, monkeypatch: pytest.MonkeyPatch, name: str, *ways: Exception, ever: bool = False) -> None:
    """Have the planner of a type fail in these ways, one after the other; for ever in the last of them, if asked to."""
    operations = cast("dict[str, OperationType]", site.jobs.scheduler.world.operations)
    (method,) = [method for method in operations if method.endswith(f".{name}")]
    kind, left = operations[method], list(ways)

    def plan(*arguments: Any) -> Any:
        if left:
            raise left[0] if ever and len(left) == 1 else left.pop(0)
        return kind.plan(*arguments)

    monkeypatch.setitem(operations, method, replace(kind, plan=plan))


async def test_a_defect_of_one_type_keeps_back_no_other_trigger_and_no_webhook(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told once, counted, and the events after it, and the same one, go to whoever else waits for them."""
    with receiving() as receiver:
        await define(site, REFRESH, trigger_id="bad")
        await define(site, labelled(), events=f"type = FOREIGN_FILE OR {MISSING}")
        await define_webhook(site, receiver.url, event_filter=MISSING)
        await site.wait_released()
        spoil(site, monkeypatch, "RefreshRepository", ValueError("a defect"), ever=True)
        await tell(site, "a")
        await tell(site, "b", kind=event_types.IMAGE_MISSING)
        await wait_for(site, "runs", 2)
        await until(site, lambda shown: shown.delivered == 1)
    bad = await status(site, "triggers/bad")
    assert (bad.runs, bad.failed) == (0, 1)
    assert "in the log of the job service under the reference" in bad.last_error

    async def told() -> bool:
        return await types(site, "triggers/bad") == ["TRIGGER_FAILED"]

    await site.wait_until(told)
    monkeypatch.undo()
    await tell(site, "c")
    assert (await wait_for(site, "runs", 1, "triggers/bad")).last_error == ""
    await wait_for(site, "runs", 3)
    assert len(await fired(site)) == 4


async def test_trouble_with_the_causes_of_an_event_keeps_back_no_other_trigger(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else fails before a request is submitted is told in the same way."""
    trail_of = Triggers._trail_of

    async def stumble(triggers: Triggers, event: Any) -> Any:
        if event.message.startswith("a "):
            raise ValueError("a defect")
        return await trail_of(triggers, event)

    await define(site, labelled())
    monkeypatch.setattr(Triggers, "_trail_of", stumble)
    await tell(site, "a")
    await tell(site, "b")
    shown = await wait_for(site, "runs", 1)
    assert (shown.runs, shown.failed) == (1, 1)


async def test_a_defect_in_a_retry_keeps_back_no_other_retry(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up with an event, and the one behind it has its turn."""
    monkeypatch.setattr(retries, "_FIRST_PAUSE", timedelta(seconds=0.02))
    await define(site, REFRESH, trigger_id="bad", retry_limit=2)
    await define(site, labelled(), retry_limit=2)
    await site.wait_released()
    spoil(site, monkeypatch, "RefreshRepository", WrongState("not now"), ValueError("a defect"), ever=True)
    spoil(site, monkeypatch, "UpdateRepository", WrongState("not now"))
    await tell(site, "a")
    await wait_for(site, "runs", 1)

    async def given_up() -> bool:
        return await types(site, "triggers/bad") == ["TRIGGER_GAVE_UP"]

    await site.wait_until(given_up)
    assert not (await status(site, "triggers/bad")).retry_times
    assert (await status(site, "triggers/bad")).failed == 2


async def test_an_error_that_nobody_expects_in_one_retry_keeps_back_no_other(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where even giving up fails, the others have their turn."""
    monkeypatch.setattr(retries, "_FIRST_PAUSE", timedelta(seconds=0.02))
    submit_due = retries.Retries._submit_due

    async def stumble(self: retries.Retries, trigger: Any) -> None:
        if trigger.name == "triggers/bad":
            raise ValueError("a defect")
        await submit_due(self, trigger)

    await define(site, REFRESH, trigger_id="bad")
    await define(site, labelled(), retry_limit=2)
    await site.wait_released()
    monkeypatch.setattr(retries.Retries, "_submit_due", stumble)
    spoil(site, monkeypatch, "UpdateRepository", WrongState("not now"))
    await tell(site, "a")
    assert (await wait_for(site, "runs", 1)).failed == 1


async def test_a_failure_that_cannot_be_tried_again_keeps_back_no_later_event(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the type of what failed is not known any more."""

    def fail_to_read(_: object) -> None:
        raise ValueError("a defect")

    await define(site, REFRESH, trigger_id="bad", retry_limit=2)
    await define(site, labelled(), events=MISSING)
    monkeypatch.setattr(retries, "unpack", fail_to_read)
    fail(site, 1)
    await tell(site, "a")
    await site.wait((await wait_for(site, "runs", 1, "triggers/bad")).last_operation)
    await tell(site, "b", kind=event_types.IMAGE_MISSING)
    await wait_for(site, "runs", 1)
    assert not (await status(site, "triggers/bad")).retry_times
