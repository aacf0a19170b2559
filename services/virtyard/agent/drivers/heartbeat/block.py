"""Blocks of a heartbeat device: 4 KiB each, written whole, past the page cache where the file system allows it.

Block 0 is the header; block N is the slot of member N. A block is a magic number, a checksum, a length and JSON; a
torn or foreign block reads as None and never as somebody's life.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import struct
import zlib
from pathlib import Path
from typing import Any

SIZE = 4096
_MAGIC = b"VYHBEAT1"
_FRAME = struct.Struct("<8sII")

Content = dict[str, Any]


def pack(content: Content) -> bytes:
    """Return the block that holds `content`."""
    text = json.dumps(content, sort_keys=True).encode()
    assert len(text) <= SIZE - _FRAME.size, "a block's content is checked before it is packed"
    return (_FRAME.pack(_MAGIC, zlib.crc32(text), len(text)) + text).ljust(SIZE, b"\0")


def unpack(block: bytes) -> Content | None:
    """Return what a block holds; None if it is empty, torn or something else."""
    magic, checksum, length = _FRAME.unpack_from(block)
    text = block[_FRAME.size : _FRAME.size + length]
    if magic != _MAGIC or length > SIZE or zlib.crc32(text) != checksum:
        return None
    content = json.loads(text)
    return content if isinstance(content, dict) else None


def read(path: Path, first: int, count: int) -> list[Content | None]:
    """Read `count` blocks, the first being number `first`; blocks past the end read as None."""
    descriptor = _open(path, os.O_RDONLY)
    try:
        with mmap.mmap(-1, SIZE * count) as buffer:  # page-aligned, as O_DIRECT wants it
            os.preadv(descriptor, [buffer], SIZE * first)
            return [unpack(buffer[SIZE * number : SIZE * (number + 1)]) for number in range(count)]
    finally:
        os.close(descriptor)


def is_clear(path: Path, number: int) -> bool:
    """Tell whether nothing is written in a block, and so not even a part of something."""
    descriptor = _open(path, os.O_RDONLY)
    try:
        with mmap.mmap(-1, SIZE) as buffer:
            os.preadv(descriptor, [buffer], SIZE * number)
            return buffer[:] == bytes(SIZE)
    finally:
        os.close(descriptor)


def write(path: Path, number: int, content: Content | None) -> None:
    """Write one block, durable when this returns; None clears it."""
    descriptor = _open(path, os.O_WRONLY | os.O_DSYNC)
    try:
        with mmap.mmap(-1, SIZE) as buffer:
            buffer[:] = bytes(SIZE) if content is None else pack(content)
            if os.pwritev(descriptor, [buffer], SIZE * number) != SIZE:
                raise OSError(errno.EIO, "a heartbeat block was written in part", str(path))
    finally:
        os.close(descriptor)


def _open(path: Path, flags: int) -> int:
    direct = getattr(os, "O_DIRECT", 0)
    try:
        return os.open(path, flags | direct | os.O_CLOEXEC)
    except OSError as error:
        if not direct or error.errno != errno.EINVAL:
            raise
        return os.open(path, flags | os.O_CLOEXEC)  # a file system without O_DIRECT
