"""Leaving a cluster: clearing the slot."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome, done_again
from virtyard.agent.drivers.heartbeat.contract import Slot
from virtyard.api.actions.v1 import leave_cluster_pb2
from virtyard.kernel.errors import InvalidRequest


async def do(message: leave_cluster_pb2.LeaveCluster, context: Context) -> Outcome:
    """Leave; as an undo only what the same step joined.

    Raises:
        InvalidRequest: this agent speaks for another server.
    """
    if _is_of_another(message, context):
        raise InvalidRequest.of(
            "server", f"{message.server} is not allowed; this agent speaks for {context.host.server}"
        )
    return _outcome(await context.host.heartbeat.leave(message.cluster_uid, context.own_mark))


async def probe(message: leave_cluster_pb2.LeaveCluster, context: Context) -> Outcome:
    """Leave again; for another server, which is proven dead, clear its slot, of which it learns when it returns."""
    if not _is_of_another(message, context):
        return await done_again(do)(message, context)
    slot = Slot(path=message.path, device_uid=message.device_uid, number=message.slot, server=message.server)
    return _outcome(await context.host.heartbeat.clear(slot, context.mark, context.own_mark))


def _is_of_another(message: leave_cluster_pb2.LeaveCluster, context: Context) -> bool:
    return bool(message.server) and message.server != context.host.server


def _outcome(was_member: bool) -> Outcome:
    return Outcome(result=leave_cluster_pb2.LeaveClusterResult(was_member=was_member), changed=was_member)


ACTION = Action(message=leave_cluster_pb2.LeaveCluster, lane=Lane.HEARTBEAT, do=do, probe=probe)
