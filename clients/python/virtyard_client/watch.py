"""Watches that go on: a stream that breaks or says goodbye is opened again behind the last frame that came.

Who reads sees no loss and no repeat (the resume token promises that). A gap in the history comes as its own frame,
followed by a snapshot; and a watch says of itself whether what it has told is the present.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Self

from virtyard.api.type.v1 import watch_pb2
from virtyard_client.errors import ClientError

_GOODBYE = watch_pb2.FRAME_KIND_GOODBYE
_KEEPALIVE = watch_pb2.FRAME_KIND_KEEPALIVE
_BOOKMARK = watch_pb2.FRAME_KIND_BOOKMARK
_GAP = watch_pb2.FRAME_KIND_GAP
_PASSING = frozenset({"UNAVAILABLE", "CANCELLED"})
"""How a stream ends that a new one mends: the service is away, or stopped while it served."""

Start = Callable[[watch_pb2.WatchOptions], AsyncIterator[Any]]
"""Opens a stream with the given options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a watch tries."""

    silence: float = 50.0
    """Seconds without a frame, keepalives included, after which a stream counts as broken (three keepalives)."""
    stale: float = 20.0
    """Seconds without a frame, keepalives included, after which the watch no longer counts as live."""
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


class Watch:
    """The frames of one watch, keepalives and goodbyes left out, until the server ends it; across cuts and restarts.

    Iterate over it. A step that is cancelled, as by a timeout, loses nothing: the next one goes on from there.
    """

    def __init__(
        self,
        start: Start,
        options: watch_pb2.WatchOptions | None = None,
        patience: Patience | None = None,
        on_live: Callable[[Watch], None] | None = None,
    ) -> None:
        """Make a watch; nothing is asked before the first step.

        Args:
            start: opens a stream with the given options.
            options: where to begin.
            patience: how long it tries.
            on_live: is called with this watch whenever `live` has changed.
        """
        self.cause: ClientError | None = None
        """Why it is not live: how the last stream ended; None before the first, and while it stands."""
        self.gaps = 0
        """How many GAP frames came: what was known before each of them is to be forgotten."""
        self._start = start
        self._asked = watch_pb2.WatchOptions()
        self._asked.CopyFrom(options or watch_pb2.WatchOptions())
        # A message costs the server the same, however many frames it holds.
        self._asked.batch = True
        self._asked.mark_live = True
        self._patience = patience or Patience()
        self.on_live = on_live
        """Is called with this watch whenever `live` has changed."""
        self._live = False
        self._heard = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._frames = self._follow()

    @property
    def live(self) -> bool:
        """True while the stream stands and all that it has to tell was told: what is known is the present."""
        return self._live

    @property
    def token(self) -> str:
        """The resume token behind the last frame that came; a new watch goes on from there."""
        return str(self._asked.resume_token)

    @property
    def silent_for(self) -> float:
        """Seconds since the last frame, keepalives included."""
        return asyncio.get_running_loop().time() - self._heard if self._heard else 0.0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        """Wait for the next frame.

        Raises:
            ClientError: the service refused the watch, or was away for longer than the patience lasts.
        """
        try:
            return await anext(self._frames)
        except asyncio.CancelledError:
            self._frames = self._follow()
            raise

    async def aclose(self) -> None:
        """End the watch."""
        await self._frames.aclose()

    async def _follow(self) -> Any:
        patience, loop = self._patience, asyncio.get_running_loop()
        self._heard, pause = loop.time(), patience.first_pause
        try:
            while True:
                goodbye = False
                try:
                    async for frame in self._listen():
                        pause = patience.first_pause
                        if frame.resume_token:
                            self._asked.resume_token = frame.resume_token
                        goodbye = frame.kind == _GOODBYE
                        self._note(frame.kind)
                        if not goodbye and frame.kind != _KEEPALIVE:
                            yield frame
                    if not goodbye:
                        return
                    self._set_live(False, ClientError("the service said goodbye", code="UNAVAILABLE"))
                except Lost as lost:
                    self._set_live(False, lost.cause)
                    if self.silent_for > patience.outage:
                        raise lost.cause from None
                await asyncio.sleep(pause)
                pause = min(pause * 2, patience.longest_pause)
        finally:
            self._set_live(False, self.cause)

    async def _listen(self) -> AsyncIterator[Any]:
        """Yield the frames of one stream."""
        messages = aiter(self._start(self._asked))
        while True:
            try:
                async with asyncio.timeout(self._patience.silence):
                    message = await anext(messages)
            except StopAsyncIteration:
                return
            except TimeoutError:
                silence = f"no frame for {self._patience.silence:g} s"
                raise Lost(ClientError(silence, code="UNAVAILABLE")) from None
            except ClientError as error:
                if error.code in _PASSING:
                    raise Lost(error) from None
                raise
            self._heard = asyncio.get_running_loop().time()
            for frame in _frames_of(message):
                yield frame

    def _note(self, kind: int) -> None:
        """Tell from a frame whether what was told is the present."""
        if kind == _GAP:
            self.gaps += 1
            self._set_live(False, None)
        elif kind in (_BOOKMARK, _KEEPALIVE):
            self._set_live(True, None)

    def _set_live(self, live: bool, cause: ClientError | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if live:
            self._timer = asyncio.get_running_loop().call_later(self._patience.stale, self._grow_stale)
        changed, self._live, self.cause = live != self._live, live, cause
        if changed and self.on_live is not None:
            self.on_live(self)

    def _grow_stale(self) -> None:
        """Say that it is not live, once nothing has come for too long."""
        left = self._patience.stale - self.silent_for
        if left > 0:
            self._timer = asyncio.get_running_loop().call_later(left, self._grow_stale)
            return
        self._timer = None
        self._set_live(False, ClientError(f"no frame for {self._patience.stale:g} s", code="UNAVAILABLE"))


def _frames_of(message: Any) -> list[Any]:
    """Return the frames of a message, of which one may hold several."""
    further = list(getattr(message, "further", ()))
    if further:
        message.ClearField("further")
    return [message, *further]
