"""The layout of a repository folder: its marker, its images with their records, and its trash.

::

    .virtyard-repository.json       uid, mark, capacity; also the file that changes are serialised by
    disks/UID.qcow2  disks/UID.json the image, and its record, which is there first and goes last
    disks/UID.qcow2.part            the image while it is being made
    disks/UID.iso, UID.img          an imported image, with a record like that of a disk's
    .trash/UID/                     the same two files
    .virtyard-new-UID.json          the marker of a repository that is just being made in a folder that was there

Every function here blocks; the driver runs them in its threads.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from virtyard.agent.drivers.storage.contract import DiskFile, Usage
from virtyard.kernel.errors import AlreadyExists, CapacityExhausted, InvalidRequest, NotFound, WrongState
from virtyard.runtime.durable_file import (
    Record,
    create_record,
    drop_asides,
    read_record,
    remove_file,
    sync_folder,
    write_record,
)

_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MARKER = ".virtyard-repository.json"
"""The file that makes a folder a repository, once it has that name."""
FOREIGN_BUT_HARMLESS = {"lost+found"}
"""What may lie in a folder that a repository is made of."""
OF_THE_LAYOUT = frozenset({MARKER, *FOREIGN_BUT_HARMLESS})
"""What lies in a repository's folder beside its images and its trash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository folder that is there and is the right one."""

    folder: Path
    """Its real path."""
    uid: str
    """Its uid."""
    mark: str
    """The step key of the effect that made it."""
    capacity_bytes: int
    """Its own limit; 0 if it has none."""
    made_folder: bool
    """False if the folder had been there before."""

    @property
    def disks(self) -> Path:
        """Where images are."""
        return self.folder / "disks"

    @property
    def trash(self) -> Path:
        """Where images wait to be erased."""
        return self.folder / ".trash"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other agents of this storage out while the records are read and changed."""
        with (self.folder / MARKER).open("rb") as marker:
            fcntl.flock(marker, fcntl.LOCK_EX)
            yield


def check_uid(uid: str, field: str) -> None:
    """Refuse a uid that could be anything else than one file name.

    Raises:
        InvalidRequest: naming `field`.
    """
    if not _UID.fullmatch(uid):
        raise InvalidRequest.of(field, f"{uid!r} is not allowed; it must be 1 to 64 letters, digits, dots or dashes")


def find(folder: Path, uid: str) -> Repository:
    """Return the repository in `folder`.

    Raises:
        WrongState: there is none, or another one.
    """
    repository = read_repository(folder)
    if repository is None:
        raise WrongState(f"{folder} is no repository; perhaps its storage is not mounted here", resource=str(folder))
    if repository.uid != uid:
        raise WrongState(f"{folder} is another repository, {repository.uid}", resource=str(folder))
    return repository


def read_repository(folder: Path) -> Repository | None:
    """Return the repository in `folder`, whichever it is; None if there is none.

    Raises:
        WrongState: a folder of its own is a symbolic link.
    """
    marker = read_record(folder / MARKER)
    if marker is None:
        return None
    for inner in (folder / "disks", folder / ".trash"):
        if inner.is_symlink():
            raise WrongState(f"{inner} is a symbolic link, which a repository never has", resource=str(folder))
    return Repository(folder=folder, **marker)


def begin_disk(repository: Repository, record: Record) -> DiskFile | None:
    """Write the record of an image that is to be made; return the image if this mark made it already.

    Raises:
        AlreadyExists: an image of this uid is there without this mark.
        CapacityExhausted: it does not fit.
    """
    uid, mark = record["uid"], record["mark"]
    with repository.locked():
        present = read_record(repository.disks / f"{uid}.json")
        if present is not None and present["mark"] == mark:
            disk = describe(repository.disks, present)
            if disk.path.exists():
                return disk
            drop_disk(repository, uid)
        elif present is not None or _strangers(repository, uid):
            raise AlreadyExists(
                f"{repository.folder} has an image of disk {uid} already", resource=str(repository.folder)
            )
        _check_room(repository, record)
        # What an earlier try left that was killed would keep the repository from ever being empty.
        drop_asides(repository.disks / f"{uid}.json")
        create_record(repository.disks / f"{uid}.json", record)
    return None


def image_of(repository: Repository, uid: str) -> tuple[Record, DiskFile]:
    """Return the record of an image, and the image.

    Raises:
        NotFound: there is no such image.
    """
    record = read_record(repository.disks / f"{uid}.json")
    disk = describe(repository.disks, record) if record is not None else None
    if record is None or disk is None or not disk.path.exists():
        raise NotFound(f"{repository.folder} has no image of disk {uid}", resource=str(repository.folder))
    return record, disk


def record_of_lost(repository: Repository, uid: str) -> Record | None:
    """Return a record for an image whose own was lost, to go into the trash with; None if there is no such image."""
    for image in images(repository.disks, uid):
        kind = image.suffix.removeprefix(".")
        return {"uid": uid, "mark": "", "format": kind, "size_bytes": image.stat().st_size, "full": False}
    return None


def is_of_lost(record: Record) -> bool:
    """Tell whether a record was made for an image whose own was lost."""
    return not record["mark"]


def check_growth(repository: Repository, disk: DiskFile, size_bytes: int) -> None:
    """Refuse a larger size for which the file system, or the repository's own limit, has no room.

    Raises:
        CapacityExhausted: the message has the sizes.
    """
    where, limit = str(repository.folder), repository.capacity_bytes
    if limit and size_bytes > limit:
        raise CapacityExhausted(f"{size_bytes} bytes asked for, {where} holds {limit} in all", resource=where)
    if disk.full and size_bytes > disk.size_bytes:
        with repository.locked():
            _check_room(repository, {"size_bytes": size_bytes - disk.size_bytes, "full": True})


def record_size(repository: Repository, record: Record, size_bytes: int) -> DiskFile:
    """Write down the size that an image has now, and return it."""
    changed = {**record, "size_bytes": size_bytes}
    rewrite(repository, changed)
    return describe(repository.disks, changed)


def rewrite(repository: Repository, record: Record) -> None:
    """Write the record of an image anew; whoever does so has the image for itself."""
    path = repository.disks / f"{record['uid']}.json"
    drop_asides(path)
    write_record(path, record)


def partial(repository: Repository, record: Record) -> Path:
    """Return where the image of a record is while it is being made."""
    return repository.disks / f"{record['uid']}.{record['format']}.part"


def finish_disk(repository: Repository, record: Record) -> DiskFile:
    """Give an image that is whole its name, once every byte of it is durable, and return it."""
    part = partial(repository, record)
    with part.open("rb") as image:
        os.fsync(image.fileno())
    part.rename(part.with_suffix(""))
    sync_folder(repository.disks)
    return describe(repository.disks, record)


def drop_disk(repository: Repository, uid: str) -> None:
    """Remove an image, be it half made, and then its record."""
    for image in _names(repository.disks, uid):
        image.unlink(missing_ok=True)
        image.with_name(f"{image.name}.part").unlink(missing_ok=True)
    sync_folder(repository.disks)
    drop_asides(repository.disks / f"{uid}.json")
    remove_file(repository.disks / f"{uid}.json")


def describe(folder: Path, record: Record) -> DiskFile:
    """Return the image that a record in `folder` is about."""
    path = folder / f"{record['uid']}.{record['format']}"
    return DiskFile(
        uid=record["uid"],
        mark=record["mark"],
        path=path,
        format=record["format"],
        size_bytes=record["size_bytes"],
        allocated_bytes=allocated(path) or allocated(path.with_name(f"{path.name}.part")),
        full=record["full"],
    )


def images(folder: Path, uid: str) -> list[Path]:
    """Return the images of a disk in `folder`: none or one."""
    return [path for path in _names(folder, uid) if path.exists()]


def _names(folder: Path, uid: str) -> list[Path]:
    return [folder / f"{uid}.{kind}" for kind in ("qcow2", "raw", "iso", "img")]


def allocated(path: Path) -> int:
    """Return what a file takes on the storage, in bytes; 0 if it is not there."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def usage(repository: Repository) -> Usage:
    """Return the space of a repository."""
    space = os.statvfs(repository.folder)
    return Usage(
        total_bytes=space.f_blocks * space.f_frsize,
        free_bytes=space.f_bavail * space.f_frsize,
        capacity_bytes=repository.capacity_bytes,
        promised_bytes=sum(size if full else taken for size, full, taken in _all_disks(repository)),
    )


