"""Random histories of a lock service over gRPC, each step compared with the properties and the rules by the letter.

A request that is not answered is repeated, after the service was started again if it had died: so every crash between
a commit and its answer is a repetition too, and nothing may come of it twice.
"""

from __future__ import annotations

import grpc
import grpc.aio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from typing_extensions import override

from tests.integration.locks import lock_properties as properties
from tests.integration.locks.lock_world import Stream, World, last_word
from tests.unit.locks.naive import NaiveTable
from virtyard.api.locks.v1 import lock_service_pb2 as pb
from virtyard.kernel.lock_modes import MODES, LockMode, with_intentions
from virtyard.locks import wire
from virtyard.locks.model import Grant, LockSet, LockWish, QueuePlace, Refusal, Release

__all__ = ["LockHistories"]

TREE: dict[str, str | None] = {
    "pool": None,
    "server": "pool",
    "vm1": "pool",
    "vm2": "pool",
    "vnic": "vm1",
    "repository": None,
    "disk": "repository",
    "name": None,
}
"""The lock tree: the parent of each object."""
MOST_RESTARTS = 3

owners = st.sampled_from(["o1", "o2", "o3", "o4", "o5", "o6"])
sets = st.dictionaries(st.sampled_from(sorted(TREE)), st.sampled_from(MODES), min_size=1, max_size=3)
heirs = st.sampled_from(["", "", "o1", "o2", "o3", "o4", "o5", "o6"])
epochs = st.sampled_from([1, 1, 1, 2, 3])
turns = st.sampled_from([0, 0, 0, 1, 2])
priorities = st.sampled_from([0, 0, 1, -1])
limits = st.sampled_from([-1, 0, 1])
moments = st.sampled_from(["locks.L0", "locks.L1", "locks.L1#2", "locks.L2"])


