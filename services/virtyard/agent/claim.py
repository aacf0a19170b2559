"""The claim on a host: its own id, and the Virtyard that owns it, kept in one small file.

A host has at most one owner; a second Virtyard is refused by name until the first gives the host up.
"""

from __future__ import annotations

import uuid
from pathlib import Path

from virtyard.kernel.errors import WrongState
from virtyard.runtime.durable_file import Record, create_record, read_record, sync_folder, write_record


class HostClaim:
    """The claim of one host; its methods touch a small local file and are quick."""

    def __init__(self, path: Path) -> None:
        """Read the claim; a host that has no id yet gets one."""
        self._path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        stored = read_record(path)
        if stored is None:
            stored = {"host_id": uuid.uuid4().hex, "owner_id": "", "mark": ""}
            create_record(path, stored)
            sync_folder(path.parent)
        self._record: Record = stored

    @property
    def host_id(self) -> str:
        """The id of the host, the same for as long as its state is kept."""
        return str(self._record["host_id"])

    @property
    def owner_id(self) -> str:
        """The id of the Virtyard that owns the host; empty if it is free."""
        return str(self._record["owner_id"])

    @property
    def mark(self) -> str:
        """The step key of the effect that claimed it."""
        return str(self._record["mark"])

    def take(self, owner_id: str, mark: str) -> bool:
        """Claim the host; False if this owner has it already.

        Raises:
            WrongState: another Virtyard owns it.
        """
        if self.owner_id == owner_id:
            return False
        if self.owner_id:
            raise WrongState(
                f"this host is owned by another Virtyard, {self.owner_id}", metadata={"owner": self.owner_id}
            )
        self._write(owner_id, mark)
        return True

    def release(self, owner_id: str, mark: str | None = None) -> bool:
        """Give the host up, if a mark is given only if that mark took it; False if there is nothing to give up."""
        if self.owner_id != owner_id or mark not in {None, self.mark}:
            return False
        self._write("", "")
        return True

    def _write(self, owner_id: str, mark: str) -> None:
        record = {**self._record, "owner_id": owner_id, "mark": mark}
        write_record(self._path, record)
        self._record = record
