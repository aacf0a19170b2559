"""The scan of a repository folder: which images are there, and which files belong to nothing; it changes nothing.

It blocks; the driver runs it in its threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path

from virtyard.agent.drivers.storage import layout
from virtyard.agent.drivers.storage.contract import Scan
from virtyard.agent.drivers.storage.layout import Repository

_KINDS = ("qcow2", "raw", "iso", "img")
_ENDINGS = ("json", *_KINDS, *(f"{kind}.part" for kind in _KINDS))


def scan(repository: Repository, uids: AbstractSet[str]) -> Scan:
    """Compare the files of a repository with the uids of the disks and images that it should hold.

    An image counts as there once it is whole, as a guest would find it. What lies in the trash belongs to no disk, as
    its disk is gone; a folder that is not of the layout is named once and not looked into.
    """
    own = {repository.disks / f"{uid}.{ending}" for uid in uids for ending in _ENDINGS}
    return Scan(
        usage=layout.usage(repository),
        images=tuple(uid for uid in sorted(uids) if layout.images(repository.disks, uid)),
        foreign=tuple(sorted(_shown(repository, path) for path in _files(repository) if path not in own)),
    )


def _files(repository: Repository) -> Iterator[Path]:
    """Yield what lies in the folder, less what the layout itself has there."""
    for path in repository.folder.iterdir():
        if path in (repository.disks, repository.trash):
            yield from path.iterdir()
        elif path.name not in layout.OF_THE_LAYOUT:
            yield path


def _shown(repository: Repository, path: Path) -> str:
    name = str(path.relative_to(repository.folder))
    return f"{name}/" if path.is_dir() and not path.is_symlink() else name
