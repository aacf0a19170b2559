"""The progress of one effect as its listeners hear it: never falling, at most ten times a second.

An effect that ends within the first tenth of a second says nothing on its way; what is longer first says that it was
accepted. The latest news replaces what was not told yet, so a talkative action costs nothing. Each says the rate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from virtyard.agent.rate import Rate
from virtyard.api.participant.v1 import participant_service_pb2 as participant

INTERVAL = 0.1
"""Seconds between two reports of one effect."""


class Progress:
    """Gathers what an action tells, and tells it on."""

    def __init__(
        self,
        effect: participant.Effect,
        accepted: datetime,
        tell: Callable[[participant.EffectReport], None],
        *,
        interval: float = INTERVAL,
        steady: Callable[[], float] | None = None,
    ) -> None:
        """Begin for an effect that was accepted just now; `tell` is called on the event loop.

        Args:
            effect: whose progress it is.
            accepted: when it was accepted.
            tell: takes each report.
            interval: seconds between two of them.
            steady: tells seconds of a steady clock; the event loop's if None.
        """
        self._accepted: datetime | None = accepted
        self._tell = tell
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._effect = effect
        self._rate, self._steady = Rate(), steady or self._loop.time
        self._percent = 0.0
        self._latest: participant.Progress | None = None
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(interval, self._due)

    def advance(self, done: int, total: int, stage: str) -> None:
        """Take in how many units are done of how many, and the stage."""
        self._percent = max(self._percent, min(100.0, 100.0 * done / total if total > 0 else 0.0))
        self._latest = participant.Progress(
            percent=self._percent, stage=stage, done_units=done, total_units=total, abortable=True
        )
        if self._timer is None:
            self._due()

    def close(self) -> None:
        """Tell nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._tell = _silence

    def _due(self) -> None:
        """Tell what there is, and the next thing not before the interval has passed."""
        self._timer = None
        if self._accepted is not None:
            report = self._report()
            report.accepted_time.FromDatetime(self._accepted)
            self._accepted = None
            self._tell(report)
        if self._latest is not None:
            latest = self._latest
            latest.units_per_second = self._rate.note(latest.done_units, latest.total_units, self._steady())
            report = self._report()
            report.progress.CopyFrom(self._latest)
            self._latest = None
            self._tell(report)
            self._timer = self._loop.call_later(self._interval, self._due)

    def _report(self) -> participant.EffectReport:
        return participant.EffectReport(
            step_key=self._effect.step_key, phase=self._effect.phase, attempt=self._effect.attempt
        )


def _silence(report: participant.EffectReport) -> None:
    del report
