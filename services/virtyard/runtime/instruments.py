"""The instruments of metrics: counters, gauges and histograms in memory, for one event loop and so without locks.

One more is a look into a dictionary, so hot paths count whether anybody reads or not. Labels are bounded: past
`MOST_SERIES` of them an instrument folds what is new into `other`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

__all__ = ["MOST_SERIES", "Counter", "Gauge", "Histogram", "Instrument"]

MOST_SERIES = 1000
"""Series of one instrument; more would be names of objects, which no label may be."""

Labels = tuple[str, ...]


class Instrument:
    """A metric with its labels, as Prometheus shows it."""

    __slots__ = ("help", "labels", "name")

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        """Make an instrument.

        Args:
            name: with the base unit, as `virtyard_job_duration_seconds`; a counter's ends in `_total`.
            text: what it says, as a person reads it.
            labels: the names of its labels.
        """
        self.name = name
        self.help = text
        self.labels = tuple(labels)

    def _new(self, labels: Labels, known: int) -> Labels:
        """Return under which labels something is kept that comes with new ones."""
        if len(labels) != len(self.labels):
            raise TypeError(f"{self.name} has the labels {self.labels}, not {labels}")
        return labels if known < MOST_SERIES else ("other",) * len(labels)


class Counter(Instrument):
    """Counts what happens; it only rises."""

    __slots__ = ("values",)

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        """Begin at nothing; see `Instrument`."""
        super().__init__(name, text, labels)
        self.values: dict[Labels, float] = {}

    def add(self, *labels: str, by: float = 1.0) -> None:
        """Count `by` more under these labels."""
        try:
            self.values[labels] += by
        except KeyError:
            labels = self._new(labels, len(self.values))
            self.values[labels] = self.values.get(labels, 0.0) + by


class Gauge(Instrument):
    """Shows how much there is now, as it was last set."""

    __slots__ = ("values",)

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        """Begin without a value; see `Instrument`."""
        super().__init__(name, text, labels)
        self.values: dict[Labels, float] = {}

    def set(self, value: float, *labels: str) -> None:
        """Show this value under these labels."""
        if labels not in self.values:
            labels = self._new(labels, len(self.values))
        self.values[labels] = value

    def replace(self, values: Mapping[Labels, float]) -> None:
        """Show these values and no others."""
        self.values = {}
        for labels, value in values.items():
            self.set(value, *labels)


class Histogram(Instrument):
    """Counts values by how large they are."""

    __slots__ = ("bounds", "series")

    def __init__(self, name: str, text: str, labels: Sequence[str] = (), *, bounds: Sequence[float]) -> None:
        """Begin at nothing; see `Instrument`.

        Args:
            name: see there.
            text: see there.
            labels: see there.
            bounds: the largest value of each bucket, rising; one for everything beyond is added.
        """
        super().__init__(name, text, labels)
        self.bounds = tuple(bounds)
        self.series: dict[Labels, list[float]] = {}

    def begin(self, *labels: str) -> None:
        """Show these labels from now on, without a value yet."""
        self.series.setdefault(labels, self._empty())

    def observe(self, value: float, *labels: str) -> None:
        """Count a value under these labels."""
        found = self.series.get(labels)
        if found is None:
            labels = self._new(labels, len(self.series))
            found = self.series.setdefault(labels, self._empty())
        found[bisect_left(self.bounds, value)] += 1.0
        found[-1] += value

    def _empty(self) -> list[float]:
        """Return a count for each bucket and the sum of all values, which comes last."""
        return [0.0] * (len(self.bounds) + 2)
