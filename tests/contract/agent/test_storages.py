"""The storage contract, kept by folders with qcow2 images and by folders with raw ones."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from virtyard.agent.drivers.storage import layout
from virtyard.agent.drivers.storage.contract import DiskFile, Place
from virtyard.agent.drivers.storage.directory import DirectoryStorage
from virtyard.kernel.errors import AlreadyExists, CapacityExhausted, InvalidRequest, NotFound, WrongState
from virtyard.runtime.durable_file import Record

MARK = "12/1/1"
OTHER = "13/1/1"
MIB = 1 << 20


def silent(done: int, total: int) -> None:
    """Take a report and do nothing."""


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: paths with contents."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def virtual_size(disk: DiskFile) -> int:
    """What a guest sees of an image: the file's length, or what the header of a qcow2 image says."""
    head = disk.path.read_bytes()[:32]
    return int.from_bytes(head[24:32], "big") if disk.format == "qcow2" else disk.path.stat().st_size


async def test_a_repository_is_there_once_made(storage: DirectoryStorage, place: Place) -> None:
    """It has its mark and space; making it again under the mark is the same, under another it is refused."""
    usage = await storage.create_repository(place, MARK, 5 * MIB)
    assert usage.capacity_bytes == 5 * MIB
    assert 0 < usage.free_bytes <= usage.total_bytes
    assert await storage.has_repository(place) == MARK
    assert await storage.create_repository(place, MARK, 5 * MIB) is not None
    with pytest.raises(AlreadyExists):
        await storage.create_repository(place, OTHER)


async def test_a_removed_repository_leaves_nothing(storage: DirectoryStorage, place: Place, root: Path) -> None:
    """Removing takes the folder away; only the right mark does; a second time there is nothing."""
    await storage.create_repository(place, MARK)
    assert not await storage.remove_repository(place, OTHER)
    assert await storage.remove_repository(place, MARK)
    assert tree(root) == {}
    assert not await storage.remove_repository(place, MARK)
    assert await storage.has_repository(place) is None


async def test_a_folder_that_was_there_stays(storage: DirectoryStorage, place: Place, root: Path) -> None:
    """A repository made in an empty folder is removed without the folder."""
    Path(place.path).mkdir()
    await storage.create_repository(place, MARK)
    assert await storage.remove_repository(place, MARK)
    assert tree(root) == {"repo": None}


async def test_a_folder_in_use_is_left_alone(storage: DirectoryStorage, place: Place, root: Path) -> None:
    """A folder with somebody's files is refused and not touched."""
    Path(place.path).mkdir()
    (Path(place.path) / "thesis.txt").write_text("mine")
    before = tree(root)
    with pytest.raises(AlreadyExists):
        await storage.create_repository(place, MARK)
    assert tree(root) == before


@pytest.mark.parametrize("inner", ["disks", ".trash"])
async def test_a_folder_whose_disks_are_somebodys_is_left_alone(
    inner: str, storage: DirectoryStorage, place: Place, root: Path
) -> None:
    """A folder called as one of a repository's is taken over if it is empty, and refused if it holds anything."""
    (Path(place.path) / inner).mkdir(parents=True)
    precious = Path(place.path) / inner / "precious.img"
    precious.write_text("mine")
    before = tree(root)
    with pytest.raises(AlreadyExists):
        await storage.create_repository(place, MARK)
    assert tree(root) == before
    precious.unlink()
    await storage.create_repository(place, MARK)


@pytest.mark.parametrize("inner", ["disks", ".trash"])
async def test_a_file_or_a_link_in_the_place_of_a_folder_is_left_alone(
    inner: str, storage: DirectoryStorage, place: Place, root: Path
) -> None:
    """What is called as a repository's own folder and is none is refused."""
    Path(place.path).mkdir()
    entry = Path(place.path) / inner
    entry.write_text("mine")
    with pytest.raises(AlreadyExists):
        await storage.create_repository(place, MARK)
    entry.unlink()
    (root / "elsewhere").mkdir()
    entry.symlink_to(root / "elsewhere")
    with pytest.raises(AlreadyExists):
        await storage.create_repository(place, MARK)
    assert entry.is_symlink()


