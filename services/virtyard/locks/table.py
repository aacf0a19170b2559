"""The lock table: who holds what, who waits, and who goes next; pure and in memory.

Invariants: no two owners hold one object in conflicting modes; a set is granted as a whole or not at all; a set is
granted if and only if it conflicts with no holder and with no waiter of lower rank (P15), or inherits what is given
back (P12), and no set that could be granted is left waiting when a method returns; fencing tokens only rise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice

from virtyard.kernel.errors import (
    InvalidRequest,
    NotFound,
    OwnerClosed,
    PayloadMismatch,
    StaleEpoch,
    Superseded,
    WrongState,
)
from virtyard.kernel.lock_modes import LockMode, covers, merge
from virtyard.locks.closed_owners import ClosedOwners, ClosedOwnersInMemory
from virtyard.locks.inheritance import inherits
from virtyard.locks.model import (
    Blocker,
    Change,
    Claim,
    ClaimedLock,
    LockSet,
    QueuePlace,
    Rank,
    is_person,
)
from virtyard.locks.queue import ObjectQueue

__all__ = ["ClosedOwners", "ClosedOwnersInMemory", "LockTable"]


class LockTable:
    """Decides every grant; `take_changes` tells its keeper what to make durable."""

    def __init__(
        self, closed: ClosedOwners, claims: Iterable[Claim] = (), *, arrivals: int = 0, tokens: int = 0
    ) -> None:
        """Start from stored claims.

        Args:
            closed: the tombstones.
            claims: every open owner, in any order.
            arrivals: the last arrival number that was given out.
            tokens: the last fencing token that was given out.
        """
        self.closed = closed
        self.arrivals = arrivals
        self.tokens = tokens
        self._claims: dict[str, Claim] = {}
        self._objects: dict[str, ObjectQueue] = {}
        self._children: dict[str, set[str]] = {}
        self._before: dict[str, Claim | None] = {}
        for claim in claims:
            self._claims[claim.owner] = claim
            self._index(claim)
            if claim.under:
                self._children.setdefault(claim.under, set()).add(claim.owner)

    def acquire(self, wanted: LockSet, now: datetime) -> Claim:
        """Grant the whole set, or queue it; the same request again gets the same answer and the same tokens.

        A higher `round` gives back all that the owner holds and asks for another set at the original rank (P4).

        Raises:
            OwnerClosed: the owner was released for ever.
            StaleEpoch: a higher epoch of the owner was seen.
            Superseded: the owner has asked for another set in a later round.
            PayloadMismatch: the owner asks for another set in the same round, and does not hold it.
            InvalidRequest: the set is empty or names no mode.
            WrongState: the owner that it is to be under holds nothing.
        """
        claim = self._open_claim(wanted.owner, wanted.epoch)
        asked = merge((lock.object, lock.mode) for lock in wanted.locks)
        if not asked or LockMode.UNSPECIFIED in asked.values():
            raise InvalidRequest.of("locks", "at least one object, each with a mode")
        if claim is None:
            self._check_under(wanted)
            self.arrivals += 1
            return self._come(wanted, asked, now)
        if wanted.round < claim.round:
            raise Superseded(f"{wanted.owner} has asked for another set since", resource=wanted.owner)
        if wanted.round > claim.round:
            return self._come_again(claim, wanted, asked, now)
        if asked != claim.asked and not claim.holds(asked):
            raise PayloadMismatch(f"{wanted.owner} asked for another set before", resource=wanted.owner)
        return self._raise_epoch(claim, wanted.epoch)

    def release(self, owner: str, epoch: int, now: datetime, heir: str = "") -> None:
        """Close the owner for ever: give back all that it holds, forget what it waits for. Repeating it does nothing.

        What it holds passes to `heir`, if that waits for no more than this, before anybody else is looked at (P12).

        Raises:
            StaleEpoch: a higher epoch of the owner was seen.
            WrongState: another owner is under it.
        """
        claim = self._claims.get(owner)
        if claim is not None:
            _check_epoch(owner, epoch, claim.epoch)
            self._check_no_children(owner)
            self._children.pop(owner, None)
            self.closed.close(owner, epoch)
            self._replace(claim, None)
            waiting = self._claims.get(heir)
            if waiting is not None and inherits(waiting, claim, self._objects):
                self._replace(waiting, self._granted(waiting, now))
            self._grant_freed(claim.locks, now)
            return
        closed = self.closed.epoch_of(owner)
        _check_epoch(owner, epoch, closed)
        if closed is None:
            self.closed.close(owner, epoch)

    def shrink(self, owner: str, epoch: int, keep: Mapping[str, LockMode], now: datetime) -> Claim:
        """Give back early what the owner needs no longer; what is kept keeps its token, in an equal or weaker mode.

        Raises:
            OwnerClosed: the owner was released for ever.
            StaleEpoch: a higher epoch of the owner was seen.
            NotFound: the owner holds nothing.
            InvalidRequest: `keep` names what the owner does not hold, or a stronger mode.
        """
        claim = self._open_claim(owner, epoch)
        if claim is None or claim.waiting:
            raise NotFound(f"{owner} holds no locks", resource=owner)
        held = {lock.object: lock for lock in claim.locks}
        for name, mode in keep.items():
            if mode is LockMode.UNSPECIFIED or name not in held or not covers(held[name].mode, mode):
                raise InvalidRequest.of("keep", f"only objects that {owner} holds, in an equal or weaker mode: {name}")
        claim = self._raise_epoch(claim, epoch)
        kept = tuple(replace(lock, mode=keep[lock.object]) for lock in claim.locks if lock.object in keep)
        if kept == claim.locks:
            return claim
        after = replace(claim, locks=kept)
        self._replace(claim, after)
        self._grant_freed([lock for lock in claim.locks if keep.get(lock.object) is not lock.mode], now)
        return after

    def set_priority(self, owner: str, epoch: int, priority: int, now: datetime) -> Claim:
        """Make the rank of a waiting owner again, from its arrival and this priority; a holder stays as it is (P15).

        Raises:
            OwnerClosed: the owner was released for ever.
            StaleEpoch: a higher epoch of the owner was seen.
            NotFound: the owner has asked for nothing.
        """
        claim = self._open_claim(owner, epoch)
        if claim is None:
            raise NotFound(f"{owner} holds and waits for nothing", resource=owner)
        claim = self._raise_epoch(claim, epoch)
        if not claim.waiting or claim.priority == priority:
            return claim
        after = replace(claim, priority=priority, rank=Rank.of(claim.rank.arrival, priority))
        self._replace(claim, after)
        self._grant_freed(claim.locks, now, after)
        return self._claims[owner]

    def use(self, owner: str, name: str, job: str) -> Claim | None:
        """Note which job of an owner uses a lock that it holds; return the claim, None if that changes nothing."""
        claim = self._claims.get(owner)
        if claim is None or claim.waiting or not any(lock.object == name and lock.job != job for lock in claim.locks):
            return None
        locks = tuple(replace(lock, job=job) if lock.object == name else lock for lock in claim.locks)
        after = self._claims[owner] = replace(claim, locks=locks)
        return after

    def claim(self, owner: str) -> Claim | None:
        """Return all that is known of an open owner."""
        return self._claims.get(owner)

    def claims(self) -> Iterator[Claim]:
        """Yield every open owner."""
        yield from self._claims.values()

    def place(self, owner: str, *, limit: int | None = None) -> QueuePlace:
        """Return where a waiting owner stands and who is in its way.

        Args:
            owner: an owner that waits.
            limit: at most so many blockers; None for all of them.
        """
        claim = self._claims[owner]
        passes = {claim.under, *self._behind(claim.under)} if claim.under else frozenset()
        ahead = 0
        holders: list[Blocker] = []
        waiters: list[Blocker] = []
        for lock in claim.locks:
            queue = self._objects[lock.object]
            ahead = max(ahead, queue.ahead(lock.mode, claim.rank) - queue.passed(lock.mode, claim.rank, passes))
            in_the_way = (each for each in queue.blocking_holders(lock.mode) if each[0] not in passes)
            for other, mode in islice(in_the_way, limit):
                holders.append(self._blocker(lock.object, other, mode))
            for other, mode in queue.blocking_waiters(lock.mode, claim.rank, None if passes else limit):
                if other not in passes:
                    waiters.append(self._blocker(lock.object, other, mode))
        blockers = tuple((holders + waiters)[:limit])
        return QueuePlace(owner=owner, position=ahead + 1, blockers=blockers, round=claim.round)

    def waiting_on(self, objects: Iterable[str]) -> set[str]:
        """Return every owner that waits for one of these objects."""
        owners: set[str] = set()
        for name in objects:
            queue = self._objects.get(name)
            if queue is not None:
                owners.update(queue.waiting_owners())
        return owners

    def take_changes(self) -> list[Change]:
        """Return what happened to each owner since the last call, in the order in which they were first touched."""
        changes = [
            Change(owner=owner, before=before, after=self._claims.get(owner)) for owner, before in self._before.items()
        ]
        self._before.clear()
        return [change for change in changes if change.before is not change.after]

    def _open_claim(self, owner: str, epoch: int) -> Claim | None:
        claim = self._claims.get(owner)
        if claim is not None:
            _check_epoch(owner, epoch, claim.epoch)
            return claim
        closed = self.closed.epoch_of(owner)
        if closed is not None:
            _check_epoch(owner, epoch, closed)
            raise OwnerClosed(f"the locks of {owner} were released for ever", resource=owner)
        return None

    def _raise_epoch(self, claim: Claim, epoch: int) -> Claim:
        if epoch <= claim.epoch:
            return claim
        self._before.setdefault(claim.owner, claim)
        after = replace(claim, epoch=epoch)
        self._claims[claim.owner] = after
        return after

    def _come(self, wanted: LockSet, asked: Mapping[str, LockMode], now: datetime) -> Claim:
        """Grant or queue the set of an owner that was not known."""
        claim = _claim(wanted, asked, Rank.of(self.arrivals, wanted.priority), now)
        if not self._excluded(claim):
            claim = self._granted(claim, now)
        self._replace(None, claim)
        if self._children:
            # What waits behind a lock that has children may be more now, and so be passed by these.
            self._grant_freed((), now)
        return self._claims[claim.owner]

    def _come_again(self, before: Claim, wanted: LockSet, asked: Mapping[str, LockMode], now: datetime) -> Claim:
        """Queue another set in place of what the owner held or waited for, and grant what can be."""
        claim = _claim(wanted, asked, Rank.of(before.rank.arrival, wanted.priority), now)
        claim = replace(claim, epoch=max(wanted.epoch, before.epoch), under=before.under)
        self._replace(before, claim)
        self._grant_freed(before.locks, now, claim)
        return self._claims[claim.owner]

    def _grant_freed(self, freed: Iterable[ClaimedLock], now: datetime, *also: Claim) -> None:
        """Grant, in rank order, every waiter that these locks were in the way of and that nothing else stops.

        One pass is enough: a grant makes a waiter into a holder of the same modes, which frees nobody.
        """
        candidates = {claim.owner: claim.rank for claim in also}
        for children in self._children.values():
            candidates.update((child, self._claims[child].rank) for child in children if self._claims[child].waiting)
        for lock in freed:
            queue = self._objects.get(lock.object)
            if queue is not None:
                candidates.update(queue.freed_by(lock.mode))
        for owner in sorted(candidates, key=candidates.__getitem__):
            claim = self._claims[owner]
            if not self._excluded(claim):
                self._replace(claim, self._granted(claim, now))

    def _excluded(self, claim: Claim) -> bool:
        """Return whether a holder, or a waiter of lower rank, is in the way of this set."""
        if claim.under:
            return self._excluded_child(claim)
        for name, mode in claim.asked.items():
            queue = self._objects.get(name)
            if queue is not None and queue.excludes(mode, claim.rank):
                return True
        return False

    def _excluded_child(self, claim: Claim) -> bool:
        """Do the same for a child: its parent is not in its way, nor is who waits for that and so for the child."""
        passes = {claim.under, *self._behind(claim.under)}
        for name, mode in claim.asked.items():
            queue = self._objects.get(name)
            if queue is None:
                continue
            others = (*queue.blocking_holders(mode), *queue.blocking_waiters(mode, claim.rank, None))
            if any(owner not in passes for owner, _ in others):
                return True
        return False

    def _behind(self, holder: str) -> set[str]:
        """Return the waiters that cannot be granted before this owner is released, directly or behind one another."""
        behind: set[str] = set()
        waiting = [claim for claim in self._claims.values() if claim.waiting and claim.under != holder]
        for claim in sorted(waiting, key=lambda each: each.rank):
            for lock in claim.locks:
                queue = self._objects[lock.object]
                ahead = (*queue.blocking_holders(lock.mode), *queue.blocking_waiters(lock.mode, claim.rank, None))
                if any(owner == holder or owner in behind for owner, _ in ahead):
                    behind.add(claim.owner)
                    break
        return behind

    def _check_under(self, wanted: LockSet) -> None:
        parent = self._claims.get(wanted.under)
        if wanted.under and (parent is None or parent.waiting):
            text = f"{wanted.under}, under which {wanted.owner} was to run, is not held any more"
            raise WrongState(text, resource=wanted.under)

    def _check_no_children(self, owner: str) -> None:
        children = self._children.get(owner)
        if children:
            raise WrongState(f"{owner} cannot be released before {', '.join(sorted(children))}", resource=owner)

    def _granted(self, claim: Claim, now: datetime) -> Claim:
        if is_person(claim.owner):
            return replace(claim, granted=now)
        first = self.tokens + 1
        self.tokens += len(claim.locks)
        locks = tuple(
            ClaimedLock(object=lock.object, mode=lock.mode, token=token, job=lock.job)
            for token, lock in enumerate(claim.locks, first)
        )
        return replace(claim, locks=locks, granted=now)

    def _replace(self, before: Claim | None, after: Claim | None) -> None:
        claim = before or after
        assert claim is not None
        self._before.setdefault(claim.owner, before)
        if before is not None:
            self._unindex(before)
            del self._claims[before.owner]
        if after is not None:
            self._claims[after.owner] = after
            self._index(after)
        if claim.under and after is not None:
            self._children.setdefault(claim.under, set()).add(claim.owner)
        elif claim.under:
            self._children[claim.under].discard(claim.owner)

    def _index(self, claim: Claim) -> None:
        for lock in claim.locks:
            queue = self._objects.get(lock.object)
            if queue is None:
                queue = self._objects[lock.object] = ObjectQueue()
            if claim.waiting:
                queue.wait(claim.owner, lock.mode, claim.rank)
            else:
                queue.hold(claim.owner, lock.mode)

    def _unindex(self, claim: Claim) -> None:
        for lock in claim.locks:
            queue = self._objects[lock.object]
            if claim.waiting:
                queue.leave(claim.owner, lock.mode, claim.rank)
            else:
                queue.free(claim.owner)
            if queue.idle:
                del self._objects[lock.object]

    def _blocker(self, name: str, owner: str, mode: LockMode) -> Blocker:
        claim = self._claims[owner]
        return Blocker(
            object=name,
            owner=owner,
            mode=mode,
            waiting=claim.waiting,
            purpose=claim.purpose,
            since=claim.granted or claim.requested,
            job=next((lock.job for lock in claim.locks if lock.object == name), ""),
        )


def _claim(wanted: LockSet, asked: Mapping[str, LockMode], rank: Rank, now: datetime) -> Claim:
    jobs = {lock.object: lock.job for lock in reversed(wanted.locks)}
    return Claim(
        owner=wanted.owner,
        epoch=wanted.epoch,
        rank=rank,
        priority=wanted.priority,
        purpose=wanted.purpose,
        round=wanted.round,
        requested=now,
        granted=None,
        asked=asked,
        locks=tuple(ClaimedLock(object=name, mode=mode, job=jobs[name]) for name, mode in asked.items()),
        under=wanted.under,
    )


def _check_epoch(owner: str, epoch: int, seen: int | None) -> None:
    if seen is not None and epoch < seen:
        raise StaleEpoch(f"{owner} was adopted: epoch {epoch} is lower than {seen}", resource=owner)
