"""Which certificates each process looks at, and how it reports them to the inventory.

The process that has the inventory looks at those of all services that its folder has, the lock service's among them,
which calls nobody; the others look at their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc.aio

from virtyard.internal.inventory.v1 import certificate_pb2, control_service_pb2_grpc
from virtyard.kernel.permissions import Principal
from virtyard.runtime.certificate_watch import CertificateWatch, Report
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.rpc import Service
from virtyard.runtime.scope import TaskScope
from virtyard.runtime.status import errors_named

__all__ = ["certificate_request", "reported_over", "services_watched", "watched"]

_TIMEOUT = 10.0


def certificate_request(identity: str, end: datetime) -> certificate_pb2.ReportCertificateRequest:
    """Return what is reported of a certificate."""
    request = certificate_pb2.ReportCertificateRequest(identity=identity)
    request.end_time.FromDatetime(end)
    return request


@asynccontextmanager
async def watched(folders: Callable[[], Iterable[Path]], report: Report) -> AsyncIterator[None]:
    """Watch the certificates in these folders until the block ends."""
    async with TaskScope("certificates") as scope:
        _ = scope.start(CertificateWatch(folders, report).run(), name="certificates", vital=True)
        yield


@asynccontextmanager
async def services_watched(pki: Path, inventory: Sequence[Service]) -> AsyncIterator[None]:
    """Watch the certificates of all services in a folder, where the inventory is in this process."""

    def folders() -> list[Path]:
        return sorted(path.parent for path in pki.glob("service/*/cert.pem"))

    async with (
        LocalChannel(inventory, Principal.of("service/inventory")) as channel,
        watched(folders, reported_over(channel)),
    ):
        yield


def reported_over(channel: grpc.aio.Channel) -> Report:
    """Return what reports certificates over a service's channel to the inventory."""
    stub: Any = control_service_pb2_grpc.ControlServiceStub(channel)

    async def report(identity: str, end: datetime) -> None:
        with errors_named():
            await stub.ReportCertificate(certificate_request(identity, end), timeout=_TIMEOUT)

    return report
