"""Messages that carry a state which was serialised before: its bytes are put in, not parsed and written again."""

from __future__ import annotations

from google.protobuf.message import Message


def with_body(head: Message, field: int, body: bytes) -> bytes:
    """Return the serialised message with a message field set to bytes that are serialised already.

    Args:
        head: the message without that field.
        field: the field's number.
        body: the serialised value; nothing is added if it is empty.
    """
    if not body:
        return head.SerializeToString()
    # Length-delimited field, see https://protobuf.dev/programming-guides/encoding/; field order is free.
    return head.SerializeToString() + _varint(field << 3 | 2) + _varint(len(body)) + body


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
