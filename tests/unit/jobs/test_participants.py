"""Whether a participant answers, where nobody can say where it is for a while."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import grpc.aio
import pytest

from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.jobs.participants import Link
from virtyard.kernel.errors import Unavailable
from virtyard.runtime.scope import TaskScope

SERVER = "servers/s1"


class Directory:
    """Says where a server is: not while it is away itself, and then that it does not know."""

    def __init__(self, away: int) -> None:
        """Be away for so many questions."""
        self.away = away
        self.asked = 0

    async def connect(self, name: str, planned: str) -> grpc.aio.Channel:
        """Refuse, in its own name or in the server's."""
        del planned
        self.asked += 1
        if self.asked <= self.away:
            raise Unavailable("the inventory cannot be reached")
        raise Unavailable(f"the address of {name} is not known", resource=name)


@pytest.mark.parametrize("away", [0, 12])
async def test_the_time_in_which_nobody_can_say_where_it_is_does_not_count(away: int) -> None:
    """A member is not put off because the inventory is away: its own patience begins when that is back."""
    directory = Directory(away)
    async with asyncio.timeout(20):
        assert not await Link(SERVER, directory.connect, lambda: None, TaskScope("test")).answers(0.2)
    assert directory.asked > away + 1


async def test_a_server_that_nobody_knows_does_not_answer() -> None:
    """It is asked for again until its time is over."""
    directory = Directory(0)
    assert not await Link(SERVER, directory.connect, lambda: None, TaskScope("test")).answers(0.12)
    assert directory.asked > 1


class Broken:
    """A channel on which the first calls are cut off by the other side, as by one that stops."""

    def __init__(self, cuts: int) -> None:
        """Cut so many calls."""
        self.cuts = cuts

    def unary_unary(self, *_: object, **__: object) -> Any:
        """Return what every call of one message is made with."""
        return self._call

    def stream_stream(self, *_: object, **__: object) -> Any:
        """Return nothing that could be called; no stream is opened."""

    async def channel_ready(self) -> None:
        """Be ready at once."""

    async def close(self) -> None:
        """Do nothing."""

    async def _call(self, request: object, timeout: float) -> object:
        del timeout
        self.cuts -= 1
        if self.cuts >= 0:
            raise asyncio.CancelledError
        settled = isinstance(request, participant.SettleRequest)
        return participant.SettleResponse() if settled else participant.ListActionsResponse()


def link_over(channel: Broken) -> Link:
    """Return a link over this channel."""

    async def connect(name: str, planned: str) -> grpc.aio.Channel:
        del name, planned
        return cast(grpc.aio.Channel, channel)

    return Link(SERVER, connect, lambda: None, TaskScope("test"))


async def test_a_settlement_that_is_cut_off_by_the_other_side_is_asked_again() -> None:
    """It must not be taken for the end of the one who asks: his operation would stay open and be run by nobody."""
    async with asyncio.timeout(20):
        assert await link_over(Broken(2)).settle(participant.SettleRequest()) == participant.EffectRecord()


async def test_a_server_that_cuts_calls_off_answers_once_it_does_not() -> None:
    """Being cut off is no answer, and no reason to stop asking."""
    assert await link_over(Broken(2)).answers(5.0)
    assert not await link_over(Broken(1 << 30)).answers(0.12)
