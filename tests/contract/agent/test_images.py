"""Imported images on storage of each kind: what they must be, what disks are made of them, and what failures leave."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from tests.contract.agent.conftest import MARK
from tests.contract.agent.test_storages import OTHER, silent, tree, virtual_size
from virtyard.agent.drivers.storage import sources
from virtyard.agent.drivers.storage.contract import ImageFile, Place, Source
from virtyard.agent.drivers.storage.directory import DirectoryStorage
from virtyard.agent.drivers.storage.sources import UploadSource, reach_no_inventory
from virtyard.internal.inventory.v1 import host_service_pb2
from virtyard.kernel.errors import (
    AlreadyExists,
    CapacityExhausted,
    InvalidRequest,
    NotFound,
    Unavailable,
    Unsupported,
    WrongState,
)

MIB = 1 << 20
ISO = bytes(0x8001) + b"CD001" + bytes(2048)


class Bytes:
    """A file that a test holds in memory, given out in parts; `at` is called before each of them."""

    def __init__(self, content: bytes, *, size: int | None = None, part: int = MIB) -> None:
        """Promise the size, that of the content if none is given."""
        self.content = content
        self.size = len(content) if size is None else size
        self.part = part
        self.at: Callable[[int], None] = lambda _: None

    async def open(self) -> int:
        """Return what is promised."""
        return self.size

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the parts."""
        for begin in range(0, len(self.content), self.part):
            self.at(begin)
            yield self.content[begin : begin + self.part]


async def take(storage: DirectoryStorage, place: Place, source: Source, **fields: Any) -> ImageFile:
    """Import a disk as image `i1`, unless it is said otherwise."""
    asked = {"iso": False, "sha256": "", "mark": MARK, "on_progress": silent, **fields}
    return await storage.import_image(place, "i1", source, **asked)


@pytest.mark.parametrize(("uid", "iso"), [("i1", True), ("i1", False)])
async def test_a_scan_knows_an_imported_image(
    storage: DirectoryStorage, repository: Place, uid: str, *, iso: bool
) -> None:
    """Its file and its record are no strangers, and it is found by its uid."""
    await take(storage, repository, Bytes(ISO if iso else bytes(MIB)), iso=iso)
    found = await storage.scan(repository, {uid, "i9"})
    assert (found.images, found.foreign) == ((uid,), ())
    assert len((await storage.scan(repository, set())).foreign) == 2


def qcow2(folder: Path, *options: str, size: int = 3 * MIB) -> bytes:
    """Return a qcow2 image as qemu-img makes it."""
    path = folder / "made.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path, str(size)], check=True, cwd=folder)
    return path.read_bytes()


def convert(kind: str, path: Path, into: str, target: Path, *options: str) -> None:
    """Convert an image by qemu-img."""
    subprocess.run(["qemu-img", "convert", *options, "-f", kind, "-O", into, path, target], check=True)


async def test_an_image_is_found_once_imported(storage: DirectoryStorage, repository: Place) -> None:
    """It is what was given, byte by byte; repeated under its mark it is the same, under another it is refused."""
    content = os.urandom(5 * MIB + 100)
    told: list[tuple[int, int]] = []
    image = await take(storage, repository, Bytes(content), on_progress=lambda *report: told.append(report))
    assert image.path.read_bytes() == content
    assert (image.mark, image.format, image.size_bytes) == (MARK, "raw", len(content))
    assert image.virtual_size_bytes == 5 * MIB + 512
    assert image.sha256 == hashlib.sha256(content).hexdigest()
    assert told[-1] == (len(content), len(content))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert await storage.find_image(repository, "i1") == image
    assert await take(storage, repository, Bytes(b"never read")) == image
    with pytest.raises(AlreadyExists):
        await take(storage, repository, Bytes(content), mark=OTHER)
    assert not await storage.remove_disk(repository, "i1", OTHER)
    assert await storage.remove_disk(repository, "i1", MARK)
    assert await storage.find_image(repository, "i1") is None


