"""Small files that are there wholly or not at all: written aside, synced, then renamed into place.

A record that was reported as written survives a power cut; a reader never sees half of one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from virtyard.kernel.errors import DataLoss

Record = dict[str, Any]
_ASIDE = ".tmp"


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write `record` as JSON, replacing what is there; durable when this returns."""
    aside = path.with_name(f".{path.name}.{os.getpid()}{_ASIDE}")
    try:
        _write_synced(aside, record, os.O_TRUNC)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def create_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write `record` as JSON where nothing is yet; its content is durable, its name once the folder is synced.

    Raises:
        FileExistsError: something of that name is there; it is left alone.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}{_ASIDE}")
    try:
        _write_synced(aside, record, os.O_TRUNC)
        os.link(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def drop_asides(path: Path) -> None:
    """Remove what writers of `path` left beside it who were killed; its caller knows that nobody is writing it."""
    aside = re.compile(rf"\.{re.escape(path.name)}\.\d+{re.escape(_ASIDE)}")
    with os.scandir(path.parent) as entries:
        left = [entry.name for entry in entries if aside.fullmatch(entry.name)]
    for name in left:
        path.with_name(name).unlink(missing_ok=True)


def sweep_asides(folder: Path) -> None:
    """Remove what killed writers left anywhere below a folder; its caller is the only one who writes there."""
    for path in folder.rglob(f".*{_ASIDE}"):
        path.unlink(missing_ok=True)


def read_record(path: Path) -> Record | None:
    """Return the record, or None where no file is.

    Raises:
        DataLoss: the file is there and is not a JSON object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        record = json.loads(text)
    except ValueError as error:
        raise DataLoss(f"{path} cannot be read: {error}") from error
    if not isinstance(record, dict):
        raise DataLoss(f"{path} holds no record")
    return record


def remove_file(path: Path) -> bool:
    """Remove a file durably; False where none was."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    sync_folder(path.parent)
    return True


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable; file systems that cannot do this are taken at their word."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_synced(path: Path, record: Mapping[str, Any], flags: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | flags, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
