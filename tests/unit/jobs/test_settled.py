"""What is settled: nothing that is open, or may be, is ever below the floor, and the floor never falls."""

from __future__ import annotations

from virtyard.jobs.settled import Settled


def known(*numbers: int, last: int = 0) -> Settled:
    """Return what is settled where these operations were open when the scheduler started."""
    settled = Settled()
    settled.recall(numbers, last)
    return settled


def test_nothing_is_settled_before_the_database_was_asked() -> None:
    """What was opened or ended before tells nothing of those that an earlier process left."""
    settled = Settled()
    settled.opened(7)
    settled.ended(7)
    assert (settled.below, settled.tokens_below) == (0, 0)


def test_the_floor_is_the_lowest_open_operation() -> None:
    """An operation that lasts keeps the floor; once it ends, all that ended above it is settled."""
    settled = known(last=4)
    assert settled.below == 5
    for number in (5, 6, 7):
        settled.opened(number)
    settled.ended(6)
    assert settled.below == 5
    settled.ended(5)
    assert settled.below == 7
    settled.ended(7)
    assert settled.below == settled.next_number == 8


def test_tokens_of_the_lowest_open_operation_are_above_all_that_came_before_it() -> None:
    """What was granted before an operation began is below its own tokens; later grants are not."""
    settled = known(last=4)
    settled.granted(10)
    settled.opened(5)
    settled.granted(20)
    settled.opened(6)
    assert settled.tokens_below == 11
    settled.ended(5)
    assert settled.tokens_below == 21
    settled.ended(6)
    settled.granted(30)
    assert settled.tokens_below == 31


def test_tokens_of_adopted_operations_are_not_known() -> None:
    """While one of them is open no token is settled."""
    settled = known(3, last=4)
    settled.granted(10)
    assert (settled.below, settled.tokens_below) == (3, 0)


def test_a_commit_in_doubt_holds_the_floor() -> None:
    """An operation that may have become durable unseen is not passed; once the database was asked, it is known."""
    settled = known(last=4)
    assert settled.below == 5
    settled.doubt()
    settled.opened(6)
    settled.ended(6)
    assert (settled.below, settled.in_doubt) == (5, True)
    settled.recall([5], last=6)
    assert settled.below == 5
    settled.ended(5)
    assert settled.below == 7
