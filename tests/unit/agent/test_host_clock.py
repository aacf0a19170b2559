"""A host's clock beside the control plane's, measured over answers that are quick, slow, or older than its time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from virtyard.agent.host_clock import HostClock
from virtyard.internal.inventory.v1 import host_service_pb2
from virtyard.runtime.clock import SystemClock

HOUR = 3600.0
START = datetime(2030, 1, 1, tzinfo=UTC).timestamp()


class Host:
    """A host and the control plane, each with a wall clock of its own that a test sets."""

    def __init__(self) -> None:
        """Begin with clocks that agree."""
        self.wall = self.control = START
        self.steady = 0.0
        self.clock = SystemClock(wall=lambda: self.wall, steady=lambda: self.steady)
        self.own = HostClock(self.clock)

    def passes(self, seconds: float) -> None:
        """Let time pass everywhere."""
        self.wall += seconds
        self.control += seconds
        self.steady += seconds

    def report(self, there: float = 0.1, back: float = 0.1) -> float | None:
        """Send a report, which takes so long there and back, and return what it says of the clock."""
        request = host_service_pb2.ReportHostRequest()
        self.own.stamp(request)
        self.passes(there)
        answer = host_service_pb2.ReportHostResponse()
        answer.time.FromDatetime(datetime.fromtimestamp(self.control, UTC))
        self.passes(back)
        self.own.take(answer)
        return request.clock_ahead.ToTimedelta() / timedelta(seconds=1) if request.HasField("clock_ahead") else None


@pytest.mark.parametrize("far", [0.0, 90.0, HOUR, -HOUR])
def test_a_difference_is_told_with_the_next_report(far: float) -> None:
    """To half of what the answer took, however that was spread."""
    host = Host()
    host.control -= far
    assert host.report(there=0.0, back=1.0) is None
    assert host.report() == pytest.approx(far, abs=0.5)


def test_what_is_slow_or_old_is_no_measurement() -> None:
    """Somebody stood still between report and answer, the host's clock was set meanwhile, or nothing was said."""
    host = Host()
    host.report()
    assert host.report(there=HOUR) == pytest.approx(0.0, abs=0.2)
    assert host.report(back=HOUR) == pytest.approx(0.0, abs=0.2)
    host.own.stamp(host_service_pb2.ReportHostRequest())
    host.wall += HOUR
    answer = host_service_pb2.ReportHostResponse()
    answer.time.FromDatetime(datetime.fromtimestamp(host.control, UTC))
    host.own.take(answer)
    host.own.take(answer)
    host.own.stamp(host_service_pb2.ReportHostRequest())
    host.own.take(host_service_pb2.ReportHostResponse())
    assert host.report() == pytest.approx(0.0, abs=0.2), "what is told is what was measured last"
    assert host.report() == pytest.approx(HOUR, abs=0.2)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_jump_is_followed_once_the_machine_agrees_with_the_control_plane(jump: float) -> None:
    """The clock of a machine that was wrong is set right; one that is set wrong is not followed."""
    right, wrong = Host(), Host()
    right.control += jump
    for host in (right, wrong):
        host.report()
        host.wall += jump
        before = host.clock.now()
        for _ in range(3):
            host.report()
        moved = (host.clock.now() - before).total_seconds()
        assert host.clock.jumped is (host is wrong)
        assert moved == pytest.approx(jump if host is right and jump > 0 else 0.6, abs=1.0)
