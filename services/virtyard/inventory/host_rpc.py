"""HostService: an agent reports on its own host, and on no other, and reads what clients uploaded."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.inventory.v1 import server_pb2
from virtyard.internal.inventory.v1 import certificate_pb2, host_service_pb2
from virtyard.inventory.certificates import end_time
from virtyard.inventory.contacts import Contacts
from virtyard.inventory.expectations import Expectations
from virtyard.inventory.guests import GuestReports
from virtyard.inventory.host_clocks import HostClocks
from virtyard.inventory.presence import Presence
from virtyard.inventory.store import InventoryStore
from virtyard.inventory.uploads import Uploads
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import PermissionDenied
from virtyard.runtime.call import Call

__all__ = ["HostRpc", "observation_of"]


class HostRpc:
    """Takes the reports of agents, and lets them read uploads."""

    def __init__(
        self,
        presence: Presence,
        guests: GuestReports,
        clock: Clock,
        uploads: Uploads,
        expectations: Expectations,
        store: InventoryStore,
        contacts: Contacts,
    ) -> None:
        """Use these.

        Args:
            presence: which servers have reported.
            guests: compares the guests that they report.
            clock: gives the time of a report.
            uploads: what clients uploaded.
            expectations: what agents are told to watch.
            store: where what is told of certificates and clocks is kept.
            contacts: the streams by which agents keep contact.
        """
        self._contacts = contacts
        self._store = store
        self._presence = presence
        self._guests = guests
        self._clock = clock
        self._uploads = uploads
        self._expectations = expectations
        self._clocks = HostClocks(store)

    def ReadUpload(
        self, request: host_service_pb2.ReadUploadRequest, call: Call
    ) -> AsyncGenerator[host_service_pb2.ReadUploadResponse, None]:
        """Stream an upload from an offset on."""
        return self._uploads.read(request.upload, request.offset_bytes)

    def KeepContact(
        self, requests: AsyncIterator[host_service_pb2.KeepContactRequest], call: Call
    ) -> AsyncGenerator[host_service_pb2.KeepContactResponse, None]:
        """Keep contact with the caller's own server."""
        return self._contacts.keep(f"servers/{call.principal.name}", requests)

    async def ReportCertificate(
        self, request: certificate_pb2.ReportCertificateRequest, call: Call
    ) -> certificate_pb2.ReportCertificateResponse:
        """Take note of when the caller's own certificate ends.

        Raises:
            PermissionDenied: it is another one's.
            InvalidRequest: it is not said when it ends.
        """
        if request.identity != call.principal.identity:
            raise PermissionDenied(f"identity: {call.principal.identity} speaks for itself, not for {request.identity}")
        await self._store.take_certificate(request.identity, end_time(request))
        return certificate_pb2.ReportCertificateResponse()

    async def ReportHost(
        self, request: host_service_pb2.ReportHostRequest, call: Call
    ) -> host_service_pb2.ReportHostResponse:
        """Take a report on the caller's own server.

        Raises:
            PermissionDenied: it is on another one.
        """
        own = f"servers/{call.principal.name}"
        if request.host.server != own:
            raise PermissionDenied(
                f"host.server: {call.principal.identity} speaks for {own}, not for {request.host.server or 'nobody'}",
                resource=request.host.server,
            )
        observed = observation_of(request.host)
        observed.report_time.FromDatetime(self._clock.now())
        known = await self._presence.report(own, observed)
        soon = False
        if known and self._presence.is_latest(own, observed):
            soon = await self._guests.report(own, request.host.guests)
        if not known:
            self._clocks.forget(own)
        elif request.HasField("clock_ahead"):
            await self._clocks.take(own, request.clock_ahead.ToTimedelta())
        answer = host_service_pb2.ReportHostResponse(
            known=known, report_interval_seconds=1 if soon else max(round(self._presence.interval), 1)
        )
        answer.time.FromDatetime(self._clock.now())
        if known:
            self._expectations.tell(own, answer)
            for uid, run in self._guests.spent(own).items():
                answer.spent_guests.add(uid=uid, run=run)
        return answer


def observation_of(host: agent_service_pb2.Host) -> server_pb2.ServerObservation:
    """Return what the inventory keeps of a host's facts; its report time is not set."""
    return server_pb2.ServerObservation(
        agent_address=host.agent_address,
        memory_bytes=host.memory_bytes,
        cpus=host.cpus,
        hypervisor=host.hypervisor,
        hypervisor_reason=host.hypervisor_reason,
        accelerator=host.accelerator,
        agent_version=host.agent_version,
        running_guests=sum(guest.running for guest in host.guests),
        guest_uids=[guest.uid for guest in host.guests if guest.running],
        ledger_sequence=host.ledger_sequence,
        repositories=host.repositories,
        links=host.links,
        agent_start=host.agent_start,
        look=host.look,
        heartbeats=host.heartbeats,
        ledger_id=host.ledger_id,
    )
