"""Killing a process in the middle of an operation, starting it again, and seeing that nothing was done twice."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from typing import Any

from tests.acceptance.asking import LIMIT, ask
from tests.acceptance.site import Site
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard_client.client import Client
from virtyard_client.errors import ClientError
from virtyard_client.story import Story


async def run_through_the_kill(
    site: Site,
    client: Client,
    victims: Sequence[str],
    request: Any,
    then: Callable[[], Awaitable[object]] | None = None,
) -> Story:
    """Ask for an operation, `then` for more, while victims die and are started again; return the first one's story."""
    request.request_id = str(uuid.uuid4())
    ended = threading.Event()
    watch = asyncio.create_task(asyncio.to_thread(_start_again, site, victims, ended))
    try:
        operation = None
        while operation is None:
            try:
                operation = await ask(client, request)
            except ClientError as error:
                # Whether it was accepted is not known; the same request id makes asking again safe.
                if not error.unreachable:
                    raise
                await asyncio.sleep(0.05)
        story = await client.wait(operation.name, timeout=LIMIT)
        if then is not None:
            await then()
    finally:
        # The moment may be the operation's last one: whoever is to die has a little longer for it.
        ended.set()
        died = await watch
    assert died, f"{' or '.join(victims)} never killed itself"
    return story


def _start_again(site: Site, victims: Sequence[str], ended: threading.Event) -> list[str]:
    """Start again whoever has killed itself, until the operation has ended, and return who that was."""
    died: list[str] = []
    deadline = float("inf")
    while True:
        for victim in victims:
            if not site.is_alive(victim):
                died.append(victim)
                site.start(victim)
        if ended.is_set():
            deadline = min(deadline, time.monotonic() + 5.0)
            if died or time.monotonic() > deadline:
                return died
        ended.wait(0.02)
        time.sleep(0.01)


def done_twice(site: Site) -> list[str]:
    """Return every step key that the ledgers hold as done more often than once; the processes must have ended."""
    done: Counter[str] = Counter()
    state = site.folder / "state"
    for path in (*state.glob("**/inventory.db"), *state.glob("s*/ledger.db")):
        with closing(sqlite3.connect(path)) as database:
            rows = database.execute(
                "SELECT step_key FROM ledger WHERE phase = ? AND state = ?",
                (participant.PHASE_DO, participant.EFFECT_STATE_DONE),
            )
            done.update(key for (key,) in rows)
    assert done, "the ledgers are where they were looked for"
    return [key for key, count in done.items() if count > 1]
