"""How long webhooks leave a receiver alone: longer and longer, and for as long as it asks; by a clock of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from tests.fakes.clock import FakeClock
from tests.integration.jobs.receiver import Receiver, receiving
from virtyard.api.inventory.v1 import event_pb2, webhook_pb2
from virtyard.jobs import webhooks as module
from virtyard.jobs.definitions import Definitions
from virtyard.jobs.run_states import RunStates
from virtyard.jobs.webhooks import WEBHOOK_POLICY, Webhooks
from virtyard.runtime.database import Database
from virtyard.runtime.feed import Feed

UID = "5f0c2a52-6f3e-4b5e-9d53-2f1a5a3f9c11"
LIMIT = 30.0
FIRST, LONGEST = WEBHOOK_POLICY.first_pause, WEBHOOK_POLICY.longest_pause


class Sending:
    """Webhooks that send to a real receiver, whose pauses are noted and skipped."""

    def __init__(self, receiver: Receiver, webhooks: Webhooks, clock: FakeClock) -> None:
        """Note the pauses of these."""
        self.receiver, self.webhooks, self.clock = receiver, webhooks, clock
        self.pauses: list[float] = []
        self.idle = asyncio.Event()

    async def send(self, answers: list[tuple[int, Mapping[str, str]]]) -> list[float]:
        """Send one event to a receiver that answers so, in this order; return the pauses between the attempts."""
        left = iter(answers)
        self.receiver.answer = lambda _: next(left, (204, {}))
        self.receiver.taken.clear()
        self.pauses.clear()
        self.idle.clear()
        event = event_pb2.Event(name="events/1", type="FOREIGN_FILE", object="repositories/R")
        event.create_time.FromDatetime(self.clock.now())
        (webhook,) = self.webhooks.waiting(event, ())
        await self.webhooks.take(event, "token", [webhook])
        async with asyncio.timeout(LIMIT):
            await self.idle.wait()
        return list(self.pauses)


@pytest.fixture
async def sending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sending]:
    """Run webhooks on a database of their own, with one that sends all to a receiver."""
    clock = FakeClock()
    async with AsyncExitStack() as stack:
        receiver = stack.enter_context(receiving())
        database = await Database.open(tmp_path / "jobs.db", "virtyard.jobs.migrations", Feed("jobs"), clock)
        stack.push_async_callback(database.close)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel("127.0.0.1:9"))
        definitions = Definitions(channel)
        webhook = webhook_pb2.Webhook(name="webhooks/pager", uid=UID, url=receiver.url, secret_version=1)
        definitions._replace({webhook.name: webhook})
        definitions._loaded.set()
        webhooks = Webhooks(definitions, RunStates(database, lambda _: None), database, clock)
        found = Sending(receiver, webhooks, clock)

        async def skip(sender: Any, seconds: float | None) -> None:
            if seconds is None:
                if receiver.taken:
                    found.idle.set()
                await sender._woken.wait()
                return
            found.pauses.append(seconds)
            clock.advance(seconds + 1e-5)  # the clock knows whole microseconds only

        monkeypatch.setattr(module._Sender, "_sleep", skip)
        running = asyncio.create_task(webhooks.run())
        yield found
        running.cancel()
        _ = await asyncio.wait([running])


async def test_pauses_grow_to_a_longest_one_and_begin_anew_after_a_success(sending: Sending) -> None:
    """Twice as long after each failure, a little less at random, so that two are never in step."""
    tries = 12
    pauses = await sending.send([(503, {})] * tries)
    assert len(pauses) == tries
    for number, pause in enumerate(pauses):
        usual = min(FIRST * 2.0**number, LONGEST)
        assert 0.75 * usual <= pause <= usual + 1e-3, (number, pause)
    growing = [pause for pause in pauses if pause < 0.75 * LONGEST]
    assert growing == sorted(set(growing))
    assert len(growing) > 5
    assert pauses[-1] >= 0.75 * LONGEST
    (again,) = await sending.send([(500, {})])
    assert again <= FIRST + 1e-3


@pytest.mark.parametrize("status", [429, 503])
async def test_a_receiver_that_asks_for_time_is_given_it(sending: Sending, status: int) -> None:
    """By seconds or by a date; less than the usual pause, an hour at most, and what cannot be read, change nothing."""
    at = format_datetime(sending.clock.now() + timedelta(seconds=1000), usegmt=True)
    by_seconds, by_date, less, much, unread, bad_date = await sending.send(
        [
            (status, {"retry-after": "120"}),
            (status, {"retry-after": at}),
            (status, {"retry-after": "0"}),
            (status, {"retry-after": "999999"}),
            (status, {"retry-after": "soon"}),
            (status, {"retry-after": "Thu, 99 Foo 2030 00:00:00 GMT"}),
        ]
    )
    assert by_seconds == pytest.approx(120, abs=1e-3)
    assert by_date == pytest.approx(1000 - 120, abs=1e-3)
    assert 0.75 * FIRST * 4 <= less <= FIRST * 4 + 1e-3
    assert much == pytest.approx(3600, abs=1e-3)
    assert 0.75 * FIRST * 16 <= unread <= FIRST * 16 + 1e-3
    assert 0.75 * FIRST * 32 <= bad_date <= FIRST * 32 + 1e-3