async def test_an_image_goes_to_the_trash_and_comes_back(storage: DirectoryStorage, repository: Place) -> None:
    """As the image of a disk does, and it keeps the repository from being removed."""
    image = await take(storage, repository, Bytes(ISO), iso=True)
    assert (image.format, image.path.suffix) == ("iso", ".iso")
    with pytest.raises(WrongState):
        await storage.remove_repository(repository, MARK)
    await storage.trash_disk(repository, "i1", OTHER)
    assert await storage.find_image(repository, "i1") is None
    assert await storage.restore_disk(repository, "i1", OTHER)
    assert await storage.find_image(repository, "i1") == image
    await storage.trash_disk(repository, "i1", OTHER)
    assert await storage.erase_disk(repository, "i1") > 0
    assert list((Path(repository.path) / "disks").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "fields", "field", "said"),
    [
        (b"x" * 600, {"sha256": "0" * 64}, "sha256", "0000 is not the digest"),
        (b"x" * 600, {"iso": True}, "format", "no ISO 9660"),
        (ISO.replace(b"CD001", b"CD002"), {"iso": True}, "format", "no ISO 9660"),
        (b"KDMV" + bytes(600), {}, "format", "VMDK"),
        (bytes(64) + b"\x7f\x10\xda\xbe" + bytes(600), {}, "format", "VDI"),
        (b"\x1f\x8b" + bytes(600), {}, "format", "gzip"),
        (b"QFI\xfb" + bytes(600), {}, "format", "no qcow2 image that can be read"),
    ],
)
async def test_what_an_image_is_not_is_told_and_not_kept(
    storage: DirectoryStorage, repository: Place, content: bytes, fields: dict[str, Any], field: str, said: str
) -> None:
    """The field is named, and nothing of the file stays."""
    before = tree(Path(repository.path))
    with pytest.raises(InvalidRequest) as refusal:
        await take(storage, repository, Bytes(content), **fields)
    assert refusal.value.violations[0].field == field
    assert said in refusal.value.message
    assert tree(Path(repository.path)) == before


@pytest.mark.parametrize("options", [["-b", "/etc/hostname", "-F", "raw", "-u"], ["-o", "data_file=other.raw"]])
async def test_an_image_that_reaches_for_other_files_is_refused(
    storage: DirectoryStorage, repository: Place, tmp_path: Path, options: list[str]
) -> None:
    """A guest could read any file of the host through it, were it believed."""
    before = tree(Path(repository.path))
    with pytest.raises(InvalidRequest, match="another file as its backing or data file"):
        await take(storage, repository, Bytes(qcow2(tmp_path, *options)))
    assert tree(Path(repository.path)) == before


@pytest.mark.parametrize("size", [0, 5 * MIB])
async def test_a_file_that_changes_while_it_is_read_is_not_kept(
    storage: DirectoryStorage, repository: Place, size: int
) -> None:
    """It gives more, or less, than it had at first; another attempt may be luckier."""
    before = tree(Path(repository.path))
    with pytest.raises(Unavailable):
        await take(storage, repository, Bytes(bytes(2 * MIB), size=size))
    assert tree(Path(repository.path)) == before


@pytest.mark.parametrize("tenth", [1, 5, 9])
async def test_an_import_that_is_cancelled_leaves_nothing(
    storage: DirectoryStorage, repository: Place, tenth: int
) -> None:
    """At each place between a tenth and nine tenths: the file and its record are gone."""
    before = tree(Path(repository.path))
    source = Bytes(os.urandom(10 * MIB))
    during: list[bool] = []

    def stop(done: int) -> None:
        if done == tenth * MIB:
            during.append(tree(Path(repository.path)) != before)
            importing.cancel()

    source.at = stop
    importing = asyncio.ensure_future(take(storage, repository, source))
    with pytest.raises(asyncio.CancelledError):
        await importing
    assert during == [True]
    assert tree(Path(repository.path)) == before


