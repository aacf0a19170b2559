"""What a participant says that is there and takes no effects, as where its database cannot be written.

Its silence would be shown as lost contact; this is an answer, and it is asked again more and more rarely, but often
enough that a step goes on soon after the cause is gone.
"""

from __future__ import annotations

import grpc

from virtyard.runtime.status import answered

__all__ = ["Refusing"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


class Refusing:
    """How often in a row, and why, a participant has ended the stream of effects with an error of its own."""

    def __init__(self) -> None:
        """Begin with one that takes them."""
        self.why = ""
        """What it said last; empty once it has taken effects again."""
        self.pause = 0.0
        """Seconds to leave it alone before it is asked again, at least."""

    def note(self, error: grpc.aio.AioRpcError) -> None:
        """Note how a stream ended; a connection that broke says nothing."""
        told = answered(error)
        if told is not None:
            self.why = told.message
            self.pause = min(max(self.pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)

    def over(self) -> None:
        """Note that it has taken effects."""
        if self.why:
            self.why, self.pause = "", 0.0
