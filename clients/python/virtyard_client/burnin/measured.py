"""What a burn-in measured: each operation with its time and its wait, and the figures of each type."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One operation that has ended."""

    title: str
    """Its type, as people read it."""
    seconds: float
    """From the request to the frame that showed its end."""
    waited: float
    """Of that, the seconds in which it waited for its locks."""
    end: str
    """How it ended: done, aborted, failed."""


@dataclass(slots=True)
class Measured:
    """All that a burn-in saw of its own operations."""

    samples: list[Sample] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    """What failed though nobody asked for it, and how often."""
    refused: Counter[str] = field(default_factory=Counter)
    """What was refused at once, as it should be: the reason, and how often."""

    def rows(self) -> list[dict[str, float | str]]:
        """Return a row for each type, by its name; times in milliseconds."""
        by_title: dict[str, list[Sample]] = defaultdict(list)
        for sample in self.samples:
            by_title[sample.title].append(sample)
        return [_row(title, samples) for title, samples in sorted(by_title.items())]


def _row(title: str, samples: Sequence[Sample]) -> dict[str, float | str]:
    times = [1000 * sample.seconds for sample in samples if sample.end == "done"]
    waits = [1000 * sample.waited for sample in samples]
    ends = Counter(sample.end for sample in samples)
    return {
        "operation": title,
        "done": ends["done"],
        "aborted": ends["aborted"],
        "failed": ends["failed"],
        "p50_ms": round(percentile(times, 50), 1),
        "p99_ms": round(percentile(times, 99), 1),
        "lock_wait_p50_ms": round(percentile(waits, 50), 1),
        "lock_wait_p99_ms": round(percentile(waits, 99), 1),
    }


def percentile(values: Sequence[float], per_cent: int) -> float:
    """Return the smallest value that so many per cent of the values do not exceed; 0 if there are none."""
    if not values:
        return 0.0
    place = -(-len(values) * per_cent // 100)
    return sorted(values)[max(place, 1) - 1]
