"""The making and the removing of a repository's folder: each goes on where another one was killed in it.

A folder that is made for a repository is made aside and renamed. In one that was there, a draft of the marker is first,
so that what was half made is known as that.

Every function here blocks; the driver runs them in its threads.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from virtyard.agent.drivers.storage.layout import FOREIGN_BUT_HARMLESS, MARKER, Repository, find, read_repository
from virtyard.kernel.errors import AlreadyExists, NotFound, WrongState
from virtyard.runtime.durable_file import create_record, drop_asides, remove_file, sync_folder

_INNER = ("disks", ".trash")


def lay_out(folder: Path, uid: str, mark: str, capacity_bytes: int) -> Repository:
    """Make a repository of `folder`; one that is there is made aside and renamed, so it appears whole.

    Raises:
        AlreadyExists: something else is there.
        NotFound: the folder above is not there.
    """
    present = read_repository(folder)
    if present is not None:
        if (present.uid, present.mark) == (uid, mark):
            _draft(folder, uid).unlink(missing_ok=True)
            return present
        raise AlreadyExists(f"{folder} is a repository already", resource=str(folder))
    if not folder.parent.is_dir():
        raise NotFound(f"{folder.parent} does not exist on this host", resource=str(folder.parent))
    if folder.is_dir():
        _drop_half_filled(folder, uid)
        if any(_is_foreign(entry) for entry in folder.iterdir()):
            raise AlreadyExists(f"{folder} holds files that are not Virtyard's", resource=str(folder))
        try:
            return _fill(folder, uid, mark, capacity_bytes, made_folder=False)
        except BaseException:
            _drop_half_filled(folder, uid)
            raise
    if folder.exists():
        raise AlreadyExists(f"{folder} is not a folder", resource=str(folder))
    aside = folder.with_name(f".virtyard-new-{uid}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o755)
    try:
        _fill(aside, uid, mark, capacity_bytes, made_folder=True)
        aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    sync_folder(folder.parent)
    return find(folder, uid)


def take_away(folder: Path, uid: str, mark: str | None) -> bool:
    """Remove an empty repository, if a mark is given only one with that mark; False if there was none.

    Raises:
        WrongState: it holds images.
    """
    for prefix in ("new", "gone"):
        shutil.rmtree(folder.with_name(f".virtyard-{prefix}-{uid}"), ignore_errors=True)
    repository = read_repository(folder)
    if repository is None:
        _drop_half_filled(folder, uid)
    if repository is None or repository.uid != uid or mark not in {None, repository.mark}:
        return False
    with repository.locked():
        _draft(folder, uid).unlink(missing_ok=True)
        held = [entry.name for entry in (*repository.disks.glob("*"), *repository.trash.glob("*"))]
        if held:
            raise WrongState(f"{folder} still holds {len(held)} files of disks", resource=str(folder))
        for inner in (repository.disks, repository.trash):
            with contextlib.suppress(FileNotFoundError):  # killed here before, it goes on
                inner.rmdir()
    if repository.made_folder:
        gone = folder.with_name(f".virtyard-gone-{uid}")
        folder.rename(gone)
        sync_folder(folder.parent)
        shutil.rmtree(gone)
    else:
        remove_file(folder / MARKER)
    return True


def _fill(folder: Path, uid: str, mark: str, capacity_bytes: int, *, made_folder: bool) -> Repository:
    draft = _draft(folder, uid)
    create_record(draft, {"uid": uid, "mark": mark, "capacity_bytes": capacity_bytes, "made_folder": made_folder})
    for name in _INNER:
        (folder / name).mkdir(mode=0o755, exist_ok=True)
    try:
        os.link(draft, folder / MARKER)
    finally:
        draft.unlink()
    sync_folder(folder)
    return find(folder, uid)


def _draft(folder: Path, uid: str) -> Path:
    return folder / f".virtyard-new-{uid}.json"


def _drop_half_filled(folder: Path, uid: str) -> None:
    """Remove what a maker of this repository left in a folder that was there, who was killed before it was one."""
    draft = _draft(folder, uid)
    if not folder.is_dir():
        return
    drop_asides(draft)
    if draft.exists():
        for name in _INNER:
            with contextlib.suppress(OSError):  # not there yet, or not empty and so somebody's
                (folder / name).rmdir()
        remove_file(draft)


def _is_foreign(entry: Path) -> bool:
    """Tell whether a repository cannot be made around this: folders of its own are taken over if they are empty."""
    if entry.name in _INNER:
        return entry.is_symlink() or not entry.is_dir() or any(entry.iterdir())
    return entry.name not in FOREIGN_BUT_HARMLESS
