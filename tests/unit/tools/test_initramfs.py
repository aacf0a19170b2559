"""The cpio archive, read back by its own format and, where it is installed, by cpio."""

from __future__ import annotations

import gzip
import shutil
import stat
import subprocess

import pytest

from tools import initramfs

ENTRIES = [
    initramfs.folder("dev"),
    initramfs.character_device("dev/console", 5, 1),
    initramfs.file("init", b"#!/bin/sh\n", executable=True),
    initramfs.file("odd", b"12345"),
]


def read_archive(packed: bytes) -> dict[str, tuple[int, tuple[int, int], bytes]]:
    """Read a newc archive: name to mode, device and content."""
    raw, at = gzip.decompress(packed), 0
    found: dict[str, tuple[int, tuple[int, int], bytes]] = {}
    while True:
        assert raw[at : at + 6] == b"070701"
        fields = [int(raw[at + 6 + 8 * number : at + 14 + 8 * number], 16) for number in range(13)]
        name_at, name_length, size = at + 110, fields[11], fields[6]
        content_at = -(-(name_at + name_length) // 4) * 4
        name = raw[name_at : name_at + name_length - 1].decode()
        if name == "TRAILER!!!":
            return found
        found[name] = (fields[1], (fields[9], fields[10]), raw[content_at : content_at + size])
        at = -(-(content_at + size) // 4) * 4


def test_archive_keeps_modes_devices_and_contents() -> None:
    """What is written is what the format's fields give back, whatever the contents' lengths."""
    found = read_archive(initramfs.write_archive(ENTRIES))
    assert list(found) == ["dev", "dev/console", "init", "odd"]
    assert found["dev/console"] == (stat.S_IFCHR | 0o600, (5, 1), b"")
    assert found["init"] == (stat.S_IFREG | 0o755, (0, 0), b"#!/bin/sh\n")
    assert found["odd"][2] == b"12345"


def test_archive_is_the_same_bytes_every_time() -> None:
    """No clock and no disk order goes into the archive, so a checksum can stand for it."""
    assert initramfs.write_archive(ENTRIES) == initramfs.write_archive(ENTRIES)


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is not installed")
def test_archive_is_read_by_cpio() -> None:
    """The program that defines the format in practice lists the same names."""
    raw = gzip.decompress(initramfs.write_archive(ENTRIES))
    listed = subprocess.run(["cpio", "-it", "--quiet"], input=raw, capture_output=True, check=True)
    assert listed.stdout.decode().split() == ["dev", "dev/console", "init", "odd"]
