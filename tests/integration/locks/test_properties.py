"""The lock service over gRPC has every property of P2, P5, P15 and P25, through crashes; each bug would be found."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test

from tests.integration.locks import lock_machine
from tests.integration.locks.lock_machine import LockHistories
from tests.integration.locks.lock_people import AllHistories
from tests.integration.locks.lock_server import FarServer, LockServer, NearServer
from tests.integration.locks.lock_world import World
from virtyard.kernel.lock_modes import LockMode, merge
from virtyard.locks import queries, queue, service, store, table
from virtyard.locks.model import PRIORITY_WEIGHT, Claim, Rank
from virtyard.locks.queue import ObjectQueue
from virtyard.locks.reassertion import reassert
from virtyard.locks.table import LockTable

LONG = bool(os.environ.get("VIRTYARD_TORTURE"))
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@contextmanager
def world_of(server: LockServer) -> Iterator[World]:
    """Run a lock service."""
    world = World(server)
    try:
        yield world
    finally:
        world.close()


def run(
    world: World,
    *,
    examples: int,
    steps: int,
    phases: tuple[Phase, ...] = tuple(Phase),
    machine: type[LockHistories] = AllHistories,
) -> None:
    """Run so many histories of so many steps."""
    rules = settings(
        max_examples=examples,
        stateful_step_count=steps,
        suppress_health_check=CHECKS,
        phases=phases,
        report_multiple_bugs=False,
    )
    run_state_machine_as_test(lambda: machine(world), settings=rules)  # type: ignore[arg-type]  # any callable


@pytest.mark.timeout(7200 if LONG else 240)
def test_properties_hold_over_restarts_and_failed_commits(tmp_path: Path) -> None:
    """Over a real socket; commits fail before and after they are made, and whoever asked asks again."""
    with world_of(NearServer(tmp_path)) as world:
        run(world, examples=2000 if LONG else 6, steps=20)
        assert world.steps > 100
        assert world.highest > 100


@pytest.mark.slow
@pytest.mark.timeout(7200 if LONG else 240)
def test_properties_hold_over_kill_9(tmp_path: Path) -> None:
    """The service is a process, killed between requests and between a commit and its answer."""
    server = FarServer(tmp_path)
    with world_of(server) as world:
        # Starting processes is dear: people, ranks and restores come along where there is time.
        machine = AllHistories if LONG else LockHistories
        run(world, examples=60 if LONG else 2, steps=20, phases=(Phase.generate,), machine=machine)
    assert server.kills >= 4


Bug = Callable[[pytest.MonkeyPatch], None]


def forget_a_conflict(patch: pytest.MonkeyPatch) -> None:
    """Let S and IX share an object."""
    table = dict(queue._CONFLICTING)
    table[LockMode.IX] = tuple(mode for mode in table[LockMode.IX] if mode is not LockMode.S)
    table[LockMode.S] = tuple(mode for mode in table[LockMode.S] if mode is not LockMode.IX)
    patch.setattr(queue, "_CONFLICTING", table)


def forget_intentions(patch: pytest.MonkeyPatch) -> None:
    """Ask for what is named, and for nothing above it."""
    patch.setattr(lock_machine, "with_intentions", lambda requests, parent_of: merge(requests))


def reuse_a_token(patch: pytest.MonkeyPatch) -> None:
    """Count one token for a set, however many locks it has."""
    granted = LockTable._granted

    def one_for_all(table: LockTable, claim: Claim, now: datetime) -> Claim:
        before = table.tokens
        after = granted(table, claim, now)
        table.tokens = before + 1
        return after

    patch.setattr(LockTable, "_granted", one_for_all)


def forget_the_last_token(patch: pytest.MonkeyPatch) -> None:
    """Let the counter of tokens be behind on disk, as a restart shows."""
    patch.setattr(queries, "SET_COUNTER", "UPDATE counter SET revision = ?, arrivals = ?, tokens = max(0, ? - 1)")


def give_new_tokens_to_who_asks_again(patch: pytest.MonkeyPatch) -> None:
    """Answer a repeated request by another grant."""
    raise_epoch = LockTable._raise_epoch

    def regrant(table: LockTable, claim: Claim, epoch: int) -> Claim:
        claim = raise_epoch(table, claim, epoch)
        if not claim.waiting:
            after = table._granted(claim, claim.requested)
            table._replace(claim, after)
            return after
        return claim

    patch.setattr(LockTable, "_raise_epoch", regrant)


def skip_the_rank_order(patch: pytest.MonkeyPatch) -> None:
    """Grant whatever no holder excludes, past everybody who waits."""
    excludes = ObjectQueue.excludes
    patch.setattr(ObjectQueue, "excludes", lambda self, mode, rank: excludes(self, mode, Rank(-(10**9), 0)))


def weigh_priority_too_much(patch: pytest.MonkeyPatch) -> None:
    """Let one step of priority pass one more than K."""
    patch.setattr(
        Rank, "of", classmethod(lambda cls, arrival, priority: cls(arrival - priority * (PRIORITY_WEIGHT + 1), arrival))
    )


def grant_in_parts(patch: pytest.MonkeyPatch) -> None:
    """Grant a set as soon as its first object is free."""
    excluded = LockTable._excluded
    patch.setattr(
        LockTable,
        "_excluded",
        lambda self, claim: excluded(self, replace(claim, asked=dict([next(iter(claim.asked.items()))]))),
    )


def lose_a_waiter(patch: pytest.MonkeyPatch) -> None:
    """Do not look at who waited for what has become free."""
    patch.setattr(LockTable, "_grant_freed", lambda self, freed, now, *also: None)


def bury_nobody(patch: pytest.MonkeyPatch) -> None:
    """Keep no tombstone of a closed owner."""
    patch.setattr(queries, "ADD_TOMBSTONE", "INSERT INTO tombstone SELECT ?, ?, ? WHERE 0")


def listen_to_old_epochs(patch: pytest.MonkeyPatch) -> None:
    """Take every epoch."""
    patch.setattr(table, "_check_epoch", lambda owner, epoch, seen: None)


def name_no_waiter_as_blocker(patch: pytest.MonkeyPatch) -> None:
    """Tell a waiter of holders only."""
    patch.setattr(ObjectQueue, "blocking_waiters", lambda self, mode, rank, limit: [])


def blame_everybody(patch: pytest.MonkeyPatch) -> None:
    """Tell a waiter of every holder, also of those that it could share with."""
    patch.setattr(ObjectQueue, "blocking_holders", lambda self, mode: iter(self._holders.items()))


def lose_what_is_released_in_part(patch: pytest.MonkeyPatch) -> None:
    """Leave the rows of a lock that was given back early, as a restart shows."""
    same = store._same_locks
    patch.setattr(
        store,
        "_same_locks",
        lambda before, after: (
            (before is not None and after is not None and not after.waiting and not before.waiting)
            or same(before, after)
        ),
    )


def grant_nobody_who_listens(patch: pytest.MonkeyPatch) -> None:
    """Grant, and tell those who wait of another's grant, with its tokens missing."""
    grant = Claim.grant
    patch.setattr(Claim, "grant", lambda self: replace(grant(self), locks=grant(self).locks[:1]))


