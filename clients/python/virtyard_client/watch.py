"""Watches that go on: a stream that breaks or says goodbye is opened again behind the last frame that came.

Who reads sees no loss and no repeat (the resume token promises that); a gap in the history comes as its own frame,
followed by a snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from virtyard.api.type.v1 import watch_pb2
from virtyard_client.errors import ClientError

_GOODBYE = watch_pb2.FRAME_KIND_GOODBYE
_KEEPALIVE = watch_pb2.FRAME_KIND_KEEPALIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a watch tries."""

    silence: float = 50.0
    """Seconds without a frame, keepalives included, after which a stream counts as broken (three keepalives)."""
    outage: float = 60.0
    """Seconds without any frame after which the watch gives up and raises."""
    first_pause: float = 0.1
    """Seconds before the first new attempt; doubled for each further one."""
    longest_pause: float = 2.0
    """Seconds that the pause grows to."""


class Lost(Exception):
    """The stream broke in a way that a new one mends."""

    def __init__(self, cause: ClientError) -> None:
        super().__init__(str(cause))
        self.cause = cause


async def resume(
    start: Callable[[watch_pb2.WatchOptions], AsyncIterator[Any]],
    options: watch_pb2.WatchOptions | None = None,
    patience: Patience | None = None,
) -> AsyncIterator[Any]:
    """Yield the frames of a watch, keepalives and goodbyes left out, until the server ends it.

    `start` opens a stream with the given options.

    Raises:
        ClientError: the service refused the watch, or was away for longer than the patience lasts.
    """
    asked = watch_pb2.WatchOptions()
    asked.CopyFrom(options or watch_pb2.WatchOptions())
    # A message costs the server the same, however many frames it holds.
    asked.batch = True
    patience = patience or Patience()
    loop = asyncio.get_running_loop()
    heard, pause = loop.time(), patience.first_pause
    while True:
        goodbye = False
        try:
            async for frame in _frames(_listen(start(asked), patience.silence)):
                heard, pause = loop.time(), patience.first_pause
                if frame.resume_token:
                    asked.resume_token = frame.resume_token
                goodbye = frame.kind == _GOODBYE
                if not goodbye and frame.kind != _KEEPALIVE:
                    yield frame
            if not goodbye:
                return
        except Lost as lost:
            if loop.time() - heard > patience.outage:
                raise lost.cause from None
        await asyncio.sleep(pause)
        pause = min(pause * 2, patience.longest_pause)


async def _frames(messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Yield the frames of messages, of which one may hold several."""
    async for message in messages:
        further = list(getattr(message, "further", ()))
        if further:
            message.ClearField("further")
        yield message
        for frame in further:
            yield frame


async def _listen(stream: AsyncIterator[Any], silence: float) -> AsyncIterator[Any]:
    iterator = aiter(stream)
    while True:
        try:
            async with asyncio.timeout(silence):
                frame = await anext(iterator)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Lost(ClientError(f"no frame for {silence:g} s", code="UNAVAILABLE")) from None
        except ClientError as error:
            if error.code == "UNAVAILABLE":
                raise Lost(error) from None
            raise
        yield frame
