"""Imported images: copying their bytes into a repository, and finding out what they are.

What comes from outside is looked at before anything reads it: a qcow2 image can name other files of the host as its
backing or data file, and a guest could read these through it. Such an image is refused.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import aclosing
from io import FileIO
from pathlib import Path

from virtyard.agent.drivers.storage import layout
from virtyard.agent.drivers.storage.contract import ImageFile, Report, Source
from virtyard.agent.drivers.storage.image import NO_ROOM, out_of_room
from virtyard.agent.drivers.storage.layout import Repository
from virtyard.kernel.errors import InvalidRequest, Unavailable
from virtyard.runtime.durable_file import Record, read_record
from virtyard.runtime.threads import Threads

_SECTOR = 512
_SYNC_EVERY = 64 << 20
_VOLUME = 0x8001
_VOLUMES = (b"CD001", b"BEA01")
_QCOW2 = b"QFI\xfb"
_CORRUPT, _DATA_FILE = 2, 4
_OTHERS = (
    (0, b"KDMV", "is a VMDK image"),
    (0, b"# Disk DescriptorFile", "is a VMDK descriptor"),
    (0, b"conectix", "is a VHD image"),
    (0, b"vhdxfile", "is a VHDX image"),
    (64, b"\x7f\x10\xda\xbe", "is a VDI image"),
    (0, b"\x1f\x8b", "is compressed by gzip"),
    (0, b"\xfd7zXZ\0", "is compressed by xz"),
    (0, b"(\xb5/\xfd", "is compressed by zstd"),
    (0, b"BZh", "is compressed by bzip2"),
)


async def copy(threads: Threads, source: Source, path: Path, size_bytes: int, *, iso: bool, on_progress: Report) -> str:
    """Write the source to a new file, durably, and return its SHA-256 digest as hexadecimal digits.

    Raises:
        InvalidRequest: its beginning shows that it is not what it should be.
        CapacityExhausted: the storage ran out of space.
        Unavailable: the source gave more or less than it had promised.
    """
    target = _Target(path)
    try:
        await threads.run(target.open)
        async with aclosing(source.chunks()) as chunks:
            async for chunk in chunks:
                if target.size + len(chunk) > size_bytes:
                    raise _changed(path, size_bytes)
                await threads.run(target.write, chunk)
                if target.size == len(chunk):
                    # Known from the first MiB, and the rest may be much.
                    await threads.run(inspect, path, iso=iso)
                on_progress(target.size, size_bytes)
        await threads.run(target.sync)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise out_of_room(path, size_bytes) from error
        raise
    finally:
        await threads.run(target.close)
    if target.size != size_bytes:
        raise _changed(path, size_bytes)
    return target.digest.hexdigest()


def _changed(path: Path, size_bytes: int) -> Unavailable:
    return Unavailable(f"the file was to have {size_bytes} bytes and changed while it was read", resource=str(path))


class _Target:
    """The file that is being written; every method blocks."""

    def __init__(self, path: Path) -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self._path = path
        self._file: FileIO | None = None
        self._synced = 0

    def open(self) -> None:
        self._file = FileIO(self._path, "xb")

    def write(self, chunk: bytes) -> None:
        assert self._file is not None, "it was opened"
        self.digest.update(chunk)
        view = memoryview(chunk)
        while view:
            view = view[self._file.write(view) :]
        self.size += len(chunk)
        if self.size - self._synced >= _SYNC_EVERY:
            # Now and not at the end, which would be one long wait that nothing can stop.
            self.sync()

    def sync(self) -> None:
        assert self._file is not None, "it was opened"
        os.fsync(self._file.fileno())
        self._synced = self.size

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def check_digest(found: str, wanted: str) -> None:
    """Refuse a file that is not the one that was asked for.

    Raises:
        InvalidRequest: naming `sha256` and the digest that the file has.
    """
    if wanted and found != wanted.lower():
        text = f"{wanted.lower()} is not the digest of the file, which has {found}; nothing of it is kept"
        raise InvalidRequest.of("sha256", text)


def inspect(path: Path, *, iso: bool) -> tuple[str, int]:
    """Return the format of a file, `iso`, `qcow2` or `raw`, and how many bytes a guest sees of it; blocks.

    Raises:
        InvalidRequest: it is something else, or reaches for other files; the refusal names `format`.
    """
    with path.open("rb") as file:
        head = file.read(_SECTOR)
        file.seek(_VOLUME)
        volume = file.read(len(_VOLUMES[0]))
    size = path.stat().st_size
    if iso:
        if volume not in _VOLUMES:
            raise InvalidRequest.of("format", "the file is no ISO 9660 or UDF image")
        return "iso", size
    if head.startswith(_QCOW2):
        return "qcow2", _virtual_size(head)
    for offset, magic, words in _OTHERS:
        if head[offset:].startswith(magic):
            raise InvalidRequest.of("format", f"the file {words}; allowed are raw and qcow2 images, not compressed")
    return "raw", -(-size // _SECTOR) * _SECTOR


def _virtual_size(head: bytes) -> int:
    """Return the size that the header of a qcow2 image says, if the image stands by itself (QEMU, qcow2.txt)."""

    def number(at: int, length: int) -> int:
        return int.from_bytes(head[at : at + length], "big")

    version, size = number(4, 4), number(24, 8)
    features = number(72, 8) if version == 3 else 0
    wrong = ""
    if version not in {2, 3} or len(head) < _SECTOR or not size or size % _SECTOR:
        wrong = "is no qcow2 image that can be read"
    elif number(8, 8) or features & _DATA_FILE:
        wrong = "names another file as its backing or data file"
    elif number(32, 4):
        wrong = "is encrypted"
    elif features & _CORRUPT:
        wrong = "is marked as corrupt"
    if wrong:
        raise InvalidRequest.of("format", f"the file {wrong}; qemu-img convert makes one that stands by itself")
    return size


def finish(repository: Repository, record: Record, digest: str, *, iso: bool) -> ImageFile:
    """Write down what a copied file is, then give it its name; blocks.

    Raises:
        InvalidRequest: it is not what it should be.
    """
    kind, virtual_size = inspect(layout.partial(repository, record), iso=iso)
    known = {**record, "content": kind, "virtual_size_bytes": virtual_size, "sha256": digest}
    layout.rewrite(repository, known)
    layout.finish_disk(repository, known)
    return _described(repository, known)


def find(repository: Repository, uid: str) -> ImageFile | None:
    """Return an imported image if it is whole and in its place; blocks."""
    record = read_record(repository.disks / f"{uid}.json")
    if record is None or "sha256" not in record:
        return None
    found = _described(repository, record)
    return found if found.path.exists() else None


def _described(repository: Repository, record: Record) -> ImageFile:
    return ImageFile(
        uid=record["uid"],
        mark=record["mark"],
        path=layout.partial(repository, record).with_suffix(""),
        format=record["content"],
        size_bytes=record["size_bytes"],
        virtual_size_bytes=record["virtual_size_bytes"],
        sha256=record["sha256"],
    )