def _strangers(repository: Repository, uid: str) -> bool:
    return bool(images(repository.disks, uid)) or (repository.trash / uid).exists()


def _check_room(repository: Repository, record: Record) -> None:
    """Refuse an image for which the file system, or the repository's own limit, has no room."""
    size, full, where = record["size_bytes"], record["full"], str(repository.folder)
    limit = repository.capacity_bytes
    if limit and size > limit:
        raise CapacityExhausted(f"{size} bytes asked for, {where} holds {limit} in all", resource=where)
    if not full:
        return
    space = os.statvfs(repository.folder)
    disks = _all_disks(repository)
    still_to_write = sum(max(0, disk_size - taken) for disk_size, disk_full, taken in disks if disk_full)
    free = max(0, space.f_bavail * space.f_frsize - still_to_write)
    if size > free:
        raise CapacityExhausted(f"{size} bytes asked for, {free} are free in {where}", resource=where)
    promised = sum(disk_size if disk_full else taken for disk_size, disk_full, taken in disks)
    if limit and promised + size > limit:
        raise CapacityExhausted(
            f"{size} bytes asked for, {max(0, limit - promised)} of {limit} are left in {where}", resource=where
        )


def _all_disks(repository: Repository) -> list[tuple[int, bool, int]]:
    """Return size, whether it is full, and what it takes, of every image, the trash included."""
    found = []
    for path in (*repository.disks.glob("*.json"), *repository.trash.glob("*/*.json")):
        record = read_record(path)
        if record is not None:
            found.append((record["size_bytes"], record["full"], describe(path.parent, record).allocated_bytes))
    return found