async def test_a_half_copied_image_is_begun_anew(storage: DirectoryStorage, repository: Place) -> None:
    """What a killed agent left is not found; the same mark makes it whole, or removes it."""
    image = await take(storage, repository, Bytes(bytes(MIB)))
    part = image.path.with_name(f"{image.path.name}.part")
    image.path.rename(part)
    assert await storage.find_image(repository, "i1") is None
    assert await take(storage, repository, Bytes(bytes(MIB))) == image
    image.path.rename(part)
    assert await storage.remove_disk(repository, "i1", MARK)
    assert list(part.parent.iterdir()) == []


async def test_an_image_counts_against_the_repository(storage: DirectoryStorage, place: Place) -> None:
    """One for which the limit has no room is refused before it is copied, and the next one that fits is not."""
    await storage.create_repository(place, MARK, 4 * MIB)
    before = tree(Path(place.path))
    with pytest.raises(CapacityExhausted):
        await take(storage, place, Bytes(b"", size=5 * MIB))
    assert tree(Path(place.path)) == before
    await take(storage, place, Bytes(bytes(3 * MIB)))
    assert (await storage.usage(place)).promised_bytes == 3 * MIB


@pytest.mark.parametrize("full", [False, True])
async def test_a_disk_begins_with_its_image(
    storage: DirectoryStorage, repository: Place, tmp_path: Path, full: bool
) -> None:
    """Its first bytes are those of the image, the rest is zeros; the bytes are told while they are copied."""
    content = os.urandom(2 * MIB) + bytes(MIB)
    image = await take(storage, repository, Bytes(content))
    told: list[tuple[int, int]] = []
    disk = await storage.create_disk(
        repository,
        "d1",
        8 * MIB,
        full=full,
        mark=MARK,
        on_progress=lambda *report: told.append(report),
        image=image,
    )
    assert (virtual_size(disk), disk.size_bytes) == (8 * MIB, 8 * MIB)
    seen = tmp_path / "seen.raw"
    convert(disk.format, disk.path, "raw", seen)
    assert seen.read_bytes() == content + bytes(5 * MIB)
    assert told[-1] == ((11 * MIB, 11 * MIB) if full else (3 * MIB, 3 * MIB))
    assert (disk.allocated_bytes >= 8 * MIB) == full


async def test_a_disk_begins_with_a_qcow2_image(storage: DirectoryStorage, repository: Place, tmp_path: Path) -> None:
    """Converted by qemu-img; where that is missing it is refused, and nothing is made."""
    raw = tmp_path / "in.raw"
    raw.write_bytes(os.urandom(3 * MIB))
    made = tmp_path / "in.qcow2"
    convert("raw", raw, "qcow2", made, "-c")
    image = await take(storage, repository, Bytes(made.read_bytes()))
    assert (image.format, image.virtual_size_bytes) == ("qcow2", 3 * MIB)
    before = tree(Path(repository.path))
    making = storage.create_disk(repository, "d1", 4 * MIB, full=False, mark=MARK, on_progress=silent, image=image)
    if storage.reason.startswith("raw"):
        with pytest.raises(Unsupported):
            await making
        assert tree(Path(repository.path)) == before
        return
    disk = await making
    seen = tmp_path / "seen.raw"
    convert("qcow2", disk.path, "raw", seen)
    assert seen.read_bytes() == raw.read_bytes() + bytes(MIB)


async def test_a_disk_is_not_smaller_than_its_image(storage: DirectoryStorage, repository: Place) -> None:
    """It is refused with both sizes, and nothing is made."""
    image = await take(storage, repository, Bytes(os.urandom(3 * MIB)))
    before = tree(Path(repository.path))
    with pytest.raises(InvalidRequest) as refusal:
        await storage.create_disk(repository, "d1", 2 * MIB, full=False, mark=MARK, on_progress=silent, image=image)
    assert refusal.value.violations[0].field == "size_bytes"
    assert str(3 * MIB) in refusal.value.message
    assert tree(Path(repository.path)) == before


