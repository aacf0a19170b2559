"""ControlService: what the scheduler reads and raises beside effects."""

from __future__ import annotations

from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.internal.inventory.v1 import certificate_pb2, control_service_pb2
from virtyard.inventory.certificates import end_time
from virtyard.inventory.store import InventoryStore
from virtyard.kernel.errors import InvalidRequest
from virtyard.runtime.call import Call
from virtyard.runtime.feed import Feed

__all__ = ["ControlRpc"]


class ControlRpc:
    """Serves the scheduler."""

    def __init__(self, store: InventoryStore, feed: Feed) -> None:
        """Use the store, and the feed whose tokens a view carries."""
        self._store = store
        self._feed = feed

    async def View(
        self,
        request: control_service_pb2.ViewRequest,
        call: Call,
    ) -> control_service_pb2.ViewResponse:
        """Read what the selections lead to, in one snapshot."""
        if request.unless_sequence and request.unless_sequence == self._feed.head:
            # What is durable but not published yet is concurrent with this call: its locks are still held.
            return control_service_pb2.ViewResponse(sequence=self._feed.head, unchanged=True)
        reading = await self._store.view(request.selections)
        return control_service_pb2.ViewResponse(
            objects=reading.objects,
            sequence=reading.sequence,
            resume_token=self._feed.stem.at(reading.sequence),
            owner_id=reading.owner_id,
            blocking_events=reading.blocking,
        )

    async def ListLedger(
        self,
        request: control_service_pb2.ListLedgerRequest,
        call: Call,
    ) -> agent_service_pb2.ListLedgerResponse:
        """Return a page of the inventory's ledger."""
        return await self._store.ledger(request.operations, request.after_sequence)

    async def ReportCertificate(
        self,
        request: certificate_pb2.ReportCertificateRequest,
        call: Call,
    ) -> certificate_pb2.ReportCertificateResponse:
        """Take note of when the certificate of a service ends.

        Raises:
            InvalidRequest: it is not said whose it is, or when it ends.
        """
        if not request.identity.startswith("service/"):
            raise InvalidRequest.of(
                "identity", f"{request.identity!r} is not a service; allowed is one as service/jobs"
            )
        await self._store.take_certificate(request.identity, end_time(request))
        return certificate_pb2.ReportCertificateResponse()

    async def RaiseEvents(
        self,
        request: control_service_pb2.RaiseEventsRequest,
        call: Call,
    ) -> control_service_pb2.RaiseEventsResponse:
        """Raise events, each once for its key."""
        await self._store.raise_events(request.events)
        return control_service_pb2.RaiseEventsResponse()
