"""Batches of frames: the same frames in fewer messages, each small enough for any client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import pytest

from virtyard.api.locks.v1 import lock_service_pb2 as pb
from virtyard.api.type.v1.watch_pb2 import FrameKind, WatchOptions
from virtyard.runtime.batches import messages, one_by_one
from virtyard.runtime.entry import Frame
from virtyard.runtime.frame_bytes import with_body

RESPONSE = pb.WatchLocksResponse.DESCRIPTOR


def encode(frame: Frame) -> bytes:
    """Return a frame as its service sends it."""
    head = pb.WatchLocksResponse(kind=frame.kind, resume_token=frame.token, name=frame.key)
    return with_body(head, pb.WatchLocksResponse.LOCK_FIELD_NUMBER, frame.body)


def frame(number: int, size: int = 1) -> Frame:
    """Return a frame whose body has about so many bytes."""
    body = pb.Lock(object=f"servers/{number}", purpose="x" * size).SerializeToString()
    return Frame(kind=FrameKind.FRAME_KIND_CHANGED, token=str(number), topic="lock", key=f"k{number}", body=body)


async def batches(*found: Sequence[Frame]) -> AsyncGenerator[Sequence[Frame], None]:
    """Yield these batches."""
    for batch in found:
        yield batch


async def received(*found: Sequence[Frame], batch: bool) -> list[pb.WatchLocksResponse]:
    """Return the messages that a watcher is sent."""
    stream = messages(batches(*found), encode, RESPONSE, WatchOptions(batch=batch))
    return [pb.WatchLocksResponse.FromString(raw) async for raw in stream]


def flattened(sent: Sequence[pb.WatchLocksResponse]) -> list[pb.WatchLocksResponse]:
    """Return the frames of messages as a client unpacks them."""
    frames = []
    for message in sent:
        further = list(message.further)
        message.ClearField("further")
        frames += [message, *further]
    return frames


FOUND = ([frame(1), frame(2), frame(3)], [frame(4)], [frame(5), frame(6)])


async def test_without_the_option_every_frame_is_a_message() -> None:
    """As clients that know nothing of batches want it."""
    sent = await received(*FOUND, batch=False)
    assert [each.resume_token for each in sent] == list("123456")
    assert not any(each.further for each in sent)


async def test_a_batch_is_one_message_with_the_same_frames() -> None:
    """In the same order, each with its own token; none is nested deeper."""
    sent = await received(*FOUND, batch=True)
    assert [1 + len(each.further) for each in sent] == [3, 1, 2]
    assert not any(inner.further for each in sent for inner in each.further)
    assert flattened(sent) == await received(*FOUND, batch=False)


@pytest.mark.parametrize(("count", "size"), [(200, 1), (10, 100_000), (3, 400_000), (70, 5_000)])
async def test_a_message_stays_small(count: int, size: int) -> None:
    """However many and however large the frames are: at most 64 of them, and 256 KiB unless one alone is larger."""
    found = [frame(number, size) for number in range(count)]
    sent = await received(found, batch=True)
    assert len(sent) > 1
    for message in sent:
        assert len(message.further) < 64
        assert message.ByteSize() <= (1 << 18) + size + 4096
        assert not message.further or message.ByteSize() <= (1 << 18) + 4096
    assert flattened(sent) == await received(found, batch=False)


async def test_frames_come_one_by_one_from_batches() -> None:
    """For those in the same process."""
    assert [each async for each in one_by_one(batches(*FOUND))] == [each for batch in FOUND for each in batch]
