"""Messages that carry a state which was serialised before: its bytes are put in, not parsed and written again."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import Message


def with_body(head: Message, field: int, body: bytes) -> bytes:
    """Return the serialised message with a message field set to bytes that are serialised already.

    Args:
        head: the message without that field.
        field: the field's number.
        body: the serialised value; nothing is added if it is empty.
    """
    return with_bodies(head.SerializeToString(), field, [body] if body else [])


def with_bodies(head: bytes, field: int, bodies: Sequence[bytes]) -> bytes:
    """Return a serialised message with messages added to a repeated field; all of them are serialised already."""
    # Length-delimited field, see https://protobuf.dev/programming-guides/encoding/; field order is free.
    tag = _varint(field << 3 | 2)
    return b"".join([head, *(part for body in bodies for part in (tag, _varint(len(body)), body))])


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