def let_nobody_inherit(patch: pytest.MonkeyPatch) -> None:
    """Give what is given back for another one to whoever comes next."""
    patch.setattr(table, "inherits", lambda heir, left, objects: False)


def let_anybody_inherit(patch: pytest.MonkeyPatch) -> None:
    """Give an heir all that it waits for, whoever holds it."""
    patch.setattr(table, "inherits", lambda heir, left, objects: heir.waiting)


def ignore_a_new_priority(patch: pytest.MonkeyPatch) -> None:
    """Answer who sets a priority, and leave the queue as it is."""
    patch.setattr(
        LockTable,
        "set_priority",
        lambda self, owner, epoch, priority, now: self._raise_epoch(self._open_claim(owner, epoch), epoch),
    )


def rank_anew_from_now(patch: pytest.MonkeyPatch) -> None:
    """Rank whoever is given a priority as if it came just now, so that it is passed by more than P15 allows."""
    set_priority = LockTable.set_priority

    def late(table: LockTable, owner: str, epoch: int, priority: int, now: datetime) -> Claim:
        claim = table._claims.get(owner)
        if claim is not None and claim.waiting and claim.priority != priority:
            table.arrivals += 1
            with patch.context() as inner:
                of = Rank.of
                inner.setattr(Rank, "of", classmethod(lambda cls, arrival, priority: of(table.arrivals, priority)))
                return set_priority(table, owner, epoch, priority, now)
        return set_priority(table, owner, epoch, priority, now)

    patch.setattr(LockTable, "set_priority", late)


