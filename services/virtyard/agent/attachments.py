"""The attachments of a host: the repositories that are presented to it, each with the step that did it, in one file.

What a step gave up is remembered with its mark, so that its undo puts back what was there, and no more (P9).
"""

from __future__ import annotations

from pathlib import Path

from virtyard.agent.drivers.storage.contract import Place
from virtyard.runtime.durable_file import Record, read_record, write_record

_HERE, _GIVEN_UP = "attached", "given_up"


class Attachments:
    """The attachments of one host; its methods touch a small local file and are quick."""

    def __init__(self, path: Path) -> None:
        """Read the file; a host that never had a repository has none."""
        self._path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._record: Record = read_record(path) or {_HERE: {}, _GIVEN_UP: {}}

    def mark(self, uid: str) -> str | None:
        """Return the step key of the effect that attached a repository, by its uid; None if it is not attached."""
        found = self._record[_HERE].get(uid)
        return str(found["mark"]) if found is not None else None

    def given_up_by(self, uid: str) -> str | None:
        """Return the step key of the effect that gave a repository up last; None if none did since it was attached."""
        found = self._record[_GIVEN_UP].get(uid)
        return str(found["by"]) if found is not None else None

    def attach(self, place: Place, repository: str, mark: str) -> bool:
        """Take a repository whose folder is known to be here; False if it is attached already."""
        known = self._record[_HERE].get(place.uid)
        if known is not None and known["path"] == place.path:
            return False
        # A folder is one repository: whatever was at this path before is gone.
        here = {uid: kept for uid, kept in self._record[_HERE].items() if kept["path"] != place.path}
        here[place.uid] = {"repository": repository, "path": place.path, "mark": mark}
        self._write(here, self._without(_GIVEN_UP, place.uid))
        return True

    def give_up(self, uid: str, by: str) -> bool:
        """Give a repository up for a step, which may put it back; False if it is not attached."""
        known = self._record[_HERE].get(uid)
        if known is None:
            return False
        given_up = {**self._record[_GIVEN_UP], uid: {**known, "by": by}}
        self._write(self._without(_HERE, uid), given_up)
        return True

    def put_back(self, uid: str, by: str) -> bool:
        """Put back what a step gave up, with the mark that it had; False if this step gave nothing up."""
        found = self._record[_GIVEN_UP].get(uid)
        if found is None or found["by"] != by:
            return False
        back = {key: value for key, value in found.items() if key != "by"}
        self._write({**self._record[_HERE], uid: back}, self._without(_GIVEN_UP, uid))
        return True

    def forget(self, uid: str, mark: str | None = None) -> bool:
        """Let a repository go for good, if a mark is given only one that this mark attached; False if none was."""
        own = self.mark(uid)
        if own is None or mark not in {None, own}:
            return False
        self._write(self._without(_HERE, uid), self._record[_GIVEN_UP])
        return True

    def _without(self, part: str, uid: str) -> Record:
        return {key: kept for key, kept in self._record[part].items() if key != uid}

    def _write(self, here: Record, given_up: Record) -> None:
        record = {_HERE: here, _GIVEN_UP: given_up}
        write_record(self._path, record)
        self._record = record
