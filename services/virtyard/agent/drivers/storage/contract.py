"""The storage contract: repositories, the images of disks in them, and the images that were imported.

Whatever is made carries the step key of the effect that made it, written before it can be used; undo removes only
what carries that mark. An image is named after its disk's uid, so no name from outside becomes a file name.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Report = Callable[[int, int], None]
"""Is told how many bytes are written, and how many there will be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A repository, by where it is and which one it must be."""

    path: str
    """Absolute path of its folder, under a storage root of the agent."""
    uid: str
    """The uid in its marker file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFile:
    """An image in a repository."""

    uid: str
    """The uid of the disk."""
    mark: str
    """The step key of the effect that made it."""
    path: Path
    """Absolute path of the image."""
    format: str
    """`qcow2` or `raw`."""
    size_bytes: int
    """What the guest sees."""
    allocated_bytes: int
    """What it takes on the storage now."""
    full: bool
    """Whether every block was written when it was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """An imported image in a repository."""

    uid: str
    """The uid of the image."""
    mark: str
    """The step key of the effect that imported it."""
    path: Path
    """Absolute path of the file."""
    format: str
    """`iso`, `qcow2` or `raw`."""
    size_bytes: int
    """The size of the file."""
    virtual_size_bytes: int
    """What a guest sees."""
    sha256: str
    """The SHA-256 digest of the file, 64 hexadecimal digits."""


class Source(Protocol):
    """A file that is to be imported, read once from its beginning to its end."""

    async def open(self) -> int:
        """Begin, and return how many bytes it has.

        Raises:
            NotFound: it is not there.
            InvalidRequest: it is there and is no file.
        """
        ...

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the bytes, a few MiB at a time.

        Raises:
            Unavailable: it cannot be read any more.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The space of a repository."""

    total_bytes: int
    """Size of the file system below it."""
    free_bytes: int
    """What is free on that file system."""
    capacity_bytes: int
    """The repository's own limit; 0 if it has none."""
    promised_bytes: int
    """What counts against the limit: the sizes of full images, what sparse ones take, the trash included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What a look through a repository found."""

    usage: Usage
    """Its space."""
    images: tuple[str, ...]
    """The uids, of those that were asked for, whose images are there."""
    foreign: tuple[str, ...]
    """Files that belong to no disk, as paths relative to the folder; a folder ends with a slash."""


class Storage(Protocol):
    """Repositories on one kind of storage; every method may be repeated safely.

    All of them raise InvalidRequest where the path is not under a storage root, and, except the first, WrongState
    where the folder is not the repository that it should be.
    """

    @property
    def name(self) -> str:
        """The driver's name, as it is reported: `dir`."""
        ...

    @property
    def reason(self) -> str:
        """How images are written here and why, as a person reads it."""
        ...

    async def create_repository(self, place: Place, mark: str, capacity_bytes: int = 0) -> Usage:
        """Lay out a repository; the same one under the same mark is left as it is.

        Raises:
            AlreadyExists: something else is there; it is left alone.
            NotFound: the folder above does not exist.
        """
        ...

    async def remove_repository(self, place: Place, mark: str | None = None) -> bool:
        """Remove an empty repository, if a mark is given only one with that mark; False if there was none.

        Raises:
            WrongState: it holds images, in its trash perhaps.
        """
        ...

    async def has_repository(self, place: Place) -> str | None:
        """Return the mark of the repository, or None where it is not."""
        ...

    async def usage(self, place: Place) -> Usage:
        """Return the space of the repository."""
        ...

    async def scan(self, place: Place, uids: AbstractSet[str]) -> Scan:
        """Look through the repository, which should hold the images of the disks with these uids; change nothing."""
        ...

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
        """Make an image; when it fails or is cancelled, nothing of it is left.

        Args:
            place: the repository.
            uid: the disk's uid.
            size_bytes: what the guest will see; a multiple of 512.
            full: write every block now.
            mark: the step key of the effect.
            on_progress: is told what is written, at least every 50 ms while `full` writes or an image is copied.
            image: what it begins with; zeros if None.

        Raises:
            AlreadyExists: an image of this uid is there without this mark; it is left alone.
            CapacityExhausted: it does not fit; the message has the sizes.
            InvalidRequest: the image is larger than the disk.
            Unsupported: images of this format cannot be read here.
        """
        ...

    async def import_image(
        self, place: Place, uid: str, source: Source, *, iso: bool, sha256: str, mark: str, on_progress: Report
    ) -> ImageFile:
        """Copy a file into the repository; when it fails or is cancelled, nothing of it is left.

        It is removed, trashed, restored and erased as the image of a disk is, by its uid.

        Args:
            place: the repository.
            uid: the image's uid.
            source: the file.
            iso: whether it must be an image of a CD-ROM; of a disk if False.
            sha256: the digest that it must have; any if empty.
            mark: the step key of the effect.
            on_progress: is told what is written.

        Raises:
            AlreadyExists: a file of this uid is there without this mark; it is left alone.
            CapacityExhausted: it does not fit; the message has the sizes.
            InvalidRequest: it is not what it should be, by its digest or its content.
            NotFound, Unavailable: as the source has it.
        """
        ...

    def file(self, path: Path) -> Source:
        """Return a file of this host as what is to be imported; its path was checked."""
        ...

    async def find_image(self, place: Place, uid: str) -> ImageFile | None:
        """Return the imported image if it is whole and in its place."""
        ...

    async def remove_disk(self, place: Place, uid: str, mark: str | None = None) -> bool:
        """Remove an image, half made ones too; if a mark is given only one with that mark. False if none was."""
        ...

    async def find_disk(self, place: Place, uid: str) -> DiskFile | None:
        """Return the image if it is whole and in its place."""
        ...

    async def resize_disk(self, place: Place, uid: str, size_bytes: int, *, on_progress: Report) -> DiskFile:
        """Give an image another size; when it fails or is cancelled, it has its old one. What lies beyond is lost.

        Args:
            place: the repository.
            uid: the disk's uid; no guest may be using it.
            size_bytes: what the guest will see; a multiple of 512.
            on_progress: is told what is written, where a full image grows.

        Raises:
            NotFound: there is no such image.
            CapacityExhausted: it does not fit; the message has the sizes.
        """
        ...

    async def settle_size(self, place: Place, uid: str) -> DiskFile | None:
        """Return the image with the size that its record has, which a resize that was cut short gets back."""
        ...

    async def trash_disk(self, place: Place, uid: str, mark: str) -> Path | None:
        """Move an image into the trash, and return where it lies now; one that is there already stays as it is.

        An image that lost its record goes too, and is put back without one. None if there is neither.
        """
        ...

    async def restore_disk(self, place: Place, uid: str, mark: str | None = None) -> bool:
        """Put an image back from the trash, if a mark is given only one that this mark put there; False if none was."""
        ...

    async def erase_disk(self, place: Place, uid: str) -> int:
        """Remove an image from the trash for good and return how many bytes that freed; 0 if none was there."""
        ...