async def test_a_disk_cancelled_while_its_image_is_copied_leaves_nothing(
    storage: DirectoryStorage, repository: Place
) -> None:
    """Between a tenth and nine tenths: neither the disk nor whoever writes it stays; the image does."""
    image = await take(storage, repository, Bytes(os.urandom(16 * MIB) * 16, part=16 * MIB))
    before = sorted(path.name for path in (Path(repository.path) / "disks").iterdir())
    begun = asyncio.Event()
    shares: list[float] = []

    def tell(done: int, total: int) -> None:
        if done * 10 >= total and not begun.is_set():
            shares.append(done / total)
            begun.set()

    making = asyncio.ensure_future(
        storage.create_disk(repository, "d1", 256 * MIB, full=False, mark=MARK, on_progress=tell, image=image)
    )
    async with asyncio.timeout(30):
        await begun.wait()
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert shares[0] < 0.9, "the copy was too quick to be caught"
    assert sorted(path.name for path in (Path(repository.path) / "disks").iterdir()) == before


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "link"])
async def test_only_files_are_imported(storage: DirectoryStorage, repository: Place, root: Path, kind: str) -> None:
    """What is no file is refused at once, a pipe that nobody writes to as well."""
    path = root / "in"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.symlink_to("/etc/hostname")
    async with asyncio.timeout(10):
        with pytest.raises(NotFound if kind == "missing" else InvalidRequest, match="server_path"):
            await take(storage, repository, storage.file(path))


async def test_a_file_of_the_host_is_imported(storage: DirectoryStorage, repository: Place, root: Path) -> None:
    """Whatever its size is against the parts that it is read in."""
    content = os.urandom(9 * MIB + 3)
    (root / "in").write_bytes(content)
    image = await take(storage, repository, storage.file(root / "in"))
    assert image.sha256 == hashlib.sha256(content).hexdigest()


# --- uploads ----------------------------------------------------------------------------------------------------------


class Inventory:
    """Streams an upload to its reader, and breaks off as it is told."""

    def __init__(self, content: bytes, cuts: list[int]) -> None:
        """Break off after so many MiB of each stream; the ones after these run to the end."""
        self.content = content
        self.cuts = cuts
        self.offsets: list[int] = []

    async def read(self, upload: str, offset: int) -> AsyncGenerator[host_service_pb2.ReadUploadResponse, None]:
        """Stream from the offset on."""
        assert upload == "uploads/1"
        self.offsets.append(offset)
        left = self.cuts.pop(0) if self.cuts else -1
        for at in range(offset, len(self.content), MIB):
            if left == 0:
                raise Unavailable("cut by the test")
            left -= 1
            yield host_service_pb2.ReadUploadResponse(size_bytes=len(self.content), data=self.content[at : at + MIB])


async def test_an_upload_that_is_cut_off_goes_on_where_it_was(storage: DirectoryStorage, repository: Place) -> None:
    """Nothing is read twice and nothing is left out; a cut before the first byte is no end either."""
    content = os.urandom(5 * MIB + 9)
    inventory = Inventory(content, [-1, 2, 0, 1])
    image = await take(storage, repository, UploadSource("uploads/1", inventory.read))
    assert image.path.read_bytes() == content
    assert inventory.offsets == [0, 0, 2 * MIB, 2 * MIB, 3 * MIB]


async def test_an_inventory_that_stays_away_is_told(
    storage: DirectoryStorage, repository: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a time without a byte; nothing of the image is left."""
    monkeypatch.setattr(sources, "_PATIENCE", 0.2)
    before = tree(Path(repository.path))
    inventory = Inventory(bytes(MIB), [-1, *[0] * 1000])
    with pytest.raises(Unavailable, match="cut by the test"):
        await take(storage, repository, UploadSource("uploads/1", inventory.read))
    assert 3 < len(inventory.offsets) < 100
    assert tree(Path(repository.path)) == before


async def test_an_agent_without_an_inventory_says_so() -> None:
    """As one does that a test opens by itself."""
    with pytest.raises(NotFound, match="no inventory is known"):
        async with aclosing(UploadSource("uploads/1", reach_no_inventory).chunks()) as chunks:
            await anext(chunks)
