"""Joining a cluster: taking a slot of its heartbeat device, and renewing it from now on."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.agent.drivers.heartbeat.contract import Membership, Slot
from virtyard.agent.views import member_view
from virtyard.api.actions.v1 import join_cluster_pb2
from virtyard.kernel.errors import InvalidRequest, WrongState


async def do(message: join_cluster_pb2.JoinCluster, context: Context) -> Outcome:
    """Take the slot under this mark.

    Raises:
        InvalidRequest: this agent speaks for another server.
    """
    if message.server != context.host.server:
        raise InvalidRequest.of(
            "server", f"{message.server} is not allowed; this agent speaks for {context.host.server}"
        )
    membership = Membership(
        cluster_uid=message.cluster_uid,
        path=message.path,
        device_uid=message.device_uid,
        slot=message.slot,
        server=message.server,
        mark=context.mark,
    )
    await context.host.heartbeat.join(membership)
    return Outcome(result=_result(context), changed=context.host.heartbeat.joined(message.cluster_uid) == membership)


async def probe(message: join_cluster_pb2.JoinCluster, context: Context) -> Outcome | None:
    """Find the membership by its mark; a slot that was taken without one is cleared.

    For another server, which is proven dead, a slot that carries the mark is cleared and nothing was done: it learns of
    that when it returns.

    Raises:
        WrongState: another server would have to take its slot again, or it still renews it.
    """
    slot = Slot(path=message.path, device_uid=message.device_uid, number=message.slot, server=message.server)
    if message.server != context.host.server:
        if context.undoing:
            raise WrongState(f"only {message.server} itself can take its slot again", resource=message.server)
        await context.host.heartbeat.clear(slot, context.mark, context.mark)
        return None
    membership = context.host.heartbeat.joined(message.cluster_uid)
    if membership is None or membership.mark != context.mark:
        if membership is None:
            await context.host.heartbeat.forget_join(slot, context.mark)
        return None
    return Outcome(result=_result(context))


def _result(context: Context) -> join_cluster_pb2.JoinClusterResult:
    members = [member_view(view) for view in context.host.heartbeat.members()]
    return join_cluster_pb2.JoinClusterResult(members=members)


ACTION = Action(message=join_cluster_pb2.JoinCluster, lane=Lane.HEARTBEAT, do=do, probe=probe)
