"""Safety violations in metrics: each check that meets one is given one, in the real part, and its counter rises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.contract.inventory.samples import create, effect, locked, pool
from tests.fakes.clock import FakeClock
from tests.integration.agent.scenario import create_disk, create_repository, scheduler
from tests.integration.jobs.site import furnish, machine, running
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.participant.v1 import participant_service_pb2_grpc as participant_grpc
from virtyard.api.type.v1 import lock_pb2
from virtyard.inventory.main import open_inventory
from virtyard.jobs import schedule
from virtyard.kernel.errors import InternalError
from virtyard.kernel.invariants import Invariant, broken
from virtyard.kernel.job_states import JobEvent, JobState, next_job_state
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.permissions import Principal
from virtyard.locks.main import open_locks
from virtyard.locks.model import LockSet, LockWish
from virtyard.locks.session import Session
from virtyard.locks.table import LockTable
from virtyard.runtime.entry import Entry
from virtyard.runtime.feed import Feed
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.metrics import Metrics


def risen(metrics: Metrics) -> dict[str, float]:
    """Return the violations that were counted."""
    return {labels[0]: count for labels, count in metrics.safety_violations.values.items() if count}


async def test_inventory_counts_effects_without_cover_and_keys_of_two_effects(tmp_path: Path) -> None:
    """A write that no lock covers, and another payload under a key: each is refused and counted once."""
    metrics = Metrics()
    async with (
        open_inventory(tmp_path, FakeClock(), metrics=metrics) as inventory,
        LocalChannel(inventory.services, Principal.of("service/jobs")) as channel,
    ):
        stub: Any = participant_grpc.ParticipantServiceStub(channel)

        async def send(*effects: participant.Effect) -> Sequence[participant.EffectRecord]:
            async def once() -> AsyncIterator[participant.ExecuteRequest]:
                yield participant.ExecuteRequest(effects=effects)

            answers = [answer async for answer in stub.Execute(once())]
            return [report.result for answer in answers for report in answer.reports]

        elsewhere = locked(("servers/s", lock_pb2.LOCK_MODE_X, 1))
        await send(effect("1/1/1", create(pool("p"))))
        assert risen(metrics) == {}
        (record,) = await send(effect("1/1/2", create(pool("q")), locks=elsewhere))
        assert record.state == participant.EFFECT_STATE_FAILED
        assert risen(metrics) == {"lock_coverage": 1}
        (record,) = await send(effect("1/1/1", create(pool("other")), target="serverPools/p"))
        assert record.state == participant.EFFECT_STATE_FAILED
        assert risen(metrics) == {"lock_coverage": 1, "effect_once": 1}
    counted = metrics.effects.values
    assert counted["inventory", "WriteObjects", "DONE"] == 1
    assert counted["inventory", "WriteObjects", "FAILED"] == 2


async def test_agent_counts_effects_without_cover_and_keys_of_two_effects(tmp_path: Path) -> None:
    """The host refuses and counts the same two; what was done is counted with the time that it took."""
    metrics = Metrics()
    async with scheduler(tmp_path, metrics=metrics) as jobs:
        await jobs.run(create_repository(tmp_path))
        await jobs.run(create_disk(tmp_path, "9/1/1"))
        assert risen(metrics) == {}
        uncovered = create_disk(tmp_path, "9/2/1")
        uncovered.locks[0].mode = lock_pb2.LOCK_MODE_IX
        await jobs.run(uncovered)
        assert risen(metrics) == {"lock_coverage": 1}
        await jobs.run(create_disk(tmp_path, "9/1/1", size=1 << 22))
        assert risen(metrics) == {"lock_coverage": 1, "effect_once": 1}
        assert metrics.effects.values["agent", "CreateDiskFile", "DONE"] == 1
        assert sum(metrics.effect_duration.series["agent", "CreateDiskFile"][:-1]) == 1
        await metrics.look()
        assert metrics.effects_running.values[()] == 0
        assert metrics.scrape_stale.values["agent.host",] == 0


async def test_locks_count_a_second_exclusive_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the table's own check switched off, the index of the database refuses, and that is a violation."""
    metrics = Metrics()
    async with open_locks(tmp_path, FakeClock(), metrics=metrics) as locks:
        session = Session()
        reports = session.reports()

        async def ask(owner: str) -> None:
            wish = LockWish(object="servers/a", mode=LockMode.X)
            await locks.service.ask(session, LockSet(owner=owner, epoch=1, locks=(wish,), purpose="test"))
            async with asyncio.timeout(10):
                await anext(reports)

        await ask("operations/1")
        monkeypatch.setattr(LockTable, "_excluded", lambda *_: False)
        assert risen(metrics) == {}
        with pytest.raises(InternalError):
            await ask("operations/2")
        assert risen(metrics) == {"lock_exclusion": 1}


async def test_feed_counts_a_gap() -> None:
    """An entry that does not follow the last one is shown to nobody, and counted."""
    metrics, feed = Metrics(), Feed("things")
    metrics.watch_feed(feed)
    with pytest.raises(InternalError, match="stands at 0 and was given 2"):
        feed.publish([Entry(sequence=2, topic="a", key="x", body=b"")])
    assert risen(metrics) == {"feed_order": 1}


@pytest.mark.parametrize("line", ["table", "trigger"])
async def test_scheduler_counts_a_change_of_state_that_the_table_does_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """A job that leaves the table is stopped by the table, or behind it by the database; it goes on later."""
    async with running(tmp_path, "s1") as site:
        await furnish(site)
        metrics = site.jobs.scheduler._metrics
        wrong = 1

        def change(state: int, event: JobEvent) -> JobState:
            nonlocal wrong
            if event is JobEvent.COMPLETE and wrong:
                wrong -= 1
                if line == "table":
                    raise broken(Invariant.STATE_TABLE, "a job that is PENDING cannot take COMPLETE")
                return JobState.WAITING_FOR_LOCKS
            return next_job_state(state, event)

        monkeypatch.setattr(schedule, "next_job_state", change)
        await site.succeed(machine("web"))
        assert risen(metrics) == {"state_table": 1}


async def test_what_is_due_is_counted_until_it_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that cannot be done stays counted while it waits for its next try, and is gone once it is done."""
    async with running(tmp_path, "s1") as site:
        await furnish(site)
        due = site.jobs.scheduler._due

        async def none_due() -> bool:
            return due.pending == 0

        await site.wait_until(none_due)
        tries = 0
        do = due._do

        async def fail_twice(items: Any) -> Any:
            nonlocal tries
            tries += 1
            assert due.pending == 1
            return items if tries < 3 else await do(items)

        monkeypatch.setattr(due, "_do", fail_twice)
        await site.succeed(machine("web"))
        await site.jobs.scheduler._show_metrics()
        assert site.jobs.scheduler._metrics.due_items.values[()] == 1
        await site.wait_until(none_due)
        assert tries == 3
        await site.wait_released()
