"""The news that one stream has still to send."""

from __future__ import annotations

import asyncio

import pytest

from virtyard.agent.model import Key
from virtyard.agent.session import Session
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import Unavailable

KEY = Key("1/1/1", participant.PHASE_DO, 1)


def report(percent: float = -1.0) -> participant.EffectReport:
    """Progress, or the result if no per cent is given."""
    made = participant.EffectReport(step_key=KEY.step_key, phase=participant.PHASE_DO, attempt=KEY.attempt)
    if percent >= 0:
        made.progress.percent = percent
    else:
        made.result.state = participant.EFFECT_STATE_DONE
    return made


async def test_progress_is_folded_and_a_result_replaces_it() -> None:
    """However much is told between two batches, at most the last progress, or the result alone, is sent."""
    session = Session()
    await session.expect([KEY])
    batches = session.batches()
    for percent in range(50):
        session.tell(report(percent))
    assert [one.progress.percent for one in await anext(batches)] == [49]
    session.tell(report(60))
    session.tell(report())
    assert [one.WhichOneof("report") for one in await anext(batches)] == ["result"]


async def test_the_stream_ends_when_everything_is_answered() -> None:
    """After the last request the stream waits for the open results, and no longer."""
    session = Session()
    await session.expect([KEY])
    session.end()
    reading = asyncio.ensure_future(_all(session))
    await asyncio.wait([reading], timeout=0.02)
    assert not reading.done()
    session.tell(report())
    assert len(await reading) == 1


async def test_a_broken_session_says_why() -> None:
    """What was told before is sent, then the error."""
    session = Session()
    await session.expect([KEY])
    session.tell(report(5))
    session.fail(Unavailable("this agent stops"))
    batches = session.batches()
    assert len(await anext(batches)) == 1
    with pytest.raises(Unavailable):
        await anext(batches)


async def test_too_many_open_effects_hold_the_sender_back() -> None:
    """With 4096 open, the next message waits until one of them has ended."""
    session = Session()
    await session.expect([KEY, *(Key(f"2/{number}/1", 1, 1) for number in range(4095))])
    waiting = asyncio.ensure_future(session.expect([Key("3/1/1", 1, 1)]))
    await asyncio.wait([waiting], timeout=0.02)
    assert not waiting.done()
    session.tell(report())
    await waiting


async def _all(session: Session) -> list[participant.EffectReport]:
    return [one async for batch in session.batches() for one in batch]