async def test_a_repository_with_images_is_not_removed(storage: DirectoryStorage, repository: Place) -> None:
    """Neither an image nor one in the trash is lost with the folder."""
    await storage.create_disk(repository, "d1", MIB, full=False, mark=MARK, on_progress=silent)
    with pytest.raises(WrongState):
        await storage.remove_repository(repository, MARK)
    await storage.trash_disk(repository, "d1", OTHER)
    with pytest.raises(WrongState):
        await storage.remove_repository(repository, MARK)


@pytest.mark.parametrize("path", ["/etc", "relative", "/", "{root}/../outside", "{root}/link/x"])
async def test_a_path_outside_the_roots_is_refused(storage: DirectoryStorage, root: Path, path: str) -> None:
    """Dots and symbolic links lead nowhere: the field is named and nothing is made."""
    (root.parent / "elsewhere").mkdir()
    (root / "link").symlink_to(root.parent / "elsewhere")
    with pytest.raises(InvalidRequest) as refusal:
        await storage.create_repository(Place(path=path.format(root=root), uid="r1"), MARK)
    assert refusal.value.violations[0].field == "repository_path"
    assert tree(root.parent / "elsewhere") == {}


async def test_a_missing_parent_is_told(storage: DirectoryStorage, root: Path) -> None:
    """No folders are made above the repository."""
    with pytest.raises(NotFound):
        await storage.create_repository(Place(path=str(root / "a" / "b"), uid="r1"), MARK)


async def test_another_repository_is_not_taken_for_this(storage: DirectoryStorage, repository: Place) -> None:
    """A folder with another uid, or without a marker, is a wrong state, and no image is made in it."""
    with pytest.raises(WrongState):
        await storage.find_disk(Place(path=repository.path, uid="r2"), "d1")
    with pytest.raises(WrongState):
        await storage.usage(Place(path=str(Path(repository.path).parent), uid="r1"))


@pytest.mark.parametrize("full", [False, True])
async def test_an_image_is_found_once_made(storage: DirectoryStorage, repository: Place, full: bool) -> None:
    """It has its size, mark and blocks; repeated under its mark it is the same one."""
    told: list[tuple[int, int]] = []
    disk = await storage.create_disk(
        repository, "d1", 8 * MIB, full=full, mark=MARK, on_progress=lambda *report: told.append(report)
    )
    assert (disk.uid, disk.mark, disk.size_bytes, disk.full) == ("d1", MARK, 8 * MIB, full)
    assert disk.path.is_relative_to(Path(repository.path) / "disks")
    assert disk.path.is_file()
    assert (disk.allocated_bytes >= 8 * MIB) == full
    assert all(0 <= done <= total == 8 * MIB for done, total in told)
    assert await storage.find_disk(repository, "d1") == disk
    assert await storage.create_disk(repository, "d1", 8 * MIB, full=full, mark=MARK, on_progress=silent) == disk


async def test_an_image_of_another_mark_is_left_alone(storage: DirectoryStorage, repository: Place) -> None:
    """Exists without my mark is a refusal, and an undo under another mark removes nothing."""
    disk = await storage.create_disk(repository, "d1", MIB, full=False, mark=MARK, on_progress=silent)
    with pytest.raises(AlreadyExists):
        await storage.create_disk(repository, "d1", MIB, full=False, mark=OTHER, on_progress=silent)
    assert not await storage.remove_disk(repository, "d1", OTHER)
    assert await storage.find_disk(repository, "d1") == disk
    assert await storage.remove_disk(repository, "d1", MARK)
    assert await storage.find_disk(repository, "d1") is None


async def test_a_file_without_a_record_is_left_alone(storage: DirectoryStorage, repository: Place) -> None:
    """A file that somebody put there is not taken for an image and not removed."""
    stray = Path(repository.path) / "disks" / "d1.raw"
    stray.write_text("mine")
    with pytest.raises(AlreadyExists):
        await storage.create_disk(repository, "d1", MIB, full=False, mark=MARK, on_progress=silent)
    assert not await storage.remove_disk(repository, "d1", MARK)
    assert stray.read_text() == "mine"


