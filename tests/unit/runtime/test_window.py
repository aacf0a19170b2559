"""The window: bounded, in order, and ended once."""

from __future__ import annotations

import asyncio

import pytest

from virtyard.kernel.errors import Cancelled, Unavailable
from virtyard.runtime.window import Window


async def test_writer_waits_for_a_slow_reader() -> None:
    """No more than the limit waits, and everything arrives in order."""
    window = Window(4)
    written: list[int] = []

    async def write() -> None:
        for number in range(100):
            await window.put(bytes([number]))
            written.append(number)
        window.finish()

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        while len(written) < 4:
            await asyncio.sleep(0)
        assert (len(written), window.waiting) == (4, 4)
        assert [item async for item in window.items()] == [bytes([number]) for number in range(100)]


async def test_error_comes_behind_what_waits_unless_it_fails_at_once() -> None:
    """`finish` keeps what was written before the error, `fail` drops it."""
    window = Window(4)
    await window.put(b"a")
    window.finish(Unavailable("gone"))
    assert await window.get() == b"a"
    with pytest.raises(Unavailable):
        await window.get()
    window = Window(4)
    await window.put(b"a")
    window.fail(Cancelled("left"))
    window.finish()
    with pytest.raises(Cancelled):
        await window.get()


async def test_writer_of_an_ended_window_does_not_hang() -> None:
    """A writer that waits for room is released when the reader leaves."""
    window = Window(1)
    await window.put(b"a")
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(window.put(b"b"))
        await asyncio.sleep(0)
        window.fail(Cancelled("left"))
    assert window.waiting == 0
