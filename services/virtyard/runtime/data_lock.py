"""The exclusive lock on a database: one process at a time, so that nobody else writes what it remembers (P14)."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from virtyard.kernel.errors import WrongState

__all__ = ["DataLock"]


class DataLock:
    """Holds `<database>.lock`; the kernel drops it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        """Take the lock of the database at `path`.

        Raises:
            WrongState: another process, or another part of this one, has the database open.
        """
        file = path.with_name(path.name + ".lock")
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise WrongState(
                f"{path} is in use by process {holder or 'unknown'}; only one may have {path.parent} at a time",
                resource=str(path),
                metadata={"path": str(path), "process": holder},
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back; the file stays."""
        os.close(self._descriptor)
