"""What belongs to an object: all that is below it in the lock tree, and a machine's disks, which are not below it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping

from virtyard.inventory.model import Reader, TypedObject
from virtyard.kernel.names import collection_of
from virtyard.kernel.relations import LOCK_PARENTS

__all__ = ["BELONGING", "Belonging", "read_owners"]

_PARTS = (*LOCK_PARENTS.items(), ("virtualDisks", "virtual_machine"))
_RELATIONS = ", ".join(f"('{kind}', '{field}')" for kind, field in _PARTS)
BELONGING = f"""
    WITH RECURSIVE part (name) AS (
        SELECT ? UNION SELECT relation.source FROM part JOIN relation ON relation.target = part.name
        WHERE (relation.kind, relation.field) IN (VALUES {_RELATIONS})
    ) SELECT name FROM part
"""  # noqa: S608 - constants only
"""A query for the names of an object, its parameter, and of all that belongs to it now."""
_OWNERS = f"SELECT source, target FROM relation WHERE (kind, field) IN (VALUES {_RELATIONS})"  # noqa: S608 - as above
_MOST_GONE = 10_000


def read_owners(reader: Reader) -> list[tuple[str, str]]:
    """Return (object, what it belongs to) of all objects."""
    return reader.execute(_OWNERS).fetchall()


class Belonging:
    """What each object belongs to, in memory as the last commit left it, so that a watch asks for no event's owners.

    What was removed belongs to where it was last, so that its end is told there; of these the latest are remembered.
    """

    def __init__(self) -> None:
        """Know nothing until `load`."""
        self._owners: dict[str, tuple[str, ...]] = {}
        self._gone: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def load(self, owners: Iterable[tuple[str, str]]) -> None:
        """Begin with what `read_owners` gave."""
        for name, owner in owners:
            self._owners[name] = (*self._owners.get(name, ()), owner)

    def notice(self, objects: Mapping[str, TypedObject | None]) -> None:
        """Take note of what effects made, changed or removed."""
        for name, message in objects.items():
            owners = self._owners.pop(name, ())
            if message is None:
                self._remember(name, owners)
                continue
            self._gone.pop(name, None)
            kind = collection_of(name)
            owners = tuple(filter(None, (getattr(message, field) for part, field in _PARTS if part == kind)))
            if owners:
                self._owners[name] = owners

    def is_within(self, name: str, outer: str) -> bool:
        """Return whether an object is another one, or belongs to it, or did so when it was removed."""
        return name == outer or outer in self.around(name)

    def around(self, name: str) -> Iterator[str]:
        """Yield all that an object belongs to, or did so when it was removed; each once, the nearest first."""
        met = {name}
        waiting = deque([name])
        while waiting:
            each = waiting.popleft()
            for owner in self._owners.get(each) or self._gone.get(each, ()):
                if owner not in met:
                    met.add(owner)
                    waiting.append(owner)
                    yield owner

    def _remember(self, name: str, owners: tuple[str, ...]) -> None:
        if owners:
            self._gone[name] = owners
            if len(self._gone) > _MOST_GONE:
                self._gone.popitem(last=False)
