"""The signal that ends a wait: given at once, too late, or again while the wait is ending."""

from __future__ import annotations

import asyncio

import pytest

from virtyard.jobs.abort_signal import AbortSignal


async def test_a_wait_ends_when_it_is_given() -> None:
    """What waits gets None, and whatever waits afterwards, too."""
    signal = AbortSignal()
    asyncio.get_running_loop().call_soon(signal.give)
    assert await signal.wait_for(asyncio.Event().wait()) is None
    assert await signal.wait_for(asyncio.Event().wait()) is None


@pytest.mark.parametrize("turns", range(6))
async def test_given_again_while_the_wait_ends_it_changes_nothing(turns: int) -> None:
    """Every report of a place in a queue may give it: one of them comes between the wait's time-out and its end."""
    signal = AbortSignal()

    async def give_again() -> None:
        await asyncio.sleep(0)
        signal.give()
        for _ in range(turns):
            await asyncio.sleep(0)
        signal.give()

    giving = asyncio.ensure_future(give_again())
    assert await signal.wait_for(asyncio.Event().wait()) is None
    await giving


async def test_what_comes_first_is_returned() -> None:
    """A result that is there is not lost to a signal given after it."""
    signal = AbortSignal()
    assert await signal.wait_for(asyncio.sleep(0, "there")) == "there"
    signal.give()


async def test_a_time_out_of_the_waited_for_itself_is_told() -> None:
    """It is not taken for the signal."""

    async def late() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await AbortSignal().wait_for(late())
