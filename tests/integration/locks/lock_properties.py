"""What must be true of every list of locks, written down from P2, P15 and P25 and from nothing of the lock service.

Each function takes locks as `ListLocks` shows them and returns what is wrong with them, nothing where all is well.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from virtyard.kernel.lock_modes import LockMode
from virtyard.locks.model import LockView

K = 64
"""The K of P15."""
SHOWN = 8
"""At most so many blockers are shown beside a lock."""

IS, IX, S, SIX, X = LockMode.IS, LockMode.IX, LockMode.S, LockMode.SIX, LockMode.X
COMPATIBLE = {frozenset(pair) for pair in [(IS, IS), (IS, IX), (IS, S), (IS, SIX), (IX, IX), (S, S)]}
"""Gray's table: which two may hold one object together; no other two."""
READS_ALL, WRITES_BELOW = frozenset({S, SIX, X}), frozenset({IX, SIX, X})

PERSON = "locks/"
"""How the names of the owners begin that are people, whose locks have no token (P23)."""

Parents = Callable[[str], str | None]
Rank = tuple[int, int]


def rank_of(arrival: int, priority: int) -> Rank:
    """Return the place in the total order, by the formula of P15."""
    return arrival - priority * K, arrival


def clash(one: LockMode, other: LockMode) -> bool:
    """Return whether two owners may not hold one object in these modes."""
    return frozenset({one, other}) not in COMPATIBLE


def by_owner(locks: Iterable[LockView]) -> dict[str, list[LockView]]:
    """Return the locks of each owner."""
    found: dict[str, list[LockView]] = defaultdict(list)
    for lock in locks:
        found[lock.owner].append(lock)
    return dict(found)


def meeting(one: Mapping[str, LockMode], other: Mapping[str, LockMode]) -> Iterator[str]:
    """Yield the objects on which two sets exclude each other."""
    for name, mode in one.items():
        if name in other and clash(mode, other[name]):
            yield name


def held(locks: Iterable[LockView]) -> list[LockView]:
    """Return the locks that are held."""
    return [lock for lock in locks if lock.granted is not None]


def related(one: str, other: str, under: Mapping[str, str]) -> bool:
    """Return whether one owner is under the other, which alone does not exclude it (P23)."""
    return under.get(one) == other or under.get(other) == one


def shared_wrongly(locks: Iterable[LockView], under: Mapping[str, str]) -> list[str]:
    """Return every object that two owners hold in modes that exclude each other, unless one is under the other."""
    return [
        f"{one.object}: {one.owner} {one.mode.name}, {other.owner} {other.mode.name}"
        for one, other in itertools.combinations(held(locks), 2)
        if one.object == other.object and clash(one.mode, other.mode) and not related(one.owner, other.owner, under)
    ]


def shared_through_the_tree(locks: Iterable[LockView], parent_of: Parents, under: Mapping[str, str]) -> list[str]:
    """Return who holds something that another owner holds as a whole: the meaning of the modes, without intentions."""
    holders = held(locks)
    return [
        f"{above.owner} has {above.mode.name} on {above.object}, {below.owner} {below.mode.name} on {below.object}"
        for above, below in itertools.permutations(holders, 2)
        if above.owner != below.owner
        and not related(above.owner, below.owner, under)
        and above.object in ancestors(below.object, parent_of)
        and (above.mode is X or (above.mode in READS_ALL and below.mode in WRITES_BELOW))
    ]


def without_intention(locks: Iterable[LockView], parent_of: Parents) -> list[str]:
    """Return every lock whose owner lacks the intention on an ancestor: S or IS asks for IS, the others for IX."""
    wrong = []
    for owner, mine in by_owner(locks).items():
        modes = {lock.object: lock.mode for lock in mine}
        for name, mode in modes.items():
            enough = {IS, IX, S, SIX, X} if mode in (IS, S) else {IX, SIX, X}
            wrong += [f"{owner}: {above}" for above in ancestors(name, parent_of) if modes.get(above) not in enough]
    return wrong


def ancestors(name: str, parent_of: Parents) -> list[str]:
    """Return all that is above an object in the lock tree."""
    found: list[str] = []
    parent = parent_of(name)
    while parent is not None:
        found.append(parent)
        parent = parent_of(parent)
    return found


def broken_sets(locks: Iterable[LockView]) -> list[str]:
    """Return every owner that holds a part of its set and waits for the rest, or holds without a token."""
    return [
        owner
        for owner, mine in by_owner(locks).items()
        if len({lock.granted is None for lock in mine}) != 1
        or any((lock.token > 0) != (bool(lock.granted) and not owner.startswith(PERSON)) for lock in mine)
    ]


def repeated_tokens(locks: Iterable[LockView]) -> list[int]:
    """Return the tokens that were given twice."""
    tokens = sorted(lock.token for lock in held(locks) if not lock.owner.startswith(PERSON))
    return [one for one, other in itertools.pairwise(tokens) if one == other]


Blocking = tuple[str, str, LockMode, bool]
"""(object, owner, its mode, whether it waits)."""


def behind(holder: str, locks: Sequence[LockView], ranks: Mapping[str, Rank], under: Mapping[str, str]) -> set[str]:
    """Return who waits for a holder, directly or behind one that does, and is not under it (P23)."""
    waiting = {lock.owner for lock in locks if lock.granted is None and under.get(lock.owner) != holder}
    ahead = {owner: {each[1] for each in in_the_way(owner, locks, ranks, {})} for owner in waiting}
    found: set[str] = set()
    while more := {owner for owner in waiting - found if ahead[owner] & ({holder} | found)}:
        found |= more
    return found


def in_the_way(
    owner: str, locks: Sequence[LockView], ranks: Mapping[str, Rank], under: Mapping[str, str]
) -> set[Blocking]:
    """Return every holder, and every waiter of lower rank, that excludes a waiting owner, and that it does not pass."""
    parent = under.get(owner, "")
    passes = {parent} | behind(parent, locks, ranks, under) if parent else set()
    wanted = {lock.object: lock.mode for lock in locks if lock.owner == owner}
    return {
        (lock.object, lock.owner, lock.mode, lock.granted is None)
        for lock in locks
        if lock.owner != owner
        and lock.owner not in passes
        and lock.object in wanted
        and clash(lock.mode, wanted[lock.object])
        and (lock.granted is not None or ranks[lock.owner] < ranks[owner])
    }


def shown_wrongly(lock: LockView, expected: set[Blocking]) -> str:
    """Return how the blockers and the place of a waiting lock differ from who is in its way: none less, none more."""
    shown = [(each.object, each.owner, each.mode, each.waiting) for each in lock.blockers]
    if len(shown) != len(set(shown)) or not set(shown) <= expected or len(shown) != min(len(expected), SHOWN):
        return f"{lock.owner} waits for {sorted(expected)} and is told {sorted(shown)}"
    queues: dict[str, int] = defaultdict(int)
    for name, _, _, waiting in expected:
        queues[name] += waiting
    place = max(queues.values(), default=0) + 1
    return "" if lock.position == place else f"{lock.owner} is at {place} and is told {lock.position}"
