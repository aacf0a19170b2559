"""Certificates near their end: told once for each step, one event at a time, until a renewed one is found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.contract.inventory.served import Served
from tests.fakes.clock import FakeClock
from virtyard.api.inventory.v1 import event_pb2
from virtyard.api.inventory.v1 import inventory_service_pb2 as pb
from virtyard.internal.inventory.v1 import certificate_pb2
from virtyard.kernel.errors import InvalidRequest, PermissionDenied, Unavailable
from virtyard.runtime.certificate_watch import CertificateWatch
from virtyard.runtime.pki import Authority
from virtyard.runtime.status import errors_named


def found(identity: str, end: datetime) -> certificate_pb2.ReportCertificateRequest:
    """Return what is reported of a certificate."""
    request = certificate_pb2.ReportCertificateRequest(identity=identity)
    request.end_time.FromDatetime(end)
    return request


async def told(served: Served) -> Sequence[event_pb2.Event]:
    """Return the events about certificates, the oldest first."""
    answer = await served.reads.ListEvents(pb.ListEventsRequest(order_by="name", filter="type:CERTIFICATE"))
    return answer.events


async def test_each_step_is_told_once_and_one_event_is_open(served: Served, clock: FakeClock) -> None:
    """A month, a week, a day before the end, and once it is over, however often it is reported."""
    end = clock.now() + timedelta(days=40)
    for _ in range(45):
        for _ in range(2):
            await served.control.ReportCertificate(found("service/jobs", end))
        clock.advance(86_400)
    events = await told(served)
    assert {event.object for event in events} == {"services/jobs"}
    days = [event.message.partition(" days")[0].rpartition(" ")[2] for event in events[:-1]]
    assert days == ["30", "7", "1"]
    assert "has ended" in events[-1].message
    assert [event.open for event in events] == [False, False, False, True]
    assert [event.cleared_by for event in events[:-1]] == [event.name for event in events[1:]]
    await served.control.ReportCertificate(found("service/jobs", clock.now() + timedelta(days=365)))
    events = await told(served)
    assert events[-1].type == "CERTIFICATE_RENEWED"
    assert (events[-2].open, events[-2].cleared_by) == (False, events[-1].name)


async def test_one_that_is_good_is_no_news(served: Served, clock: FakeClock) -> None:
    """Nothing is told of what needs nothing done."""
    await served.control.ReportCertificate(found("service/jobs", clock.now() + timedelta(days=31)))
    assert not await told(served)


async def test_an_agent_tells_of_its_own_only(served: Served, clock: FakeClock) -> None:
    """It is about its server; another one's, or one without an end, is refused."""
    end = clock.now() + timedelta(days=3)
    await served.host("s").ReportCertificate(found("agent/s", end))
    assert [event.object for event in await told(served)] == ["servers/s"]
    with pytest.raises(PermissionDenied), errors_named():
        await served.host("s").ReportCertificate(found("agent/t", end))
    with pytest.raises(InvalidRequest, match="end_time"), errors_named():
        await served.host("s").ReportCertificate(certificate_pb2.ReportCertificateRequest(identity="agent/s"))
    with pytest.raises(InvalidRequest, match="identity"), errors_named():
        await served.control.ReportCertificate(found("agent/s", end))


async def test_the_files_are_looked_at_again(tmp_path: Path) -> None:
    """A renewed file is reported, one that is as it was is not; what could not be is with the next look."""
    authority = Authority.create(tmp_path / "pki", "virtyard.test")
    folder = authority.issue("service/jobs", tmp_path / "jobs", lifetime=timedelta(days=5))
    reports: list[tuple[str, datetime]] = []
    away = True

    async def report(identity: str, end: datetime) -> None:
        if away:
            raise Unavailable("nobody is there")
        reports.append((identity, end))

    watch = CertificateWatch(lambda: [folder, tmp_path / "nothing"], report)
    assert not await watch.look()
    away = False
    for _ in range(3):
        await watch.look()
    authority.issue("service/jobs", folder, lifetime=timedelta(days=365))
    await watch.look()
    assert [identity for identity, _ in reports] == ["service/jobs"] * 2
    assert timedelta(days=359) < reports[1][1] - reports[0][1] < timedelta(days=361)
