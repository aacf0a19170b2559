"""Facts about the session of one Acquire stream."""

from __future__ import annotations

import asyncio

import pytest

from virtyard.kernel.errors import InvalidRequest, Unavailable
from virtyard.locks.model import Grant, QueuePlace, Report
from virtyard.locks.session import Session


def place(owner: str, position: int) -> QueuePlace:
    """Return a place without blockers."""
    return QueuePlace(owner=owner, position=position, blockers=())


async def test_news_of_an_owner_replaces_older_news_of_it() -> None:
    """A reader that is slow hears the last word only, so what is kept is bounded by what was asked."""
    session = Session()
    for owner in "ab":
        await session.expect(owner)
    for position in (3, 2, 1):
        session.tell(place("a", position))
    session.tell(place("b", 1))
    session.tell(Grant(owner="a", locks=()))
    assert await anext(session.reports()) == [place("b", 1), Grant(owner="a", locks=())]
    assert session.open_owners == {"b"}


async def test_reports_end_when_all_is_answered() -> None:
    """A client that asks for nothing more is told the rest first."""
    session = Session()
    async with session.asking():
        await session.expect("a")
    session.tell(place("a", 1))
    reports = session.reports()
    assert await anext(reports) == [place("a", 1)]
    session.tell(Grant(owner="a", locks=()))
    assert [each async for each in reports] == [[Grant(owner="a", locks=())]]


async def refuse() -> None:
    """Fail as a sender does."""
    raise InvalidRequest.of("sets", "are wrong")


async def test_an_error_of_the_sender_breaks_the_stream_off() -> None:
    """What was told before is delivered first."""
    session = Session()
    async with session.asking():
        await session.expect("a")
        session.tell(place("a", 1))
        await refuse()
    heard: list[list[Report]] = []
    with pytest.raises(InvalidRequest):
        heard.extend([each async for each in session.reports()])
    reports = Session()
    reports.fail(Unavailable("stopping"))
    with pytest.raises(Unavailable):
        await anext(reports.reports())


async def test_a_sender_is_held_back_while_too_much_is_unanswered(monkeypatch: pytest.MonkeyPatch) -> None:
    """One stream cannot fill the service's memory."""
    monkeypatch.setattr("virtyard.locks.session._MOST_OPEN", 2)
    session = Session()
    await session.expect("a")
    await session.expect("b")
    third = asyncio.ensure_future(session.expect("c"))
    session.tell(Grant(owner="a", locks=()))
    assert not third.done()
    await anext(session.reports())
    await third
    assert session.open_owners == {"b", "c"}
