"""Expected ends by those before, and none where nothing can be told; spans of time in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from virtyard.jobs.estimate import by_history
from virtyard.jobs.wait_words import in_words

BEGUN = datetime(2030, 1, 1, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    """Return a time after the beginning."""
    return BEGUN + timedelta(seconds=seconds)


def test_what_was_before_tells_by_its_median() -> None:
    """One that took very long does not count for more than the others."""
    assert by_history([10, 20, 1000], BEGUN, after(5)) == after(20)


@pytest.mark.parametrize(("durations", "spent"), [([], 5), ([10.0], 10), ([10.0], 30)])
def test_no_history_and_one_that_is_over_tell_nothing(durations: list[float], spent: float) -> None:
    """What takes longer than usual has no end in sight."""
    assert by_history(durations, BEGUN, after(spent)) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "1 second"),
        (0.2, "1 second"),
        (40, "40 seconds"),
        (56, "1 minute"),
        (420, "7 minutes"),
        (5_000, "83 minutes"),
        (7_000, "2 hours"),
        (200_000, "2 days"),
    ],
)
def test_spans_are_told_as_people_say_them(seconds: float, words: str) -> None:
    """Rounded to what matters."""
    assert in_words(seconds) == words
