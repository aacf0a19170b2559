"""Histories of a lock service that know of changed priorities, of people and who is under them, and of restores."""

from __future__ import annotations

from copy import deepcopy

import grpc
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.integration.locks import lock_properties as properties
from tests.integration.locks.lock_machine import MOST_RESTARTS, LockHistories, epochs, priorities, sets, turns
from virtyard.api.locks.v1 import lock_service_pb2 as pb
from virtyard.kernel.errors import Unavailable
from virtyard.kernel.lock_modes import LockMode, with_intentions
from virtyard.locks import wire
from virtyard.locks.model import Grant, LockSet, LockWish, Release
from virtyard.runtime.status import named

__all__ = ["AllHistories"]

people = st.sampled_from(["locks/p1", "locks/p2"])
children = st.sampled_from(["c1", "c2", "c3"])


class AllHistories(LockHistories):
    """The same six owners, two people, three owners under these, and a scheduler that ranks and asserts them anew."""

    @precondition(lambda self: any(owner.tokens is None for owner in self.model.owners.values()))
    @rule(data=st.data(), raised=st.booleans(), priority=st.sampled_from([-20, -1, 0, 1, 2, 20]))
    def set_priority(self, data: st.DataObject, raised: bool, priority: int) -> None:
        """A waiter is ranked anew from its arrival; who is behind it then, and who before, is granted accordingly."""
        waiting = sorted(name for name, owner in self.model.owners.items() if owner.tokens is None)
        self.rank_anew(data.draw(st.sampled_from(waiting)), raised=raised, priority=priority)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), priority=priorities)
    def set_priority_of_whoever(self, data: st.DataObject, priority: int) -> None:
        """A holder stays as it is, who is closed is refused, and so is who speaks with an epoch that is over."""
        self.rank_anew(data.draw(st.sampled_from(sorted(self.asked))), raised=False, priority=priority)

    def rank_anew(self, owner: str, *, raised: bool, priority: int) -> None:
        """Set a priority, twice, in the service and in the model."""
        known = self.model.owners.get(owner)
        epoch = (known.epoch if known is not None else self.asked[owner].epoch) + raised
        waits = known is not None and known.tokens is None
        expected = self.model.set_priority(owner, epoch, priority)
        if waits and not expected:
            self.ranks[owner] = properties.rank_of(self.arrived[owner], priority)
            self.priorities[owner] = priority
        for _ in range(2):
            answer = self.world.set_priority(owner, epoch, priority)
            self.world.check("priorities", answer == expected, f"{owner}: {answer!r}, not {expected!r}")

    @rule(data=st.data(), gap=st.sampled_from([1, 2]))
    def change_places(self, data: st.DataObject, gap: int) -> None:
        """Of two that wait for one object the later one is ranked up, and perhaps the first one after it."""
        number = len(self.arrived)
        name = f"ranked{number}{self.suffix}"
        holder, early, late = (f"{who}{number}{self.suffix}" for who in ("first", "early", "late"))
        for owner in (holder, early, late):
            self.come(owner, {name: LockMode.X}, 1, 0, 0)
        self.observe()
        self.rank_anew(late, raised=False, priority=gap)
        again = data.draw(st.booleans())
        if again:
            self.rank_anew(early, raised=False, priority=gap)
        self.observe()
        self.release_and_check(holder)
        first = early if again else late
        self.world.check("bounded bypass", {early, late} & self.holding == {first}, self.holding)
        for owner in (early, late):
            self.release_and_check(owner)

    @rule(person=people, wishes=sets, priority=priorities)
    def take(self, person: str, wishes: dict[str, LockMode], priority: int) -> None:
        """A person asks for locks, as anybody does; there is no token with them."""
        closed = with_intentions([(name + self.suffix, mode) for name, mode in wishes.items()], self.parent)
        self.come(person + self.suffix, closed, 1, priority, 0)

    @rule(child=children, person=people, wishes=sets, priority=priorities, turn=turns)
    def come_under(self, child: str, person: str, wishes: dict[str, LockMode], priority: int, turn: int) -> None:
        """An owner asks for locks under those of a person, who must hold them."""
        closed = with_intentions([(name + self.suffix, mode) for name, mode in wishes.items()], self.parent)
        self.come(child + self.suffix, closed, 1, priority, turn, person + self.suffix)

    @rule(owner=people | children, epoch=epochs)
    def give_back(self, owner: str, epoch: int) -> None:
        """A person ends a lock, which is refused while somebody is under it, or that one ends."""
        owner += self.suffix
        expected = self.model.release(owner, epoch)
        answer = self.world.release([Release(owner=owner, epoch=epoch)])
        self.world.check("under", answer == expected, f"{owner}: {answer!r}, not {expected!r}")

    @rule(data=st.data())
    def work_under_a_lock(self, data: st.DataObject) -> None:
        """What is done under a person's lock passes who waits for that, and ends before it does."""
        number = len(self.arrived)
        name, other = f"kept{number}{self.suffix}", f"beside{number}{self.suffix}"
        person, stranger, child, late = (
            f"{who}{number}{self.suffix}" for who in ("locks/ann", "stranger", "child", "late")
        )
        self.come(person, {name: LockMode.X}, 1, 0, 0)
        self.observe()  # granted before the stranger came, who may be of higher rank
        self.come(stranger, {name: LockMode.X, other: LockMode.X}, 1, data.draw(priorities), 0)
        self.come(child, {name: LockMode.X, other: LockMode.X}, 1, 0, 0, person)
        self.observe()
        self.world.check("under", {person, stranger, child} & self.holding == {person, child}, self.holding)
        answer = self.world.release([Release(owner=person, epoch=1)])
        self.world.check("under", answer == "WRONG_STATE", answer)
        self.release_and_check(child)
        self.release_and_check(person)
        self.come(late, {name: LockMode.X}, 1, 0, 0, person)
        for owner in (stranger, late):
            self.release_and_check(owner)

    @rule(data=st.data())
    def reassert(self, data: st.DataObject) -> None:
        """The scheduler says what is held, to a service that knows: each is told its tokens, and nothing changes."""
        holding = sorted(name for name, owner in self.model.owners.items() if owner.tokens is not None)
        told = data.draw(st.lists(st.sampled_from(holding), unique=True)) if holding else []
        self.say_what_is_held([self.asked[owner] for owner in told])

    @rule(wishes=sets)
    def reassert_what_is_forgotten(self, wishes: dict[str, LockMode]) -> None:
        """A set that the service does not know is granted like any other, or refused, and then not queued."""
        owner = f"forgotten{len(self.arrived)}{self.suffix}"
        closed = with_intentions([(name + self.suffix, mode) for name, mode in wishes.items()], self.parent)
        locks = tuple(LockWish(object=name, mode=mode) for name, mode in closed.items())
        wanted = LockSet(owner=owner, epoch=1, locks=locks)
        before = deepcopy(self.model)
        self.model.acquire(owner, 1, closed, 0, 0)
        if self.model.owners[owner].tokens is None:
            self.model = before
            self.say_what_is_held([wanted])
            return
        self.arrived[owner], self.priorities[owner] = self.model.arrivals, 0
        self.ranks[owner] = properties.rank_of(self.arrived[owner], 0)
        self.asked[owner] = wanted
        self.say_what_is_held([wanted])
        self.release_and_check(owner)

    def say_what_is_held(self, holds: list[LockSet]) -> None:
        """Re-assert these sets and whoever waits, and compare what is answered with the list."""
        owners = self.model.owners
        waiting = sorted(name for name, owner in owners.items() if owner.tokens is None)
        holding = {name for name, owner in owners.items() if owner.tokens is not None}
        expected = "" if holding.issuperset(each.owner for each in holds) else "WRONG_STATE"
        answer, reports = self.world.reassert(holds, waiting)
        self.world.check("reassertion", answer == expected, f"{answer!r}, not {expected!r}")
        self.observe()
        if not expected:
            shown = [{lock.object: lock.token for lock in self.locks if lock.owner == each.owner} for each in holds]
            told = [
                {lock.object: lock.token for lock in report.locks} if isinstance(report, Grant) else {}
                for report in reports
            ]
            self.world.check("reassertion", told == shown, f"{told}, not {shown}")

    @precondition(lambda self: self.restarts < MOST_RESTARTS)
    @rule(stray=st.booleans())
    def restore(self, stray: bool) -> None:
        """The database is put back: nothing is granted before what is open is said, and strays are released (P32)."""
        self.restarts += 1
        number = len(self.arrived)
        owner, name = f"operations/{number}{self.suffix}", f"strayed{number}{self.suffix}"
        if stray:
            self.come(owner, {name: LockMode.X}, 1, 0, 0)
        self.world.run(self.world.server.restore())
        self.streams.clear()
        wish = LockSet(owner=f"early{number}{self.suffix}", epoch=1, locks=(LockWish(object=name, mode=LockMode.S),))
        self.world.check("closed door", self.is_refused(wish), "granted before anybody said what is held")
        if stray:
            self.model.release(owner, 1)
        held = [each for each in sorted(self.model.owners) if self.model.owners[each].tokens is not None]
        self.say_what_is_held([self.asked[each] for each in held if not each.startswith(properties.PERSON)])
        self.come_again()

    def is_refused(self, wanted: LockSet) -> bool:
        """Ask once, and tell whether the service is not ready to grant anything."""

        async def ask() -> bool:
            stream = self.world.server.stub.Acquire()
            try:
                # The refusal may come while gRPC still sends, and hide its status then.
                await stream.write(pb.AcquireRequest(sets=[wire.lock_set_message(wanted)]))
                await stream.read()
            except grpc.RpcError as error:
                return isinstance(named(error), Unavailable)
            finally:
                stream.cancel()
            return False

        return self.world.run(ask())
