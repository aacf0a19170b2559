"""A file that is being uploaded: written and hashed as it comes, and durable before it has its name; see `uploads`."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from io import FileIO
from pathlib import Path

from virtyard.runtime.durable_file import remove_file, sync_folder, write_record

__all__ = ["Staged"]

_SYNC_EVERY = 64 << 20


class Staged:
    """A file that is coming; every method blocks."""

    def __init__(self, path: Path) -> None:
        """Write to this path, which ends in `.part`, and nothing before `open`."""
        self.digest = hashlib.sha256()
        self.size = 0
        self._path = path
        self._file: FileIO | None = None
        self._synced = 0

    def open(self) -> None:
        """Make the file."""
        self._file = FileIO(self._path, "xb")

    def write(self, data: bytes) -> None:
        """Add bytes to its end."""
        assert self._file is not None, "it was opened"
        self.digest.update(data)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self.size += len(data)
        if self.size - self._synced >= _SYNC_EVERY:
            os.fsync(self._file.fileno())
            self._synced = self.size

    def finish(self, expires: datetime) -> None:
        """Give the file its name and its record; both are durable when this returns."""
        assert self._file is not None, "it was opened"
        os.fsync(self._file.fileno())
        self._file.close()
        self._path.rename(self._path.with_suffix(".bin"))
        sync_folder(self._path.parent)
        record = {"size_bytes": self.size, "sha256": self.digest.hexdigest(), "expires": expires.isoformat()}
        write_record(self._path.with_suffix(".json"), record)

    def drop(self) -> None:
        """Remove all of it."""
        if self._file is not None:
            self._file.close()
        for suffix in (".json", ".bin", ".part"):
            remove_file(self._path.with_suffix(suffix))
