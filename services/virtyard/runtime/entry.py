"""The journal entry and the frame: one piece of news as it is stored, and as a watcher is shown it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from virtyard.api.type.v1.watch_pb2 import FrameKind

__all__ = ["Entry", "Frame"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the journal: the whole state of an item after a change."""

    sequence: int
    """Its number in commit order, without gaps."""
    topic: str
    """What kind of item it is, as `jobs`."""
    key: str
    """The item's name within the topic."""
    body: bytes
    """The serialised state."""
    removed: bool = False
    """True if the item is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What one watcher is told; watchers that are told the same share the object."""

    kind: FrameKind.ValueType
    """A `FrameKind` of `virtyard.api.type.v1`."""
    token: str
    """Resume after this frame."""
    topic: str = ""
    """The item's kind; empty for frames about the stream itself."""
    key: str = ""
    """The item's name; empty for frames about the stream itself."""
    body: bytes = b""
    """The item's state; empty if it left the watcher's view."""
    sequence: int = 0
    """The commit that the watcher's view reflects after this frame."""
    _encoded: dict[Callable[[Frame], bytes], bytes] = field(default_factory=dict, init=False, repr=False, compare=False)

    def encoded(self, build: Callable[[Frame], bytes]) -> bytes:
        """Return `build(self)`, made once for all watchers of this frame.

        Args:
            build: a function that lives as long as its service (a method of an object made per call defeats the
                sharing), and that uses nothing but the frame.
        """
        known = self._encoded.get(build)
        if known is None:
            known = self._encoded[build] = build(self)
        return known
