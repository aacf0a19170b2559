"""Delete Server Pool: everything that can be undone before the device goes."""

from __future__ import annotations

import pytest

from tests.unit.operations.estate import (
    Estate,
    actions,
    clustered,
    done_by,
    every_case,
    field_of,
    finance,
    locks,
    refusal,
    titles,
)
from virtyard.api.actions.v1 import join_cluster_pb2
from virtyard.api.inventory.v1 import server_pb2, server_pool_pb2, write_objects_pb2
from virtyard.api.operations.v1 import delete_server_pool_pb2
from virtyard.kernel.errors import EtagMismatch, InternalError, NotFound, WrongState
from virtyard.kernel.plan_rules import Order

LEDGER = delete_server_pool_pb2.DeleteServerPoolRequest(name="serverPools/Ledger")
FINANCE = delete_server_pool_pb2.DeleteServerPoolRequest(name="serverPools/Finance")


def empty() -> Estate:
    """Return a site with the plain pool Finance and nothing in it."""
    return every_case()["DeleteServerPool plain"][0]


def test_plain_pool_is_one_write_that_can_be_undone() -> None:
    """The members are freed and the pool removed together; each server is locked, as it moves."""
    plan = empty().plan(FINANCE)
    assert titles(plan) == ["Delete Server Pool"]
    assert actions(plan) == [("WriteObjects", "RevertWrites", "undoable")]
    assert locks(plan) == {"serverPools/Finance": "X", "servers/a": "X", "servers/b": "X"}
    (write,) = done_by(plan, write_objects_pb2.WriteObjects)
    assert write.writes[-1].delete == "serverPools/Finance"
    freed = [(item.update.object.server.name, item.update.object.server.server_pool) for item in write.writes[:-1]]
    assert freed == [("servers/a", ""), ("servers/b", "")]


def test_clustered_pool_goes_in_the_reverse_order_of_its_making() -> None:
    """Members leave, the cluster's record goes, the device is the pivot, and the pool follows."""
    plan = clustered().plan(LEDGER)
    leave = ("LeaveCluster", "JoinCluster", "undoable")
    undoable, forward = ("WriteObjects", "RevertWrites", "undoable"), ("WriteObjects", "", "forward")
    assert titles(plan) == [
        "Delete Cluster",
        "  Leave Cluster",
        "  Leave Cluster",
        "  Leave Cluster",
        "Delete Cluster Heartbeat Device",
        "Delete Server Pool",
    ]
    pivot = ("RemoveHeartbeatDevice", "", "pivot")
    assert actions(plan) == [undoable, undoable, leave, leave, leave, pivot, forward, forward]
    assert set(locks(plan).values()) == {"X"}


def test_every_member_leaves_before_the_device_goes() -> None:
    """The children are done before the pivot though the plan lists their parent first."""
    order = Order(clustered().plan(LEDGER))
    for left in ("2/1", "3/1", "4/1"):
        assert order.is_before("1/1", left)
        assert order.is_before(left, "1/2")
        assert order.is_before(left, "5/1")


def test_undo_of_leaving_is_joining_with_the_same_slot() -> None:
    """A member that comes back gets the slot that it had."""
    plan = clustered().plan(LEDGER)
    undos = []
    for job in plan.jobs[1:4]:
        join = join_cluster_pb2.JoinCluster()
        assert job.steps[0].undo.Unpack(join)
        undos.append((join.server, join.slot, join.path))
    assert undos == [(f"servers/{name}", slot, "/storage/hb") for slot, name in enumerate(("x", "y", "z"), 1)]


def test_pool_is_marked_first() -> None:
    """Whoever looks sees that the pool is going before any member leaves."""
    first = done_by(clustered().plan(LEDGER), write_objects_pb2.WriteObjects)[0].writes[0].update
    assert first.object.server_pool.state == server_pool_pb2.SERVER_POOL_STATE_DELETING
    assert list(first.update_mask.paths) == ["state"]


def test_pool_in_use_is_refused_with_its_users() -> None:
    """Machines and repositories of the pool are named."""
    refused = refusal(finance(), FINANCE)
    assert isinstance(refused, WrongState)
    assert field_of(refused) == "name"
    assert "virtualMachines/web, repositories/R" in refused.message


def test_offline_member_of_a_cluster_is_refused() -> None:
    """A member that cannot be asked to leave would go on renewing its slot."""
    estate = clustered()
    estate.get("servers/y").state = server_pb2.SERVER_STATE_OFFLINE
    refused = refusal(estate, LEDGER)
    assert isinstance(refused, WrongState)
    assert "servers/y is offline" in refused.message


def test_slot_of_a_member_that_is_proven_dead_is_cleared_by_another() -> None:
    """The other members leave by themselves."""
    estate = clustered()
    estate.get("servers/y").state = server_pb2.SERVER_STATE_OFFLINE
    estate.get("servers/y").observed.death.reason = "burnt"
    plan = estate.plan(LEDGER)
    leave, clear = ("LeaveCluster", "JoinCluster", "undoable"), ("ClearClusterSlot", "ClearClusterSlot", "undoable")
    assert actions(plan)[2:5] == [leave, clear, leave]
    assert "servers/y" not in plan.servers


def test_offline_member_of_a_plain_pool_is_no_hindrance() -> None:
    """No host is touched by it."""
    estate = empty()
    estate.get("servers/a").state = server_pb2.SERVER_STATE_OFFLINE
    assert list(estate.plan(FINANCE).servers) == []


def test_pool_that_does_not_exist_is_refused() -> None:
    """The refusal names the field."""
    refused = refusal(Estate(), FINANCE)
    assert isinstance(refused, NotFound)
    assert (field_of(refused), refused.resource) == ("name", "serverPools/Finance")


def test_pool_that_changed_is_refused() -> None:
    """The caller's etag is compared with the present one."""
    asked = delete_server_pool_pb2.DeleteServerPoolRequest(name="serverPools/Ledger", etag="old")
    refused = refusal(clustered(), asked)
    assert isinstance(refused, EtagMismatch)
    assert field_of(refused) == "etag"


def test_cluster_without_its_device_is_a_defect() -> None:
    """The planner does not guess what a broken inventory means."""
    estate = clustered()
    del estate.objects["heartbeatDevices/Ledger"]
    with pytest.raises(InternalError):
        estate.plan(LEDGER)
