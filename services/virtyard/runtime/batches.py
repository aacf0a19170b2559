"""Batches of frames: what is there together, as one message where the watcher allows it, else one by one.

A stream costs by the message, not by the byte: several frames in one message are several times as cheap as one in each.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing

from google.protobuf.descriptor import Descriptor

from virtyard.api.type.v1.watch_pb2 import WatchOptions
from virtyard.runtime.entry import Frame
from virtyard.runtime.frame_bytes import with_bodies

__all__ = ["FURTHER", "messages", "one_by_one"]

FURTHER = "further"
"""The field of every watch's response that holds the later frames of a batch."""

_MOST_FRAMES = 64
_MOST_BYTES = 1 << 18
"""Far below what clients take by default (4 MiB): a frame is the larger, the more an operation has."""


async def one_by_one(batches: AsyncGenerator[Sequence[Frame], None]) -> AsyncGenerator[Frame, None]:
    """Yield the frames of batches, one after another."""
    async with aclosing(batches):
        async for batch in batches:
            for frame in batch:
                yield frame


async def messages(
    batches: AsyncGenerator[Sequence[Frame], None],
    encode: Callable[[Frame], bytes],
    response: Descriptor,
    options: WatchOptions,
) -> AsyncGenerator[bytes, None]:
    """Yield the messages of a watch: a frame each, or as many as there are together if the options allow that.

    Args:
        batches: the frames; closed when this ends.
        encode: returns the serialised response of a frame; see `Frame.encoded`.
        response: the type of the watch's response.
        options: as the watcher gave them.
    """
    field = response.fields_by_name[FURTHER].number
    async with aclosing(batches):
        async for batch in batches:
            # One after another as they are taken, so that a reader who stalls holds the bytes of one message only.
            encoded = (frame.encoded(encode) for frame in batch)
            if not options.batch or len(batch) == 1:
                for one in encoded:
                    yield one
            else:
                for first, *further in _portions(encoded):
                    yield with_bodies(first, field, further)


def _portions(encoded: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield the frames in runs that are small enough for a message."""
    portion: list[bytes] = []
    size = 0
    for one in encoded:
        if portion and (len(portion) >= _MOST_FRAMES or size + len(one) > _MOST_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(one)
        size += len(one)
    if portion:
        yield portion