class LockHistories(RuleBasedStateMachine):
    """Six owners ask for, use and give back parts of a small tree, while the service fails, dies and comes again."""

    def __init__(self, world: World) -> None:
        """Begin with names of this history's own, so that nothing is left of the ones before."""
        super().__init__()
        self.world = world
        world.histories += 1
        self.suffix = f"-{world.histories}"
        self.model = NaiveTable()
        self.arrived: dict[str, int] = {}
        self.ranks: dict[str, properties.Rank] = {}
        self.priorities: dict[str, int] = {}
        self.passed: dict[str, set[str]] = {}
        self.widest: dict[str, int] = {}
        self.under: dict[str, str] = {}
        self.streams: dict[str, Stream] = {}
        self.asked: dict[str, LockSet] = {}
        self.tokens: dict[tuple[str, str, int], int] = {}
        self.holding: set[str] = set()
        self.strangers = 0
        self.restarts = 0
        self.limit_met = False
        self.locks, self.since = world.locks()
        world.check("final release", not self.locks, self.locks)

    def parent(self, name: str) -> str | None:
        """Return the lock parent of an object of this history."""
        above = TREE.get(name.removesuffix(self.suffix))
        return above and above + self.suffix

    @rule(owner=owners, wishes=sets, epoch=epochs, priority=priorities, turn=turns)
    def acquire(self, owner: str, wishes: dict[str, LockMode], epoch: int, priority: int, turn: int) -> None:
        """Ask for a set, or for another one in a later round: granted, queued or refused as the rules say."""
        closed = with_intentions([(name + self.suffix, mode) for name, mode in wishes.items()], self.parent)
        self.come(owner + self.suffix, closed, epoch, priority, turn)

    def come(
        self, owner: str, closed: dict[str, LockMode], epoch: int, priority: int, turn: int, under: str = ""
    ) -> None:
        """Ask for a set, of which the model knows then too."""
        locks = tuple(LockWish(object=name, mode=mode) for name, mode in closed.items())
        wanted = LockSet(owner=owner, epoch=epoch, locks=locks, priority=priority, round=turn, under=under)
        known = self.model.owners.get(owner)
        refusal = self.model.acquire(owner, epoch, closed, priority, turn, under)
        if not refusal and (known is None or turn > known.round):
            arrival = self.arrived.setdefault(owner, self.model.arrivals)
            self.ranks[owner] = properties.rank_of(arrival, priority)
            self.priorities[owner] = priority
            self.asked[owner] = wanted
            if known is None and under:
                self.under[owner] = under
            self.holding.discard(owner)
        self.expect(wanted, refusal)

    @precondition(lambda self: self.model.owners)
    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        """The same request gets the same answer and the same tokens, however often it comes."""
        owner = data.draw(st.sampled_from(sorted(self.model.owners)))
        self.expect(self.asked[owner], self.reason_of_repeating(owner))

    @rule(owner=owners, epoch=epochs, heir=heirs)
    def release(self, owner: str, epoch: int, heir: str) -> None:
        """Close an owner for ever; a lower epoch than was seen is refused. An heir passes all who wait (P12)."""
        owner += self.suffix
        heir = heir and heir + self.suffix
        expected = self.model.release(owner, epoch, heir)
        answer = self.world.release([Release(owner=owner, epoch=epoch, heir=heir)])
        self.world.check("epochs", answer == expected, f"Release of {owner}: {answer!r}, not {expected!r}")

    @precondition(lambda self: self.model.closed)
    @rule(data=st.data(), wishes=sets)
    def come_too_late(self, data: st.DataObject, wishes: dict[str, LockMode]) -> None:
        """Whoever was released gets nothing any more, and releasing it again does nothing (P5)."""
        owner = data.draw(st.sampled_from(sorted(self.model.closed)))
        epoch = self.model.closed[owner]
        locks = tuple(LockWish(object=name + self.suffix, mode=mode) for name, mode in wishes.items())
        stream, report = self.world.ask(LockSet(owner=owner, epoch=epoch, locks=locks, round=7))
        stream.cancel()
        refused = isinstance(report, Refusal) and report.reason == "OWNER_CLOSED"
        self.world.check("tombstones", refused, report)
        self.world.check("tombstones", not self.world.release([Release(owner=owner, epoch=epoch)]), owner)

    @precondition(lambda self: self.holding)
    @rule(data=st.data())
    def shrink(self, data: st.DataObject) -> None:
        """Give back early, or keep in a weaker mode; what stays is still a closed set. Twice is as good as once."""
        owner = data.draw(st.sampled_from(sorted(self.holding)))
        model = self.model.owners[owner]
        names = data.draw(st.sets(st.sampled_from(sorted(model.locks)), min_size=1))
        weaker = {
            name: data.draw(st.sampled_from([each for each in MODES if each <= model.locks[name]]))
            for name in sorted(names)
        }
        keep = with_intentions(weaker.items(), self.parent)
        if any(properties.IX is mode and model.locks[name] is properties.S for name, mode in keep.items()):
            keep = {name: model.locks[name] for name in keep}
        self.model.shrink(owner, model.epoch, keep)
        for _ in range(2):
            answer = self.world.release([Release(owner=owner, epoch=model.epoch, keep=keep)])
            self.world.check("idempotence", not answer, answer)

    def strangers_pass(self, crowd: int) -> None:
        """Many others come, get what nobody else wants, and go: arrivals and tokens move on, and ranks with them."""
        # Named as nobody else in these histories: whoever came under such a name later would be refused as closed.
        names = [f"passing{self.strangers + number}{self.suffix}" for number in range(crowd)]
        self.strangers += crowd
        sets = [LockSet(owner=name, epoch=1, locks=(LockWish(object=name, mode=LockMode.X),)) for name in names]

        async def come() -> None:
            stream = self.world.server.stub.Acquire()
            await stream.write(pb.AcquireRequest(sets=[wire.lock_set_message(each) for each in sets]))
            await stream.done_writing()
            while await stream.read() is not grpc.aio.EOF:
                pass
            assert await stream.code() is grpc.StatusCode.OK

        self.world.answered(come)
        for name in names:
            self.model.acquire(name, 1, {name: LockMode.X}, 0, 0)
            self.model.release(name, 1)
            del self.model.closed[name]
        answer = self.world.release([Release(owner=name, epoch=1) for name in names])
        self.world.check("final release", not answer, answer)

    @rule(queue=st.lists(st.tuples(st.sampled_from(MODES), priorities), min_size=3, max_size=5), data=st.data())
    def queue_up(self, queue: list[tuple[LockMode, int]], data: st.DataObject) -> None:
        """Several come for one object, each in its own mode and priority, and go in any order."""
        number = len(self.arrived)
        name = f"wanted{number}{self.suffix}"
        owners = [f"queue{number}.{place}{self.suffix}" for place in range(len(queue))]
        for owner, (mode, priority) in zip(owners, queue, strict=True):
            self.come(owner, {name: mode}, 1, priority, 0)
            self.observe()
        for owner in data.draw(st.permutations(owners)):
            self.release_and_check(owner)

    @precondition(lambda self: not self.limit_met)
    @rule(crowd=limits)
    def come_near_the_limit(self, crowd: int) -> None:
        """One of higher priority comes as late as it may, or one later: just before that it goes first, then not."""
        self.limit_met = True
        number = len(self.arrived)
        name = f"contended{number}{self.suffix}"
        holder, early, late = (f"{who}{number}{self.suffix}" for who in ("holder", "early", "late"))
        for owner, priority in ((holder, 0), (early, 0)):
            self.come(owner, {name: LockMode.X}, 1, priority, 0)
        self.strangers_pass(properties.K - 1 - crowd)
        self.come(late, {name: LockMode.X}, 1, 1, 0)
        self.release_and_check(holder)
        first = early if crowd < 1 else late
        self.world.check("bounded bypass", first in self.holding, f"{late} is {crowd} within the limit")
        self.release_and_check(early)
        self.release_and_check(late)

    def release_and_check(self, owner: str) -> None:
        """Release an owner for ever, and look."""
        self.model.release(owner, 9)
        answer = self.world.release([Release(owner=owner, epoch=9)])
        self.world.check("epochs", not answer, answer)
        self.observe()

    @rule(data=st.data())
    def yield_to_another(self, data: st.DataObject) -> None:
        """A holder gives its locks to one that waits for no more, past others that came before with any priority."""
        number = len(self.arrived)
        name, above = f"yielded{number}{self.suffix}", f"above{number}{self.suffix}"
        holder, third, heir = (f"{who}{number}{self.suffix}" for who in ("stop", "rename", "kill"))
        more = data.draw(st.booleans())
        self.come(holder, {name: LockMode.X}, 1, 0, 0)
        self.come(third, {name: LockMode.X}, 1, data.draw(priorities), 0)
        self.come(heir, {name: LockMode.X, above: LockMode.IX} if more else {name: LockMode.X}, 1, 0, 0)
        for _ in range(2):
            self.model.release(holder, 1, heir)
            answer = self.world.release([Release(owner=holder, epoch=1, heir=heir)])
            self.world.check("idempotence", not answer, answer)
        self.observe()
        if not more:
            self.world.check("inheritance", {heir, third} & self.holding == {heir}, self.holding)
        for owner in (heir, third):
            self.release_and_check(owner)

    @precondition(lambda self: any(lock.granted is None for lock in self.locks))
    @rule(data=st.data())
    def release_the_blockers(self, data: st.DataObject) -> None:
        """Each blocker is necessary, and together they suffice: the waiter is granted with the last one's release."""
        waiting = sorted({lock.owner for lock in self.locks if lock.granted is None})
        owner = data.draw(st.sampled_from(waiting))
        blockers = sorted({each.owner for lock in self.locks if lock.owner == owner for each in lock.blockers})
        if owner in self.under.values() or any(self.model.children(each) for each in blockers):
            return  # these are not released while somebody is under them, who may pass the others meanwhile
        for number, blocker in enumerate(data.draw(st.permutations(blockers))):
            self.release_and_check(blocker)
            last = number == len(blockers) - 1
            self.world.check(
                "each blocker is necessary" if not last else "blockers suffice", (owner in self.holding) is last, owner
            )

    @precondition(lambda self: self.restarts < MOST_RESTARTS)
    @rule()
    def restart(self) -> None:
        """The service ends, by kill -9 where it is a process, and comes again: nobody has lost anything."""
        self.restarts += 1
        before = self.locks
        self.world.run(self.world.server.restart())
        self.world.check("replay", self.world.locks()[0] == before, before)
        self.come_again()

    @precondition(lambda self: self.restarts < MOST_RESTARTS and self.world.server.killable)
    @rule(moment=moments)
    def die_soon(self, moment: str) -> None:
        """The service will kill itself right after a commit, before anybody is answered."""
        self.restarts += 1
        self.world.run(self.world.server.restart(moment))
        self.come_again()

    @precondition(lambda self: not self.world.server.killable)
    @rule(durable=st.booleans())
    def fail_soon(self, durable: bool) -> None:
        """The next commit fails, and whether it was made nobody knows (P28)."""
        self.world.server.fail_next_commit(durable=durable)

    def come_again(self) -> None:
        """All that held or waited ask again, as schedulers do, and go on listening."""
        self.streams.clear()
        for owner in sorted(self.model.owners):
            self.expect(self.asked[owner], self.reason_of_repeating(owner))

    def reason_of_repeating(self, owner: str) -> str:
        """Return why the first request may not be repeated: a later epoch has spoken for the owner, or it is closed."""
        closed = self.model.closed.get(owner)
        epoch = self.model.owners[owner].epoch if closed is None else closed
        if self.asked[owner].epoch < epoch:
            return "STALE_EPOCH"
        return "" if closed is None else "OWNER_CLOSED"

    def expect(self, wanted: LockSet, refusal: str) -> None:
        """Ask, and compare the answer with what the model says by now."""
        owner = wanted.owner
        stream, report = self.world.ask(wanted)
        model = self.model.owners.get(owner)
        match report:
            case Refusal():
                self.require("refusals", report.reason == refusal, f"{report}, not {refusal!r}")
            case Grant():
                granted = model is not None and model.tokens is not None and not refusal
                self.require("grants", granted and report.round == wanted.round, report)
                assert model is not None
                told = {lock.object: lock.mode for lock in report.locks}
                self.require("atomicity", told == model.locks, report)
            case QueuePlace():
                self.require("progress", model is not None and model.tokens is None and not refusal, report)
                self.streams[owner] = stream
                return
        stream.cancel()

    def require(self, name: str, holds: bool, detail: object) -> None:
        """Fail where an answer is wrong: by the property that the list of locks breaks too, if it does."""
        if not holds:
            self.observe()
        self.world.check(name, holds, detail)

    @invariant()
    def observe(self) -> None:
        """Whatever is listed has every property, and is what the rules by the letter have come to."""
        self.world.steps += 1
        check, (locks, _) = self.world.check, self.world.locks()
        self.locks = locks
        for name, wrong in (
            ("exclusion", properties.shared_wrongly(locks, self.under)),
            ("closure", properties.without_intention(locks, self.parent)),
            ("exclusion in the tree", properties.shared_through_the_tree(locks, self.parent, self.under)),
            ("atomicity", properties.broken_sets(locks)),
            ("tokens", properties.repeated_tokens(locks)),
            ("final release", [lock.owner for lock in locks if lock.owner in self.model.closed]),
        ):
            check(name, not wrong, wrong)
        self.see_tokens()
        self.see_grants()
        self.see_waiters()
        self.compare()
        self.hear_news()

    def see_tokens(self) -> None:
        """Tokens of new grants are above all that were ever seen; those of old ones stay."""
        fresh = set()
        for lock in properties.held(self.locks):
            if lock.owner.startswith(properties.PERSON):
                continue
            key = (lock.object, lock.owner, self.asked[lock.owner].round)
            if key in self.tokens:
                self.world.check("idempotence", self.tokens[key] == lock.token, lock)
            else:
                self.world.check("tokens", lock.token > self.world.highest, f"{lock}; {self.world.highest} was given")
                self.tokens[key] = lock.token
                fresh.add(lock.token)
        self.world.highest = max([self.world.highest, *fresh])

    def see_grants(self) -> None:
        """At each grant: nobody of lower rank waits for the same, and nobody was passed more often than P15 allows.

        An heir does not count: whom it passes waited for the holder whose locks it has now, and so waits no longer than
        if that one had gone on (P12). Nor does who is under another one and passes those that wait for that (P23).
        Where priorities have changed, what counts is how far apart the two were when the one passed the other.
        """
        owners = properties.by_owner(self.locks)
        modes = {owner: {lock.object: lock.mode for lock in mine} for owner, mine in owners.items()}
        holding = {lock.owner for lock in properties.held(self.locks)}
        for granted in holding - self.holding - self.model.heirs:
            parent = self.under.get(granted, "")
            passes = properties.behind(parent, self.locks, self.ranks, self.under) if parent else set()
            for waiter in owners.keys() - holding - passes:
                if not any(properties.meeting(modes[granted], modes[waiter])):
                    continue
                self.world.check("rank", self.ranks[granted] < self.ranks[waiter], f"{granted} before {waiter}")
                if self.arrived[granted] > self.arrived[waiter]:
                    passed = self.passed.setdefault(waiter, set())
                    passed.add(granted)
                    step = self.priorities[granted] - self.priorities[waiter]
                    later = self.arrived[granted] - self.arrived[waiter]
                    self.world.check("bounded bypass", later < properties.K * step, f"{waiter}: {granted}")
                    widest = self.widest[waiter] = max(step, self.widest.get(waiter, step))
                    self.world.check("bounded bypass", len(passed) < properties.K * widest, f"{waiter}: {passed}")
        self.holding = holding

    def see_waiters(self) -> None:
        """Whoever waits has somebody in the way, and is told exactly who."""
        for lock in self.locks:
            if lock.granted is None:
                expected = properties.in_the_way(lock.owner, self.locks, self.ranks, self.under)
                self.world.check("progress", bool(expected), f"{lock.owner} could be granted")
                wrong = properties.shown_wrongly(lock, expected)
                self.world.check("blockers", not wrong, wrong)

    def compare(self) -> None:
        """The list is what the naive table has; its tokens are in the same order."""
        expected = {
            (owner.name, name, mode, owner.tokens is None)
            for owner in self.model.owners.values()
            for name, mode in owner.locks.items()
        }
        found = {(lock.owner, lock.object, lock.mode, lock.granted is None) for lock in self.locks}
        self.world.check("model", found == expected, found ^ expected)
        tokens = {(lock.owner, lock.object): lock.token for lock in self.locks}
        in_order = sorted(
            (token, tokens[owner.name, name])
            for owner in self.model.owners.values()
            for name, token in (owner.tokens or {}).items()
        )
        self.world.check("tokens", in_order == sorted(in_order, key=lambda each: each[1]), in_order)

    def hear_news(self) -> None:
        """Whoever waited and waits no more is told so, with the tokens that the list shows."""
        for owner, stream in tuple(self.streams.items()):
            model = self.model.owners.get(owner)
            if model is not None and model.tokens is None:
                continue
            del self.streams[owner]
            try:
                report = self.world.run(last_word(stream))
            except grpc.RpcError:
                # The service has died since; whoever waited asks again, and is told what it missed.
                self.expect(self.asked[owner], self.reason_of_repeating(owner))
                continue
            stream.cancel()
            if model is None:
                told = isinstance(report, Refusal) and report.reason == "OWNER_CLOSED"
            else:
                shown = {lock.object: lock.token for lock in self.locks if lock.owner == owner}
                told = isinstance(report, Grant) and {lock.object: lock.token for lock in report.locks} == shown
                told = told or (isinstance(report, Refusal) and report.reason == "SUPERSEDED" and model.round > 0)
            self.world.check("notification", told, f"{owner} is told {report}")

    @override
    def teardown(self) -> None:
        """The news of the history leave what is listed; everybody goes, and nothing is left."""
        if not self.world.broken:
            locks, until = self.world.locks()
            expected = {f"{lock.object}|{lock.owner}": (lock.mode, lock.token) for lock in locks}
            found = self.world.replayed(self.since, until)
            self.world.check("replay", found == expected, f"{found}, not {expected}")
        self.world.release([Release(owner=owner, epoch=99) for owner in sorted(self.model.owners)])
        for stream in self.streams.values():
            stream.cancel()
        if not self.world.broken:
            self.world.check("final release", not self.world.locks()[0])
        super().teardown()
