"""The rate of an effect: over a sliding window, and none while nothing can be told."""

from __future__ import annotations

from virtyard.agent.rate import WINDOW, Rate


def test_a_steady_effect_has_its_rate_after_the_first_second() -> None:
    """The first buffers tell nothing; then it is what is done in a second."""
    rate = Rate()
    told = [rate.note(second * 50, 10_000, 7.0 + second / 2) for second in range(6)]
    assert told == [0, 0, 100, 100, 100, 100]


def test_the_window_forgets_what_was_long_ago() -> None:
    """A slow beginning does not count once the window has passed it, nor does a fast one."""
    rate = Rate()
    told = 0.0
    for second in range(int(WINDOW) + 1):
        told = rate.note(second, 10_000, float(second))
    assert told == 1
    for second in range(1, int(WINDOW) + 1):
        told = rate.note(int(WINDOW) + second * 100, 10_000, WINDOW + second)
    assert told == 100


def test_an_effect_that_was_silent_for_long_counts_the_silence() -> None:
    """There is always one place behind the window, so that a pause makes it slower and not unknown."""
    rate = Rate()
    rate.note(0, 10_000, 0.0)
    rate.note(100, 10_000, 1.0)
    assert rate.note(200, 10_000, 101.0) == 1


def test_what_begins_anew_has_no_rate_yet() -> None:
    """A second try, and another part of the same effect, are measured by themselves."""
    rate = Rate()
    rate.note(0, 100, 0.0)
    assert rate.note(50, 100, 1.0) == 50
    assert rate.note(10, 100, 2.0) == 0
    assert rate.note(10, 900, 4.0) == 0
    assert rate.note(30, 900, 6.0) == 10
