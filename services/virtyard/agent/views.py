"""The agent's own values as the API shows them."""

from __future__ import annotations

from virtyard.agent.drivers.heartbeat.contract import MemberView
from virtyard.agent.drivers.hypervisor.contract import GuestEnd, GuestInfo
from virtyard.api.agent.v1 import agent_service_pb2

_ENDS = {
    None: agent_service_pb2.GUEST_END_UNSPECIFIED,
    GuestEnd.CRASHED: agent_service_pb2.GUEST_END_CRASHED,
    GuestEnd.BY_GUEST: agent_service_pb2.GUEST_END_BY_GUEST,
    GuestEnd.BY_ACTION: agent_service_pb2.GUEST_END_BY_ACTION,
    GuestEnd.UNKNOWN: agent_service_pb2.GUEST_END_UNKNOWN,
}


def member_view(view: MemberView) -> agent_service_pb2.ClusterMemberView:
    """Return a member as the API shows it."""
    return agent_service_pb2.ClusterMemberView(
        server=view.server, cluster_uid=view.cluster_uid, slot=view.slot, state=view.state.value
    )


def guest_view(guest: GuestInfo) -> agent_service_pb2.Guest:
    """Return a guest as the API shows it."""
    return agent_service_pb2.Guest(
        uid=guest.uid,
        virtual_machine=guest.name,
        running=guest.running,
        process_id=guest.pid,
        accelerator=guest.accelerator,
        serial_log_path=str(guest.serial_log or ""),
        mark=guest.mark,
        run=guest.run,
        end=_ENDS[guest.end],
        end_reason=guest.end_reason,
    )
