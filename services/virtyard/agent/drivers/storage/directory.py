"""The `dir` storage: a repository is a folder, an image a file in it, qcow2 where qemu-img is installed.

A shared folder is reached by every server that mounts it; changes are serialised by a lock on the marker file.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Set as AbstractSet
from pathlib import Path

from virtyard.agent.drivers.storage import foundation, image, imports, layout
from virtyard.agent.drivers.storage.contract import DiskFile, ImageFile, Place, Report, Scan, Source, Usage
from virtyard.agent.drivers.storage.layout import Repository
from virtyard.agent.drivers.storage.roots import StorageRoots
from virtyard.agent.drivers.storage.scan import scan
from virtyard.agent.drivers.storage.sources import FileSource
from virtyard.kernel.errors import InvalidRequest, NotFound, Unsupported, WrongState
from virtyard.runtime.durable_file import Record, drop_asides, read_record, remove_file, sync_folder
from virtyard.runtime.threads import Threads

_PATH = "repository_path"
_UID = "disk_uid"
_IMAGE_UID = "image_uid"


class DirectoryStorage:
    """Keeps repositories in folders below the storage roots."""

    name = "dir"

    def __init__(self, *, roots: StorageRoots, program: str = "qemu-img") -> None:
        """Use `program` for images; where it is not installed, or is "", they are raw."""
        self._roots = roots
        self._program = shutil.which(program) if program else None
        self._why_raw = "qemu-img is not installed" if program else "simulated machines read no image"
        self._threads = Threads("storage", workers=8)

    @property
    def reason(self) -> str:
        """How images are written here and why."""
        return f"qcow2 by {self._program}" if self._program else f"raw files: {self._why_raw}"

    async def create_repository(self, place: Place, mark: str, capacity_bytes: int = 0) -> Usage:
        """Lay out the folder; see the contract."""
        layout.check_uid(place.uid, "repository_uid")
        if capacity_bytes < 0:
            raise InvalidRequest.of("capacity_bytes", f"{capacity_bytes} is not allowed; it must be 0 or more")

        def create() -> Usage:
            return layout.usage(
                foundation.lay_out(self._roots.check(place.path, _PATH), place.uid, mark, capacity_bytes)
            )

        return await self._threads.run(create)

    async def remove_repository(self, place: Place, mark: str | None = None) -> bool:
        """Remove the folder if it holds no image."""
        layout.check_uid(place.uid, "repository_uid")
        return await self._threads.run(
            lambda: foundation.take_away(self._roots.check(place.path, _PATH), place.uid, mark)
        )

    async def has_repository(self, place: Place) -> str | None:
        """Return the mark of the repository, or None."""
        try:
            return (await self._threads.run(self._find, place)).mark
        except WrongState:
            return None

    async def usage(self, place: Place) -> Usage:
        """Return the space of the repository."""
        return await self._threads.run(lambda: layout.usage(self._find(place)))

    async def scan(self, place: Place, uids: AbstractSet[str]) -> Scan:
        """Look through the repository."""
        return await self._threads.run(lambda: scan(self._find(place), uids))

    async def create_disk(
        self,
        place: Place,
        uid: str,
        size_bytes: int,
        *,
        full: bool,
        mark: str,
        on_progress: Report,
        image: ImageFile | None = None,
    ) -> DiskFile:
        """Make the image under its record; see the contract."""
        layout.check_uid(uid, _UID)
        if size_bytes <= 0 or size_bytes % 512:
            raise InvalidRequest.of("size_bytes", f"{size_bytes} is not allowed; it must be a multiple of 512 above 0")
        self._check_source(image, size_bytes)
        repository = await self._threads.run(self._find, place)
        kind = "qcow2" if self._program else "raw"
        record = {"uid": uid, "mark": mark, "format": kind, "size_bytes": size_bytes, "full": full}
        try:
            present = await self._threads.run(self._begin, repository, record)
            if present is not None:
                return present
            await self._write(layout.partial(repository, record), size_bytes, image, full=full, on_progress=on_progress)
            return await self._threads.run(layout.finish_disk, repository, record)
        except BaseException:
            # Whole or not: a cancellation that came while the image got its name is raised once it has it.
            await self._threads.run(self._drop_own, repository, uid, mark)
            raise

    def _check_source(self, image: ImageFile | None, size_bytes: int) -> None:
        if image is None:
            return
        if image.virtual_size_bytes > size_bytes:
            text = f"{size_bytes} is not allowed; the image needs {image.virtual_size_bytes} bytes"
            raise InvalidRequest.of("size_bytes", text)
        if image.format != "raw" and not self._program:
            raise Unsupported(f"a disk cannot be made from a {image.format} image here: {self._why_raw}")

    async def _write(
        self, path: Path, size_bytes: int, source: ImageFile | None, *, full: bool, on_progress: Report
    ) -> None:
        """Write a disk's image: first empty, then what it begins with."""
        more = source.virtual_size_bytes if source is not None else 0
        first = size_bytes if full else 0

        def empty(done: int, total: int) -> None:
            on_progress(done, total + more)

        def filled(done: int, total: int) -> None:
            on_progress(first + done, first + total)

        tell = empty if full or source is None else lambda _done, _total: None
        if self._program:
            await image.write_qcow2(self._program, path, size_bytes, full=full, on_progress=tell)
            if source is not None:
                await image.convert_to_qcow2(self._program, source, path, size_bytes, on_progress=filled)
        else:
            await image.write_raw_in(self._threads, path, size_bytes, full=full, on_progress=tell)
            if source is not None:
                await image.copy_raw_in(self._threads, source, path, on_progress=filled)

    async def import_image(
        self, place: Place, uid: str, source: Source, *, iso: bool, sha256: str, mark: str, on_progress: Report
    ) -> ImageFile:
        """Copy the file under its record; see the contract."""
        layout.check_uid(uid, _IMAGE_UID)
        repository = await self._threads.run(self._find, place)
        present = await self._threads.run(imports.find, repository, uid)
        if present is not None and present.mark == mark:
            return present
        size = await source.open()
        # It counts as full: every byte of it is written.
        kind = "iso" if iso else "img"
        record = {"uid": uid, "mark": mark, "format": kind, "size_bytes": size, "full": True}
        try:
            await self._threads.run(self._begin, repository, record)
            part = layout.partial(repository, record)
            digest = await imports.copy(self._threads, source, part, size, iso=iso, on_progress=on_progress)
            imports.check_digest(digest, sha256)
            return await self._threads.run(imports.finish, repository, record, digest, iso=iso)
        except BaseException:
            await self._threads.run(self._drop_own, repository, uid, mark)
            raise

    async def find_image(self, place: Place, uid: str) -> ImageFile | None:
        """Return the imported image if it is whole and in its place."""
        layout.check_uid(uid, _IMAGE_UID)
        return await self._threads.run(lambda: imports.find(self._find(place), uid))

    def file(self, path: Path) -> Source:
        """Return a file of this host as what is to be imported; its path was checked."""
        return FileSource(path, self._threads)

    async def remove_disk(self, place: Place, uid: str, mark: str | None = None) -> bool:
        """Remove the image; see the contract."""
        layout.check_uid(uid, _UID)

        def remove() -> bool:
            repository = self._find(place)
            record = read_record(repository.disks / f"{uid}.json")
            if record is None or mark not in {None, record["mark"]}:
                if record is None:
                    # Killed while it was begun, an image may have no record yet.
                    drop_asides(repository.disks / f"{uid}.json")
                return False
            image.end_writers(layout.partial(repository, record))
            layout.drop_disk(repository, uid)
            return True

        return await self._threads.run(remove)

    async def find_disk(self, place: Place, uid: str) -> DiskFile | None:
        """Return the image if it is whole and in its place."""
        layout.check_uid(uid, _UID)

        def look() -> DiskFile | None:
            repository = self._find(place)
            record = read_record(repository.disks / f"{uid}.json")
            disk = layout.describe(repository.disks, record) if record else None
            return disk if disk is not None and disk.path.exists() else None

        return await self._threads.run(look)

    async def resize_disk(self, place: Place, uid: str, size_bytes: int, *, on_progress: Report) -> DiskFile:
        """Resize the image, then its record; see the contract."""
        layout.check_uid(uid, _UID)
        if size_bytes <= 0 or size_bytes % 512:
            raise InvalidRequest.of("size_bytes", f"{size_bytes} is not allowed; it must be a multiple of 512 above 0")
        repository = await self._threads.run(self._find, place)
        record, disk = await self._threads.run(layout.image_of, repository, uid)
        if disk.size_bytes == size_bytes:
            return disk
        await self._threads.run(layout.check_growth, repository, disk, size_bytes)
        try:
            await self._resize(disk, size_bytes, before=disk.size_bytes, on_progress=on_progress)
            return await self._threads.run(layout.record_size, repository, record, size_bytes)
        except BaseException:
            await self._resize(disk, disk.size_bytes, before=size_bytes, on_progress=lambda _done, _total: None)
            raise

    async def settle_size(self, place: Place, uid: str) -> DiskFile | None:
        """Give the image the size of its record; see the contract."""
        layout.check_uid(uid, _UID)
        repository = await self._threads.run(self._find, place)
        try:
            _, disk = await self._threads.run(layout.image_of, repository, uid)
        except NotFound:
            return None
        await self._threads.run(image.end_writers, disk.path)
        await self._threads.run(drop_asides, repository.disks / f"{uid}.json")
        # Shrinking to the size that it has already does nothing.
        await self._resize(disk, disk.size_bytes, before=disk.size_bytes, on_progress=lambda _done, _total: None)
        return disk

    async def _resize(self, disk: DiskFile, size_bytes: int, *, before: int, on_progress: Report) -> None:
        if self._program:
            await image.resize_qcow2(
                self._program, disk.path, size_bytes, before=before, full=disk.full, on_progress=on_progress
            )
        else:
            loop = asyncio.get_running_loop()

            def tell(done: int, total: int) -> None:
                loop.call_soon_threadsafe(on_progress, done, total)

            await self._threads.run(
                image.resize_raw, disk.path, size_bytes, before=before, full=disk.full, on_progress=tell
            )

    async def trash_disk(self, place: Place, uid: str, mark: str) -> Path | None:
        """Move the image, then its record, into the trash; see the contract."""
        layout.check_uid(uid, _UID)

        def trash() -> Path | None:
            repository = self._find(place)
            target = repository.trash / uid
            record = read_record(repository.disks / f"{uid}.json") or layout.record_of_lost(repository, uid)
            if record is not None:
                target.mkdir(exist_ok=True)
                layout.rewrite(repository, {**record, "trashed_by": mark})
                _move(repository.disks, target, uid)
            elif not (target / f"{uid}.json").exists():
                return None
            return next(iter(layout.images(target, uid)), target)

        return await self._threads.run(trash)

    async def restore_disk(self, place: Place, uid: str, mark: str | None = None) -> bool:
        """Move the image, then its record, back from the trash."""
        layout.check_uid(uid, _UID)

        def restore() -> bool:
            repository = self._find(place)
            source = repository.trash / uid
            record = read_record(source / f"{uid}.json") or read_record(repository.disks / f"{uid}.json")
            drop_asides(repository.disks / f"{uid}.json")
            if record is None:
                with contextlib.suppress(OSError):  # empty, if it is there: left by one that was killed
                    source.rmdir()
            if record is None or not source.is_dir() or mark not in {None, record.get("trashed_by")}:
                return False
            _move(source, repository.disks, uid)
            if layout.is_of_lost(record):
                remove_file(repository.disks / f"{uid}.json")
            source.rmdir()
            sync_folder(repository.trash)
            return True

        return await self._threads.run(restore)

    async def erase_disk(self, place: Place, uid: str) -> int:
        """Remove the image from the trash for good."""
        layout.check_uid(uid, _UID)

        def erase() -> int:
            source = self._find(place).trash / uid
            freed = sum(layout.allocated(path) for path in layout.images(source, uid))
            for path in (*layout.images(source, uid), source / f"{uid}.json"):
                if source.is_dir():
                    remove_file(path)
            if source.is_dir():
                source.rmdir()
                sync_folder(source.parent)
            return freed

        return await self._threads.run(erase)

    def close(self) -> None:
        """Start no more calls."""
        self._threads.close()

    def _find(self, place: Place) -> Repository:
        return layout.find(self._roots.check(place.path, _PATH), place.uid)

    def _begin(self, repository: Repository, record: Record) -> DiskFile | None:
        if self._is_half_made(repository, record["uid"], record["mark"]):
            image.end_writers(layout.partial(repository, record))
        return layout.begin_disk(repository, record)

    def _drop_own(self, repository: Repository, uid: str, mark: str) -> None:
        record = read_record(repository.disks / f"{uid}.json")
        if record is not None and record["mark"] == mark:
            layout.drop_disk(repository, uid)

    def _is_half_made(self, repository: Repository, uid: str, mark: str) -> bool:
        record = read_record(repository.disks / f"{uid}.json")
        return record is not None and record["mark"] == mark and not layout.images(repository.disks, uid)


def _move(source: Path, target: Path, uid: str) -> None:
    """Move an image and then its record; a move that was cut short is completed."""
    for path in (*layout.images(source, uid), source / f"{uid}.json"):
        if path.exists():
            path.rename(target / path.name)
    sync_folder(target)
    sync_folder(source)
