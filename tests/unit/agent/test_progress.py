"""The progress of one effect."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from virtyard.agent.progress import Progress
from virtyard.api.participant.v1 import participant_service_pb2 as participant

INTERVAL = 0.02


class Heard:
    """What a listener heard."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.reports: list[participant.EffectReport] = []
        self.seconds = 0.0
        self.progress = Progress(
            participant.Effect(step_key="1/1/1", phase=participant.PHASE_DO, attempt=1),
            datetime(2030, 1, 1, tzinfo=UTC),
            self.reports.append,
            interval=INTERVAL,
            steady=lambda: self.seconds,
        )

    @property
    def percents(self) -> list[float]:
        """The per cents."""
        return [report.progress.percent for report in self.reports if report.HasField("progress")]

    async def until(self, count: int) -> None:
        """Wait for so many reports."""
        async with asyncio.timeout(5):
            while len(self.reports) < count:
                await asyncio.sleep(INTERVAL / 4)


async def test_a_short_effect_says_nothing_on_its_way() -> None:
    """Closed before the first interval has passed, nothing is told."""
    heard = Heard()
    heard.progress.advance(1, 2, "writing")
    heard.progress.close()
    await asyncio.sleep(2 * INTERVAL)
    assert heard.reports == []


async def test_a_burst_is_one_report() -> None:
    """A thousand steps within an interval are told as the last of them, after the acceptance."""
    heard = Heard()
    for done in range(1000):
        heard.progress.advance(done, 1000, "writing")
    await heard.until(2)
    assert heard.reports[0].HasField("accepted_time")
    assert heard.percents == [99.9]
    heard.progress.close()


async def test_a_percentage_never_falls() -> None:
    """An action that counts backwards is told as standing still."""
    heard = Heard()
    heard.progress.advance(80, 100, "writing")
    await heard.until(2)
    heard.progress.advance(10, 100, "writing again")
    await heard.until(3)
    assert heard.percents == [80, 80]
    assert heard.reports[-1].progress.stage == "writing again"
    heard.progress.close()


async def test_each_report_says_the_rate() -> None:
    """By what is done and the seconds of a steady clock that have passed since."""
    heard = Heard()
    heard.progress.advance(0, 1000, "writing")
    await heard.until(2)
    heard.seconds += 2
    heard.progress.advance(100, 1000, "writing")
    await heard.until(3)
    assert [report.progress.units_per_second for report in heard.reports[1:]] == [0, 50]
    heard.progress.close()