async def test_a_cancelled_image_leaves_nothing(storage: DirectoryStorage, repository: Place) -> None:
    """Cancelled after a tenth, the image and its record are gone and nobody writes any more."""
    before = tree(Path(repository.path))
    begun = asyncio.Event()

    def tell(done: int, total: int) -> None:
        if done * 10 >= total:
            begun.set()

    size = 1 << 30
    making = asyncio.ensure_future(storage.create_disk(repository, "d1", size, full=True, mark=MARK, on_progress=tell))
    async with asyncio.timeout(30):
        await begun.wait()
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert tree(Path(repository.path)) == before


async def test_an_image_cancelled_in_its_last_moment_leaves_nothing(
    storage: DirectoryStorage, repository: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled while it gets its name, the image is not left under it."""
    before = tree(Path(repository.path))
    loop, reached, cancelled = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    finish = layout.finish_disk

    def finish_late(found: layout.Repository, record: Record) -> DiskFile:
        loop.call_soon_threadsafe(reached.set)
        assert cancelled.wait(30)
        return finish(found, record)

    monkeypatch.setattr(layout, "finish_disk", finish_late)
    making = asyncio.ensure_future(
        storage.create_disk(repository, "d1", MIB, full=False, mark=MARK, on_progress=silent)
    )
    async with asyncio.timeout(30):
        await reached.wait()
    making.cancel()
    cancelled.set()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert tree(Path(repository.path)) == before


async def test_a_half_made_image_is_begun_anew(storage: DirectoryStorage, repository: Place) -> None:
    """What a killed agent left is not found; the same mark makes it whole, or removes it."""
    disk = await storage.create_disk(repository, "d1", MIB, full=False, mark=MARK, on_progress=silent)
    part = disk.path.with_name(f"{disk.path.name}.part")
    disk.path.rename(part)
    assert await storage.find_disk(repository, "d1") is None
    assert await storage.create_disk(repository, "d1", MIB, full=False, mark=MARK, on_progress=silent) == disk
    assert not part.exists()
    disk.path.rename(part)
    assert await storage.remove_disk(repository, "d1", MARK)
    assert list(part.parent.iterdir()) == []


@pytest.mark.parametrize("then", ["create", "remove", "remove half made", "resize", "settle", "trash", "restore"])
async def test_what_a_killed_writer_of_a_record_left_goes(
    then: str, storage: DirectoryStorage, repository: Place
) -> None:
    """Whatever comes next to the image removes it, so that the repository can be empty; others' are left alone."""
    disks = Path(repository.path) / "disks"
    mine, others = disks / ".d1.json.4711.tmp", disks / ".d10.json.4711.tmp"
    if then not in ("create", "remove half made"):
        await storage.create_disk(repository, "d1", MIB, full=False, mark=MARK, on_progress=silent)
    if then == "restore":
        await storage.trash_disk(repository, "d1", OTHER)
    for left in (mine, others):
        left.write_text("{")
    match then:
        case "create":
            await storage.create_disk(repository, "d1", MIB, full=False, mark=MARK, on_progress=silent)
        case "resize":
            await storage.resize_disk(repository, "d1", 2 * MIB, on_progress=silent)
        case "settle":
            await storage.settle_size(repository, "d1")
        case "trash":
            await storage.trash_disk(repository, "d1", OTHER)
        case "restore":
            assert await storage.restore_disk(repository, "d1", OTHER)
        case _:
            assert await storage.remove_disk(repository, "d1", MARK) == (then == "remove")
    assert (mine.exists(), others.exists()) == (False, True)


async def test_the_trash_gives_back_what_it_was_given(storage: DirectoryStorage, repository: Place) -> None:
    """Trashed, an image is not found; restored by the same mark it is the same; erased it is gone."""
    disk = await storage.create_disk(repository, "d1", MIB, full=True, mark=MARK, on_progress=silent)
    lies = await storage.trash_disk(repository, "d1", OTHER)
    assert lies is not None
    assert lies.is_file()
    assert lies.is_relative_to(Path(repository.path) / ".trash" / "d1")
    assert await storage.trash_disk(repository, "d1", OTHER) == lies
    assert await storage.find_disk(repository, "d1") is None
    assert not await storage.restore_disk(repository, "d1", "99/1/1")
    assert await storage.restore_disk(repository, "d1", OTHER)
    assert not await storage.restore_disk(repository, "d1", OTHER)
    assert await storage.find_disk(repository, "d1") == disk
    await storage.trash_disk(repository, "d1", OTHER)
    assert await storage.erase_disk(repository, "d1") >= MIB
    assert await storage.erase_disk(repository, "d1") == 0
    assert list((Path(repository.path) / ".trash").iterdir()) == []


@pytest.mark.parametrize("lost", ["all", "the image"])
async def test_a_lost_image_can_be_trashed_and_erased(lost: str, storage: DirectoryStorage, repository: Place) -> None:
    """What somebody removed is no failure of who wants it removed; nothing is left, and nothing comes back."""
    disk = await storage.create_disk(repository, "d1", MIB, full=False, mark=MARK, on_progress=silent)
    disk.path.unlink()
    if lost == "all":
        (disk.path.parent / "d1.json").unlink()
    lies = await storage.trash_disk(repository, "d1", OTHER)
    assert (lies is None) is (lost == "all")
    assert await storage.restore_disk(repository, "d1", OTHER) is (lost != "all")
    await storage.trash_disk(repository, "d1", OTHER)
    assert await storage.erase_disk(repository, "d1") == 0
    assert await storage.remove_repository(repository)


async def test_an_image_that_lost_its_record_goes_with_its_disk(
    storage: DirectoryStorage, repository: Place, root: Path
) -> None:
    """It is put back as it was, without a record; or erased, so that no file is left that belongs to nothing."""
    disk = await storage.create_disk(repository, "d1", MIB, full=True, mark=MARK, on_progress=silent)
    (disk.path.parent / "d1.json").unlink()
    before = tree(root)
    lies = await storage.trash_disk(repository, "d1", OTHER)
    assert lies is not None
    assert lies.is_file()
    assert await storage.trash_disk(repository, "d1", OTHER) == lies
    assert (await storage.usage(repository)).promised_bytes >= MIB
    assert not await storage.restore_disk(repository, "d1", "99/1/1")
    assert await storage.restore_disk(repository, "d1", OTHER)
    assert tree(root) == before
    await storage.trash_disk(repository, "d1", OTHER)
    assert await storage.erase_disk(repository, "d1") >= MIB
    assert await storage.remove_repository(repository)


async def test_what_a_killed_restore_left_empty_goes(storage: DirectoryStorage, repository: Place) -> None:
    """The folder of an image in the trash that was put back, or not moved there yet, is removed."""
    empty = Path(repository.path) / ".trash" / "d1"
    empty.mkdir()
    assert not await storage.restore_disk(repository, "d1", OTHER)
    assert not empty.exists()


async def test_the_repositorys_own_limit_is_kept(storage: DirectoryStorage, place: Place) -> None:
    """Full images count with their size, the trash counts too, and a refusal has the sizes and leaves nothing."""
    await storage.create_repository(place, MARK, 10 * MIB)
    await storage.create_disk(place, "d1", 6 * MIB, full=True, mark=MARK, on_progress=silent)
    await storage.trash_disk(place, "d1", OTHER)
    before = tree(Path(place.path))
    with pytest.raises(CapacityExhausted, match=f"{6 * MIB} bytes asked for, {4 * MIB} of {10 * MIB}"):
        await storage.create_disk(place, "d2", 6 * MIB, full=True, mark=MARK, on_progress=silent)
    with pytest.raises(CapacityExhausted, match="in all"):
        await storage.create_disk(place, "d2", 11 * MIB, full=False, mark=MARK, on_progress=silent)
    assert tree(Path(place.path)) == before
    await storage.create_disk(place, "d2", 6 * MIB, full=False, mark=MARK, on_progress=silent)
    assert (await storage.usage(place)).promised_bytes < 10 * MIB


async def test_a_full_file_system_is_said_before_anything_is_written(
    storage: DirectoryStorage, repository: Place
) -> None:
    """More than the file system has is refused with both sizes; nothing is written."""
    free = (await storage.usage(repository)).free_bytes
    wanted = (free // MIB + 1024) * MIB
    with pytest.raises(CapacityExhausted, match=f"{wanted} bytes asked for"):
        await storage.create_disk(repository, "d1", wanted, full=True, mark=MARK, on_progress=silent)
    assert list((Path(repository.path) / "disks").iterdir()) == []


@pytest.mark.parametrize("full", [False, True])
async def test_an_image_gets_another_size_and_its_old_one_back(
    storage: DirectoryStorage, repository: Place, full: bool
) -> None:
    """The image file itself has the new size; repeated it is the same; what was in it stays; it can be taken back."""
    disk = await storage.create_disk(repository, "d1", 4 * MIB, full=full, mark=MARK, on_progress=silent)
    grown = await storage.resize_disk(repository, "d1", 8 * MIB, on_progress=silent)
    assert (grown.size_bytes, virtual_size(grown), grown.mark) == (8 * MIB, 8 * MIB, MARK)
    assert (grown.allocated_bytes >= 8 * MIB) == full
    assert await storage.resize_disk(repository, "d1", 8 * MIB, on_progress=silent) == grown
    assert await storage.find_disk(repository, "d1") == grown
    back = await storage.resize_disk(repository, "d1", 4 * MIB, on_progress=silent)
    assert (back.size_bytes, virtual_size(back), back.path) == (4 * MIB, 4 * MIB, disk.path)


async def test_a_growth_that_was_cut_short_is_taken_back(storage: DirectoryStorage, repository: Place) -> None:
    """Grown without its record, as a killed agent leaves it, an image gets the size of the record again."""
    disk = await storage.create_disk(repository, "d1", 4 * MIB, full=False, mark=MARK, on_progress=silent)
    record = disk.path.with_suffix(".json")
    before = record.read_bytes()
    await storage.resize_disk(repository, "d1", 8 * MIB, on_progress=silent)
    record.write_bytes(before)
    settled = await storage.settle_size(repository, "d1")
    assert settled is not None
    assert (settled.size_bytes, virtual_size(settled)) == (4 * MIB, 4 * MIB)
    assert await storage.settle_size(repository, "d2") is None


async def test_a_cancelled_growth_leaves_the_old_size(storage: DirectoryStorage, repository: Place) -> None:
    """Cancelled after a tenth, the image has its old size and nobody writes any more."""
    await storage.create_disk(repository, "d1", 4 * MIB, full=True, mark=MARK, on_progress=silent)
    begun = asyncio.Event()

    def tell(done: int, total: int) -> None:
        if done * 10 >= total:
            begun.set()

    growing = asyncio.ensure_future(storage.resize_disk(repository, "d1", 1 << 30, on_progress=tell))
    async with asyncio.timeout(30):
        await begun.wait()
    growing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await growing
    disk = await storage.find_disk(repository, "d1")
    assert disk is not None
    assert (disk.size_bytes, virtual_size(disk)) == (4 * MIB, 4 * MIB)


async def test_a_growth_beyond_the_limit_is_refused(storage: DirectoryStorage, place: Place) -> None:
    """Neither more than the repository holds in all nor more than is left of it; the image stays as it is."""
    await storage.create_repository(place, MARK, 10 * MIB)
    await storage.create_disk(place, "d1", 6 * MIB, full=True, mark=MARK, on_progress=silent)
    before = tree(Path(place.path))
    for size in (11 * MIB, 64 * MIB):
        with pytest.raises(CapacityExhausted, match="bytes asked for"):
            await storage.resize_disk(place, "d1", size, on_progress=silent)
    with pytest.raises(NotFound):
        await storage.resize_disk(place, "d2", 8 * MIB, on_progress=silent)
    assert tree(Path(place.path)) == before


@pytest.mark.parametrize(
    ("uid", "size", "field"),
    [
        ("../d1", MIB, "disk_uid"),
        ("", MIB, "disk_uid"),
        ("d1", 0, "size_bytes"),
        ("d1", -5, "size_bytes"),
        ("d1", 100, "size_bytes"),
    ],
)
async def test_a_wrong_value_is_refused_by_its_field(
    storage: DirectoryStorage, repository: Place, uid: str, size: int, field: str
) -> None:
    """Uids that are no file name and sizes that are none are refused with the field's name."""
    with pytest.raises(InvalidRequest) as refusal:
        await storage.create_disk(repository, uid, size, full=False, mark=MARK, on_progress=silent)
    assert refusal.value.violations[0].field == field


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
async def test_a_file_system_that_fills_up_meanwhile_leaves_nothing(
    storage: DirectoryStorage, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a 32 MiB mount that somebody else fills, the writer's own error becomes a refusal with the sizes."""
    Path(place.path).mkdir()
    mount = await asyncio.create_subprocess_exec("mount", "-t", "tmpfs", "-o", "size=32m", "none", place.path)
    if await mount.wait() != 0:
        pytest.skip("mounting is not allowed here")
    try:
        await storage.create_repository(place, MARK)
        before = tree(Path(place.path))
        monkeypatch.setattr("virtyard.agent.drivers.storage.layout._check_room", lambda *_: None)
        with pytest.raises(CapacityExhausted, match=f"{64 * MIB} bytes asked for"):
            await storage.create_disk(place, "d1", 64 * MIB, full=True, mark=MARK, on_progress=silent)
        assert tree(Path(place.path)) == before
    finally:
        await (await asyncio.create_subprocess_exec("umount", place.path)).wait()


async def test_a_scan_knows_its_own_files_and_changes_nothing(
    storage: DirectoryStorage, repository: Place, root: Path
) -> None:
    """Images and their records belong to their disks; strays, the trash and images of no disk belong to none."""
    for uid in ("d1", "d2", "d3"):
        await storage.create_disk(repository, uid, MIB, full=False, mark=MARK, on_progress=silent)
    await storage.trash_disk(repository, "d3", OTHER)
    folder = Path(repository.path)
    (folder / "lost+found").mkdir()
    (folder / "iso").mkdir()
    (folder / "iso" / "a.iso").write_text("")
    (folder / "disks" / "notes.txt").write_text("")
    before = tree(root)
    scan = await storage.scan(repository, {"d1", "d9"})
    (image,) = (path.name for path in (folder / "disks").glob("d2.*") if path.suffix != ".json")
    assert scan.images == ("d1",)
    assert scan.foreign == (
        ".trash/d3/",
        f"disks/{min('d2.json', image)}",
        f"disks/{max('d2.json', image)}",
        "disks/notes.txt",
        "iso/",
    )
    # What is free on this machine's disk changes all the time.
    assert replace(scan.usage, free_bytes=0) == replace(await storage.usage(repository), free_bytes=0)
    assert 0 < scan.usage.free_bytes <= scan.usage.total_bytes
    assert tree(root) == before


async def test_a_scan_counts_only_whole_images(storage: DirectoryStorage, repository: Place) -> None:
    """A record without its image, as a person who tidied up would leave it, is a missing image."""
    disk = await storage.create_disk(repository, "d1", MIB, full=False, mark=MARK, on_progress=silent)
    disk.path.unlink()
    scan = await storage.scan(repository, {"d1"})
    assert (scan.images, scan.foreign) == ((), ())


async def test_a_scan_of_another_folder_is_refused(storage: DirectoryStorage, repository: Place, root: Path) -> None:
    """It must be the repository that it should be, below a storage root."""
    with pytest.raises(WrongState):
        await storage.scan(Place(path=repository.path, uid="r2"), set())
    with pytest.raises(InvalidRequest):
        await storage.scan(Place(path=str(root.parent), uid="r1"), set())
