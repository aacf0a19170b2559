"""An initial file system for Linux: a "newc" cpio archive, written without root and always the same bytes.

The format is in Linux' Documentation/driver-api/early-userspace/buffer-format.rst; a device node is a mere header.
"""

from __future__ import annotations

import gzip
import io
import stat
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file, folder, link or device of the archive."""

    name: str
    """Path without a leading slash."""
    mode: int
    """Type and permission bits, as in `stat`."""
    content: bytes = b""
    """What a file holds, or where a link points."""
    device: tuple[int, int] = (0, 0)
    """Major and minor number of a device node."""


def folder(name: str) -> Entry:
    """Return a folder that everybody may enter."""
    return Entry(name=name, mode=stat.S_IFDIR | 0o755)


def file(name: str, content: bytes, *, executable: bool = False) -> Entry:
    """Return a regular file."""
    return Entry(name=name, mode=stat.S_IFREG | (0o755 if executable else 0o644), content=content)


def character_device(name: str, major: int, minor: int) -> Entry:
    """Return a character device for root alone."""
    return Entry(name=name, mode=stat.S_IFCHR | 0o600, device=(major, minor))


def write_archive(entries: list[Entry]) -> bytes:
    """Return the gzip-compressed archive of the entries, which must name folders before what lies in them."""
    archive = io.BytesIO()
    for inode, entry in enumerate([*entries, Entry(name="TRAILER!!!", mode=0)], start=1):
        name = entry.name.encode() + b"\0"
        links = 2 if stat.S_ISDIR(entry.mode) else 1
        size = len(entry.content)
        fields = (inode, entry.mode, 0, 0, links, 0, size, 0, 0, *entry.device, len(name), 0)
        archive.write(b"070701" + b"".join(b"%08X" % field for field in fields) + name)
        archive.write(b"\0" * (-archive.tell() % 4))
        archive.write(entry.content)
        archive.write(b"\0" * (-archive.tell() % 4))
    return gzip.compress(archive.getvalue(), compresslevel=6, mtime=0)
