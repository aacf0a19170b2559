"""The instruments: they count exactly, refuse wrong labels, and stay bounded whatever comes."""

from __future__ import annotations

import pytest

from virtyard.runtime.instruments import MOST_SERIES, Counter, Gauge, Histogram


def test_counter_counts_each_label_by_itself() -> None:
    """Values of one label never show under another."""
    counter = Counter("virtyard_things_total", "Things.", ("kind",))
    counter.add("a")
    counter.add("b", by=2.5)
    counter.add("a")
    assert counter.values == {("a",): 2.0, ("b",): 2.5}


def test_gauge_forgets_what_is_not_there_any_more() -> None:
    """A state without objects disappears instead of showing its last number for ever."""
    gauge = Gauge("virtyard_things", "Things.", ("state",))
    gauge.set(3, "old")
    gauge.replace({("new",): 1.0})
    assert gauge.values == {("new",): 1.0}


def test_histogram_puts_a_value_into_the_bucket_whose_bound_it_reaches() -> None:
    """A value equal to a bound belongs to it, as Prometheus' `le` says; the sum comes last."""
    histogram = Histogram("virtyard_wait_seconds", "Waits.", bounds=(1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.observe(value)
    assert histogram.series == {(): [2.0, 1.0, 1.0, 12.0]}


def test_histogram_that_began_shows_nothing_counted() -> None:
    """A series that begins is shown at 0, so that its first value is seen as a rise."""
    histogram = Histogram("virtyard_wait_seconds", "Waits.", bounds=(1.0,))
    assert histogram.series == {}
    histogram.begin()
    assert histogram.series == {(): [0.0, 0.0, 0.0]}


def test_wrong_number_of_labels_is_refused() -> None:
    """A hook that forgets a label is a defect that shows at once."""
    for count in (Counter("a", "A.", ("x", "y")).add, Counter("a", "A.").add):
        with pytest.raises(TypeError, match="has the labels"):
            count("one")
    with pytest.raises(TypeError, match="has the labels"):
        Gauge("a", "A.", ("x",)).set(1.0)
    with pytest.raises(TypeError, match="has the labels"):
        Histogram("a", "A.", ("x",), bounds=(1.0,)).observe(1.0)


def test_series_are_bounded_and_nothing_is_lost() -> None:
    """What comes past the limit is folded into `other`: memory is bounded, and the sum stays right."""
    counter = Counter("virtyard_things_total", "Things.", ("kind",))
    histogram = Histogram("virtyard_wait_seconds", "Waits.", ("kind",), bounds=(1.0,))
    for number in range(MOST_SERIES + 50):
        counter.add(str(number))
        histogram.observe(0.5, str(number))
    assert len(counter.values) == MOST_SERIES + 1
    assert counter.values["other",] == 50.0
    assert sum(counter.values.values()) == MOST_SERIES + 50
    assert histogram.series["other",][0] == 50.0
