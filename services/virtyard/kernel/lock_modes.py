"""Lock modes of multiple granularity: which exclude each other, and which lock on an ancestor stands for one below.

The five modes and their table are Gray's (Granularity of Locks in a Shared Data Base, 1976). Invariant: an object is
protected by X on itself or on any ancestor of it, and everybody who locks an object also takes the intention on each
of its ancestors, so that two who exclude each other always meet on one object.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from enum import IntEnum
from types import MappingProxyType

from virtyard.kernel.names import collection_of
from virtyard.kernel.relations import ancestor_collections

__all__ = [
    "MODES",
    "LockMode",
    "conflicting_modes",
    "conflicts",
    "covers",
    "covers_write",
    "intention_for",
    "merge",
    "supremum",
    "with_intentions",
]


class LockMode(IntEnum):
    """The mode of a lock on one object; the numbers are those of the public contract."""

    UNSPECIFIED = 0
    """Not set; refused in requests."""
    IS = 1
    """Intends shared locks below."""
    IX = 2
    """Intends exclusive locks below."""
    S = 3
    """Shared: nobody changes the object or anything below it."""
    SIX = 4
    """Shared here, and intends exclusive locks below."""
    X = 5
    """Exclusive: nobody else uses the object or anything below it."""


MODES = (LockMode.IS, LockMode.IX, LockMode.S, LockMode.SIX, LockMode.X)
"""Every mode that can be asked for, weakest first."""

_CONFLICTS: Mapping[LockMode, frozenset[LockMode]] = MappingProxyType(
    {
        LockMode.UNSPECIFIED: frozenset(),
        LockMode.IS: frozenset({LockMode.X}),
        LockMode.IX: frozenset({LockMode.S, LockMode.SIX, LockMode.X}),
        LockMode.S: frozenset({LockMode.IX, LockMode.SIX, LockMode.X}),
        LockMode.SIX: frozenset({LockMode.IX, LockMode.S, LockMode.SIX, LockMode.X}),
        LockMode.X: frozenset(MODES),
    }
)

_SUPREMA: Mapping[tuple[LockMode, LockMode], LockMode] = MappingProxyType(
    {
        (a, b): LockMode.SIX if {a, b} == {LockMode.IX, LockMode.S} else max(a, b)
        for a in (LockMode.UNSPECIFIED, *MODES)
        for b in (LockMode.UNSPECIFIED, *MODES)
    }
)


def conflicts(a: LockMode, b: LockMode) -> bool:
    """Return whether two owners may not hold one object in these modes at the same time."""
    return b in _CONFLICTS[a]


def conflicting_modes(mode: LockMode) -> frozenset[LockMode]:
    """Return every mode that excludes this one."""
    return _CONFLICTS[mode]


def covers(held: LockMode, asked: LockMode) -> bool:
    """Return whether holding `held` allows everything that `asked` would."""
    return supremum(held, asked) == held


def supremum(a: LockMode, b: LockMode) -> LockMode:
    """Return the weakest mode that allows everything that either of the two does."""
    return _SUPREMA[a, b]


def intention_for(mode: LockMode) -> LockMode:
    """Return the mode to take on every ancestor of an object that is locked in `mode`."""
    if mode is LockMode.UNSPECIFIED:
        return LockMode.UNSPECIFIED
    return LockMode.IS if mode in (LockMode.IS, LockMode.S) else LockMode.IX


def merge(requests: Iterable[tuple[str, LockMode]]) -> dict[str, LockMode]:
    """Return one lock per object that allows what all requests together do, in the order of the objects' names."""
    merged: dict[str, LockMode] = {}
    for name, mode in requests:
        merged[name] = supremum(merged.get(name, LockMode.UNSPECIFIED), mode)
    return dict(sorted(merged.items()))


def with_intentions(
    requests: Iterable[tuple[str, LockMode]], parent_of: Callable[[str], str | None]
) -> dict[str, LockMode]:
    """Return the merged set with the intention on every ancestor.

    Args:
        requests: (object, mode), in any order, an object as often as one likes.
        parent_of: the lock parent of an object, None for a root.
    """
    wanted: list[tuple[str, LockMode]] = []
    for name, mode in requests:
        wanted.append((name, mode))
        intention = intention_for(mode)
        seen = {name}
        parent = parent_of(name)
        while parent is not None and parent not in seen:
            seen.add(parent)
            wanted.append((parent, intention))
            parent = parent_of(parent)
    return merge(wanted)


def covers_write(target: str, locks: Iterable[tuple[str, LockMode]], ancestors: Collection[str] | None = None) -> bool:
    """Return whether these locks allow changing `target`: X on it, or on an ancestor of it (P2).

    Args:
        target: the resource name of the object that is to be changed.
        locks: (object, mode) that the effect carries.
        ancestors: the names above the target. A participant that does not know them passes None; then an object of
            an ancestor's kind counts as one.
    """
    kinds = ancestor_collections(collection_of(target))
    for name, mode in locks:
        if mode is not LockMode.X:
            continue
        if name == target or (collection_of(name) in kinds if ancestors is None else name in ancestors):
            return True
    return False