def let_anybody_be_under(patch: pytest.MonkeyPatch) -> None:
    """Do not look whether what an owner is to be under is held."""
    patch.setattr(LockTable, "_check_under", lambda self, wanted: None)


def end_what_others_are_under(patch: pytest.MonkeyPatch) -> None:
    """Release a person's lock while somebody is under it."""
    patch.setattr(LockTable, "_check_no_children", lambda self, owner: None)


def let_children_wait_for_those_behind(patch: pytest.MonkeyPatch) -> None:
    """Have who is under a lock wait for those that wait for it, for ever."""
    patch.setattr(LockTable, "_behind", lambda self, holder: set())


def give_a_person_a_token(patch: pytest.MonkeyPatch) -> None:
    """Count tokens for what carries out nothing."""
    patch.setattr(table, "is_person", lambda owner: False)


def grant_again_what_is_reasserted(patch: pytest.MonkeyPatch) -> None:
    """Grant a set that is held already once more, in another round."""

    async def again(rehearse: Any, carry_out: Any, look: Any, database: Any, holds: Any, waiting: Any) -> Any:
        later = [replace(each, round=each.round + 1) for each in holds]
        grants = await reassert(rehearse, carry_out, look, database, later, waiting)
        return [replace(each, round=each.round - 1) for each in grants]

    patch.setattr(service, "reassert", again)


def open_the_door_at_once(patch: pytest.MonkeyPatch) -> None:
    """Grant after a restore before the scheduler has said what is held."""
    patch.setattr(service, "is_restored", lambda connection: False)


LATER_BUGS: list[tuple[Bug, set[str]]] = [
    (ignore_a_new_priority, {"rank", "bounded bypass", "progress", "blockers", "model"}),
    (rank_anew_from_now, {"rank", "bounded bypass", "progress", "blockers", "model"}),
    (let_anybody_be_under, {"refusals", "grants", "progress", "final release"}),
    (end_what_others_are_under, {"under"}),
    (let_children_wait_for_those_behind, {"under", "blockers", "progress", "grants", "model"}),
    (give_a_person_a_token, {"atomicity", "tokens"}),
    (grant_again_what_is_reasserted, {"idempotence", "reassertion"}),
    (open_the_door_at_once, {"closed door"}),
]
"""Those that need histories with people, changed priorities and restores to be found."""
BUGS: list[tuple[Bug, set[str]]] = [
    (forget_a_conflict, {"exclusion", "blockers"}),
    (forget_intentions, {"closure"}),
    (reuse_a_token, {"tokens"}),
    (forget_the_last_token, {"tokens"}),
    (give_new_tokens_to_who_asks_again, {"idempotence"}),
    (skip_the_rank_order, {"rank", "bounded bypass"}),
    (weigh_priority_too_much, {"bounded bypass", "rank"}),
    (grant_in_parts, {"exclusion"}),
    (lose_a_waiter, {"progress"}),
    (bury_nobody, {"tombstones", "final release"}),
    (listen_to_old_epochs, {"epochs", "grants", "refusals"}),
    (name_no_waiter_as_blocker, {"blockers"}),
    (blame_everybody, {"blockers"}),
    (lose_what_is_released_in_part, {"replay", "model"}),
    (grant_nobody_who_listens, {"atomicity", "notification"}),
    (let_nobody_inherit, {"inheritance", "model"}),
    (let_anybody_inherit, {"exclusion", "model", "rank", "bounded bypass"}),
]
"""Each bug with the properties by which it may be found; which is first depends on the history."""


@pytest.mark.parametrize(
    ("bug", "properties", "machine"),
    [
        *(pytest.param(*each, LockHistories, id=each[0].__name__) for each in BUGS),
        *(pytest.param(*each, AllHistories, id=each[0].__name__) for each in LATER_BUGS),
    ],
)
def test_a_planted_bug_is_found(
    bug: Bug, properties: set[str], machine: type[LockHistories], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A property that cannot be broken proves nothing: each is, by a bug that somebody might write."""
    with world_of(NearServer(tmp_path)) as world:
        bug(monkeypatch)
        with pytest.raises((AssertionError, Flaky)):
            run(world, examples=60, steps=20, phases=(Phase.generate,), machine=machine)
        monkeypatch.undo()
    assert world.broken
    assert world.broken[0] in properties, world.broken
