"""Facts about the lock modes: the table, the lattice, and what covers a write."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtyard.kernel.lock_modes import (
    MODES,
    LockMode,
    conflicting_modes,
    conflicts,
    covers,
    covers_write,
    intention_for,
    merge,
    supremum,
    with_intentions,
)

IS, IX, S, SIX, X = MODES
modes = st.sampled_from(MODES)
any_mode = st.sampled_from((LockMode.UNSPECIFIED, *MODES))

COMPATIBLE = {(IS, IS), (IS, IX), (IS, S), (IS, SIX), (IX, IX), (S, S)}

PARENTS = {
    "virtualMachines/a": "serverPools/p",
    "virtualMachines/b": "serverPools/p",
    "virtualMachines/c": "serverPools/q",
    "vnics/a0": "virtualMachines/a",
    "vnics/c0": "virtualMachines/c",
    "virtualDisks/d": "repositories/r",
}
OBJECTS = sorted({*PARENTS, *PARENTS.values()})

requests_of_objects = st.lists(st.tuples(st.sampled_from(OBJECTS), modes))


def above(name: str) -> list[str]:
    """Return the ancestors of an object, nearest first."""
    found = []
    while name in PARENTS:
        name = PARENTS[name]
        found.append(name)
    return found


@pytest.mark.parametrize(("a", "b"), list(itertools.product(MODES, MODES)))
def test_two_modes_exclude_each_other_as_in_grays_table(a: LockMode, b: LockMode) -> None:
    """Every pair is as in the paper, in both orders, and the two ways to ask agree."""
    assert conflicts(a, b) == ((a, b) not in COMPATIBLE and (b, a) not in COMPATIBLE)
    assert (b in conflicting_modes(a)) == conflicts(a, b)


@given(a=any_mode, b=any_mode, c=any_mode)
def test_supremum_is_a_lattice_join(a: LockMode, b: LockMode, c: LockMode) -> None:
    """It is commutative, associative and idempotent, and UNSPECIFIED is nothing."""
    assert supremum(a, b) == supremum(b, a)
    assert supremum(supremum(a, b), c) == supremum(a, supremum(b, c))
    assert supremum(a, a) == a
    assert supremum(a, LockMode.UNSPECIFIED) == a


@given(a=modes, b=modes)
def test_supremum_excludes_all_that_either_excludes(a: LockMode, b: LockMode) -> None:
    """The merged mode protects at least what both did, and no weaker mode would."""
    joined = supremum(a, b)
    assert conflicting_modes(joined) >= conflicting_modes(a) | conflicting_modes(b)
    assert covers(joined, a)
    assert covers(joined, b)
    weaker = [mode for mode in MODES if mode != joined and covers(joined, mode)]
    assert not any(covers(mode, a) and covers(mode, b) for mode in weaker)


@given(above=st.sampled_from((S, SIX, X)), below=modes)
def test_a_lock_above_meets_the_intention_of_what_it_excludes_below(above: LockMode, below: LockMode) -> None:
    """S and SIX protect what is below from changes, X from everything, through the intention taken beside them."""
    implied = X if above is X else S
    if conflicts(implied, below):
        assert conflicts(above, intention_for(below))


@given(requests=st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), modes)))
def test_merge_does_not_depend_on_order_and_comes_sorted(requests: list[tuple[str, LockMode]]) -> None:
    """However the jobs of an operation are listed, its set is the same."""
    merged = merge(requests)
    assert merged == merge(reversed(requests))
    assert list(merged) == sorted(merged)
    assert set(merged) == {name for name, _ in requests}


@given(
    first=st.lists(st.tuples(st.sampled_from(OBJECTS), modes)),
    second=st.lists(st.tuples(st.sampled_from(OBJECTS), modes)),
)
def test_two_sets_that_touch_one_object_in_excluding_ways_meet(
    first: list[tuple[str, LockMode]], second: list[tuple[str, LockMode]]
) -> None:
    """X on an object and any lock on it or below it always conflict on one object of the closed sets."""
    one, two = with_intentions(first, PARENTS.get), with_intentions(second, PARENTS.get)
    meet = any(conflicts(one[name], two[name]) for name in one.keys() & two.keys())
    excluded = any(mode is X and (name == other or name in above(other)) for name, mode in first for other, _ in second)
    assert meet or not excluded


def test_intentions_reach_the_root() -> None:
    """X on a VNIC intends on its machine and on the pool."""
    assert with_intentions([("vnics/a0", X)], PARENTS.get) == {
        "serverPools/p": IX,
        "virtualMachines/a": IX,
        "vnics/a0": X,
    }
    assert with_intentions([("virtualMachines/a", S), ("virtualMachines/b", IX)], PARENTS.get)["serverPools/p"] is IX


def test_a_loop_of_parents_ends() -> None:
    """A view that is wrong does not hang the planner."""
    assert with_intentions([("a", X)], {"a": "b", "b": "a"}.get) == {"a": X, "b": IX}


@pytest.mark.parametrize(
    ("locks", "ancestors", "covered"),
    [
        ([("vnics/a0", X)], None, True),
        ([("vnics/a0", SIX)], None, False),
        ([("vnics/b0", X)], None, False),
        ([("virtualMachines/a", X), ("vnics/a0", IX)], None, True),
        ([("serverPools/p", X)], None, True),
        ([("serverPools/p", X)], ("virtualMachines/a", "serverPools/p"), True),
        ([("serverPools/q", X)], ("virtualMachines/a", "serverPools/p"), False),
        ([("repositories/r", X)], None, False),
        ([], None, False),
    ],
)
def test_a_write_needs_x_on_its_target_or_above(
    locks: list[tuple[str, LockMode]], ancestors: tuple[str, ...] | None, covered: bool
) -> None:
    """Intentions, shared locks, siblings and other trees do not allow a change (P2)."""
    assert covers_write("vnics/a0", locks, ancestors) is covered


def test_the_object_of_another_kind_covers_nothing() -> None:
    """A locked name, or a name that only begins like the target's, is no ancestor of it."""
    assert covers_write("names/virtualMachines/web", [("names/virtualMachines/web", X)])
    assert not covers_write("virtualDisks/ab", [("virtualDisks/a", X)])
    assert not covers_write("networks/n", [("serverPools/p", X)])
