"""The exclusive lock on a database: one process at a time, so that nobody else writes what it remembers (P14)."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from virtyard.kernel.errors import WrongState

__all__ = ["UNFINISHED", "DataLock"]

UNFINISHED = "restore.unfinished"
"""A file of this name beside databases says that only some of them were put back; nobody may open any of them."""


class DataLock:
    """Holds `<database>.lock`; the kernel drops it when the process ends, however it ends."""

    def __init__(self, path: Path, *, unfinished_allowed: bool = False) -> None:
        """Take the lock of the database at `path`; beside an unfinished restore only if that is allowed.

        Raises:
            WrongState: another process, or another part of this one, has the database open, or a restore of it was cut
                off.
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
        if not unfinished_allowed and path.with_name(UNFINISHED).exists():
            os.close(self._descriptor)
            raise WrongState(
                f"a restore of {path.parent} was cut off, so what is there does not belong together; "
                f"ask for `virtyard restore` again",
                resource=str(path),
            )
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back; the file stays."""
        os.close(self._descriptor)
