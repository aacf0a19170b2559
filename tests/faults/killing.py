"""Killing a process in the middle of an operation, starting it again, and seeing that nothing was done twice."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.acceptance.asking import LIMIT, ask
from tests.acceptance.site import Site
from virtyard.api.jobs.v1 import job_pb2, plan_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.internal.jobs.v1 import record_pb2
from virtyard_client.client import Client
from virtyard_client.errors import ClientError
from virtyard_client.story import Story


async def run_through_the_kill(
    site: Site,
    client: Client,
    victims: Sequence[str],
    request: Any,
    *,
    died: Callable[[], None] = lambda: None,
) -> Story:
    """Ask for an operation while victims die and are started again, and return its story.

    Args:
        site: the site.
        client: a client of it.
        victims: the processes that were told to kill themselves.
        request: what is asked for.
        died: looks at what is there while a victim is dead.
    """
    ended = threading.Event()
    watch = asyncio.create_task(asyncio.to_thread(_start_again, site, victims, ended, died))
    try:
        operation = await ask_until_answered(client, request)
        story = await client.wait(operation.name, timeout=LIMIT)
    finally:
        # The moment may be the operation's last one: whoever is to die has a little longer for it.
        ended.set()
        dead = await watch
    assert dead, f"{' or '.join(victims)} never killed itself"
    return story


async def ask_until_answered(client: Client, request: Any) -> Any:
    """Submit a request, however often that cannot be answered, and return the operation that it became."""
    request.request_id = str(uuid.uuid4())
    async with asyncio.timeout(LIMIT):
        while True:
            try:
                return await ask(client, request)
            except ClientError as error:
                # Whether it was accepted is not known; the same request id makes asking again safe.
                if not error.unreachable:
                    raise
                await asyncio.sleep(0.05)


def _start_again(site: Site, victims: Sequence[str], ended: threading.Event, died: Callable[[], None]) -> list[str]:
    """Start again whoever has killed itself, until the operation has ended, and return who that was."""
    dead: list[str] = []
    deadline = float("inf")
    while True:
        for victim in victims:
            if not site.is_alive(victim):
                dead.append(victim)
                try:
                    died()
                finally:
                    site.start(victim)
        if ended.is_set():
            deadline = min(deadline, time.monotonic() + 5.0)
            if dead or time.monotonic() > deadline:
                return dead
        ended.wait(0.02)
        time.sleep(0.01)


def steps_in_flight(site: Site) -> dict[str, str]:
    """Return the titles of the started steps of the operations that are open, by step key, as jobs.db has them."""
    (path,) = (site.folder / "state").glob("**/jobs.db")
    found: dict[str, str] = {}
    with closing(sqlite3.connect(path)) as database:
        for plan_body, record_body in database.execute("SELECT plan, record FROM operation WHERE open = 1"):
            plan = plan_pb2.Plan.FromString(plan_body)
            record = record_pb2.OperationRecord.FromString(record_body)
            titles = {f"{job.id}/{step.id}": step.title for job in plan.jobs for step in job.steps}
            found |= {
                f"{record.number}/{reference}": titles[reference]
                for reference, step in record.steps.items()
                if step.state == job_pb2.STEP_STATE_STARTED
            }
    return found


def ledger_states(site: Site, process: str, step_key: str) -> list[int]:
    """Return the state of each attempt to do a step, as the file of a participant's ledger has them."""
    (path,) = _ledgers(site, process)
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute(
            "SELECT state FROM ledger WHERE step_key = ? AND phase = ? ORDER BY attempt",
            (step_key, participant.PHASE_DO),
        )
        return [state for (state,) in rows]


def made_twice(log: Path) -> list[str]:
    """Return what hosts really made more often than once under one mark."""
    lines = Counter(log.read_text().splitlines())
    assert lines, "what is made is logged"
    return [line for line, count in lines.items() if count > 1]


def done_twice(site: Site) -> list[str]:
    """Return what was done more often than once: made by a host, or recorded; the processes must have ended."""
    done: Counter[str] = Counter()
    for path in _ledgers(site, "*"):
        with closing(sqlite3.connect(path)) as database:
            rows = database.execute(
                "SELECT step_key FROM ledger WHERE phase = ? AND state = ?",
                (participant.PHASE_DO, participant.EFFECT_STATE_DONE),
            )
            done.update(key for (key,) in rows)
    assert done, "the ledgers are where they were looked for"
    return [*made_twice(site.effect_log), *(key for key, count in done.items() if count > 1)]


def _ledgers(site: Site, process: str) -> Iterable[Path]:
    state = site.folder / "state"
    inventories = state.glob("**/inventory.db") if process in ("*", "inventory", "up") else ()
    agents = state.glob("s*/ledger.db" if process == "*" else f"{process}/ledger.db")
    return [*inventories, *agents]
