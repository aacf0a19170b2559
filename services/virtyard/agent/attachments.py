"""The attachments of a host: the repositories that are presented to it, each with the step that did it, in one file.

What a step gave up is remembered with its mark while its operation may still be undone, so that its undo puts back what
was there, and no more (P9).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from virtyard.agent.drivers.storage.contract import Place
from virtyard.kernel.effects import operation_number
from virtyard.runtime.durable_file import Record, read_record, write_record

_HERE, _GIVEN_UP = "attached", "given_up"


class Attachments:
    """The attachments of one host; its methods touch a small local file and are quick."""

    def __init__(self, path: Path, settled_below: Callable[[], int] = lambda: 0) -> None:
        """Read the file; a host that never had a repository has none.

        Args:
            path: the file.
            settled_below: tells the number of the operation below which every key is refused, undos too (P18).
        """
        self._path = path
        self._settled_below = settled_below
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
        return bool(self._give_up({uid} & self._record[_HERE].keys(), by))

    def give_up_others(self, kept: Collection[str], by: str) -> list[str]:
        """Give all up but those of these uids, for a step, which may put them back; return their resource names."""
        return self._give_up(self._record[_HERE].keys() - set(kept), by)

    def all_given_up_by(self, by: str) -> list[str]:
        """Return the resource names of what a step gave up, in their order, as far as it is given up still."""
        return sorted(known["repository"] for known in self._record[_GIVEN_UP].values() if known["by"] == by)

    def put_back(self, uid: str, by: str) -> bool:
        """Put back what a step gave up, with the mark that it had; False if this step gave nothing up."""
        return bool(self._put_back({uid} & self._record[_GIVEN_UP].keys(), by))

    def put_all_back(self, by: str) -> list[str]:
        """Put back all that a step gave up, each with the mark that it had; return their resource names."""
        return self._put_back(self._record[_GIVEN_UP].keys(), by)

    def forget(self, uid: str, mark: str | None = None) -> bool:
        """Let a repository go for good, if a mark is given only one that this mark attached; False if none was."""
        own = self.mark(uid)
        if own is None or mark not in {None, own}:
            return False
        self._write(self._without(_HERE, uid), self._record[_GIVEN_UP])
        return True

    def _give_up(self, uids: Collection[str], by: str) -> list[str]:
        here, below = dict(self._record[_HERE]), self._settled_below()
        left = {uid: here.pop(uid) for uid in uids}
        if left:
            # Nobody can ask any more for what an operation gave up that is settled.
            still = {
                uid: known for uid, known in self._record[_GIVEN_UP].items() if operation_number(known["by"]) >= below
            }
            self._write(here, still | {uid: {**known, "by": by} for uid, known in left.items()})
        return sorted(known["repository"] for known in left.values())

    def _put_back(self, uids: Collection[str], by: str) -> list[str]:
        found = {uid: known for uid, known in self._record[_GIVEN_UP].items() if uid in uids and known["by"] == by}
        back = {uid: {key: value for key, value in known.items() if key != "by"} for uid, known in found.items()}
        if back:
            given_up = {uid: known for uid, known in self._record[_GIVEN_UP].items() if uid not in back}
            self._write(self._record[_HERE] | back, given_up)
        return sorted(known["repository"] for known in back.values())

    def _without(self, part: str, uid: str) -> Record:
        return {key: kept for key, kept in self._record[part].items() if key != uid}

    def _write(self, here: Record, given_up: Record) -> None:
        record = {_HERE: here, _GIVEN_UP: given_up}
        write_record(self._path, record)
        self._record = record
