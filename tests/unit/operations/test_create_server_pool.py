"""Create Server Pool: plain in one job, clustered in the jobs that people know."""

from __future__ import annotations

import pytest

from tests.unit.operations.estate import (
    Estate,
    actions,
    done_by,
    field_of,
    finance,
    locks,
    new_pool,
    refusal,
    server,
    titles,
)
from virtyard.api.actions.v1 import join_cluster_pb2, lay_out_heartbeat_device_pb2
from virtyard.api.inventory.v1 import (
    cluster_pb2,
    heartbeat_device_pb2,
    server_pb2,
    server_pool_pb2,
    write_objects_pb2,
)
from virtyard.kernel.errors import AlreadyExists, InvalidRequest, NotFound, WrongState
from virtyard.kernel.plan_rules import Order


def test_plain_pool_is_one_job_and_one_write() -> None:
    """Pool and members are written together, so that nobody sees half a relation."""
    plan = finance().plan(new_pool(is_clustered=False))
    assert titles(plan) == ["Create Server Pool"]
    (write,) = done_by(plan, write_objects_pb2.WriteObjects)
    assert write.writes[0].create.server_pool.state == server_pool_pb2.SERVER_POOL_STATE_ACTIVE
    moved = [(item.update.object.server.name, item.update.object.server.server_pool) for item in write.writes[1:]]
    assert moved == [("servers/d", "serverPools/P"), ("servers/c", "serverPools/P")]
    assert {tuple(item.update.update_mask.paths) for item in write.writes[1:]} == {("server_pool",)}
    assert locks(plan) == {"serverPools/P": "X", "servers/c": "X", "servers/d": "X"}


def test_clustered_pool_has_the_jobs_that_people_know() -> None:
    """Create Server Pool, Create Cluster Heartbeat Device, Create Cluster with a child for each server."""
    plan = finance().plan(new_pool(is_clustered=True))
    assert titles(plan) == [
        "Create Server Pool",
        "Create Cluster Heartbeat Device",
        "Create Cluster",
        "  Join Cluster",
        "  Join Cluster",
    ]
    assert [job.object for job in plan.jobs] == [
        "serverPools/P",
        "heartbeatDevices/P",
        "clusters/P",
        "servers/d",
        "servers/c",
    ]
    assert {kind for _, _, kind in actions(plan)} == {"undoable"}
    names = ("serverPools/P", "clusters/P", "heartbeatDevices/P", "servers/c", "servers/d")
    assert locks(plan) == dict.fromkeys(names, "X")


def test_members_join_after_the_device_and_before_the_record() -> None:
    """No member can join what is not laid out, and the cluster is recorded when all have joined."""
    order = Order(finance().plan(new_pool(is_clustered=True)))
    for joined in ("4/1", "5/1"):
        assert order.is_before("2/1", joined)
        assert order.is_before(joined, "3/1")
    assert not order.is_before("4/1", "5/1")


def test_members_have_the_slots_of_their_order() -> None:
    """Slots count from 1 in the order of the request, on the hosts and in the record alike."""
    plan = finance().plan(new_pool(is_clustered=True))
    slots = [(item.server, item.slot) for item in done_by(plan, join_cluster_pb2.JoinCluster)]
    record = done_by(plan, write_objects_pb2.WriteObjects)[-1].writes[0].create.cluster
    assert slots == [("servers/d", 1), ("servers/c", 2)] == [(item.server, item.slot) for item in record.members]
    assert record.state == cluster_pb2.CLUSTER_STATE_ACTIVE


def test_clustered_pool_is_active_with_its_cluster() -> None:
    """The pool shows CREATING until the last write, which makes it ACTIVE together with the cluster's record."""
    writes = done_by(finance().plan(new_pool(is_clustered=True)), write_objects_pb2.WriteObjects)
    assert writes[0].writes[0].create.server_pool.state == server_pool_pb2.SERVER_POOL_STATE_CREATING
    last = writes[-1].writes[-1].update.object.server_pool
    assert (last.name, last.state) == ("serverPools/P", server_pool_pb2.SERVER_POOL_STATE_ACTIVE)


def test_device_has_defaults_and_takes_what_is_asked() -> None:
    """32 slots and 10 seconds where nothing is said."""
    request = new_pool(is_clustered=True)
    (device,) = done_by(finance().plan(request), lay_out_heartbeat_device_pb2.LayOutHeartbeatDevice)
    assert (device.path, device.slots, device.io_timeout_seconds) == ("/storage/hb", 32, 10)
    request.heartbeat_device.slots, request.heartbeat_device.io_timeout_seconds = 2, 1
    (device,) = done_by(finance().plan(request), lay_out_heartbeat_device_pb2.LayOutHeartbeatDevice)
    assert (device.slots, device.io_timeout_seconds) == (2, 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("path", ""),
        ("path", "hb"),
        ("path", "/"),
        ("path", "/storage/../hb"),
        ("path", "//storage/hb"),
        ("slots", 1),
        ("slots", 2001),
        ("slots", -1),
        ("io_timeout_seconds", -1),
        ("io_timeout_seconds", 601),
        ("display_name", "\n"),
    ],
)
def test_wrong_device_is_refused_by_field(field: str, value: object) -> None:
    """Path, slots and times are refused with the field and what is allowed."""
    request = new_pool(is_clustered=True)
    setattr(request.heartbeat_device, field, value)
    refused = refusal(finance(), request)
    assert isinstance(refused, InvalidRequest)
    assert field_of(refused) == f"heartbeat_device.{field}"


def test_device_is_refused_for_a_plain_pool() -> None:
    """A device without a cluster would do nothing."""
    request = new_pool(is_clustered=False)
    request.heartbeat_device.path = "/storage/hb"
    refused = refusal(finance(), request)
    assert isinstance(refused, InvalidRequest)
    assert field_of(refused) == "heartbeat_device"


@pytest.mark.parametrize(
    "taken",
    [
        server_pool_pb2.ServerPool(name="serverPools/P"),
        cluster_pb2.Cluster(name="clusters/P"),
        heartbeat_device_pb2.HeartbeatDevice(name="heartbeatDevices/P"),
    ],
)
def test_id_is_refused_if_any_of_its_names_is_taken(
    taken: server_pool_pb2.ServerPool | cluster_pb2.Cluster | heartbeat_device_pb2.HeartbeatDevice,
) -> None:
    """Pool, cluster and device share the id."""
    refused = refusal(finance().add(taken), new_pool(is_clustered=True))
    assert isinstance(refused, AlreadyExists)
    assert (field_of(refused), refused.resource) == ("server_pool_id", taken.name)


def test_server_that_does_not_exist_is_refused() -> None:
    """The refusal counts the servers of the request."""
    request = new_pool(is_clustered=False)
    request.servers.append("servers/none")
    refused = refusal(finance(), request)
    assert isinstance(refused, NotFound)
    assert (field_of(refused), refused.resource) == ("servers[2]", "servers/none")


def test_server_of_another_pool_is_refused() -> None:
    """The refusal names the pool that the server is in."""
    request = new_pool(is_clustered=False)
    request.servers[1] = "servers/a"
    refused = refusal(finance(), request)
    assert isinstance(refused, WrongState)
    assert (field_of(refused), refused.resource) == ("servers[1]", "servers/a")
    assert "serverPools/Finance" in refused.message


def test_server_that_is_offline_is_refused() -> None:
    """The refusal names the server and its state."""
    refused = refusal(
        Estate(server("d", state=server_pb2.SERVER_STATE_OFFLINE), server("c")), new_pool(is_clustered=False)
    )
    assert isinstance(refused, WrongState)
    assert (field_of(refused), refused.resource) == ("servers[0]", "servers/d")
    assert "offline" in refused.message


def test_server_named_twice_is_refused() -> None:
    """A server cannot be a member twice."""
    request = new_pool(is_clustered=False)
    request.servers.append("servers/d")
    refused = refusal(finance(), request)
    assert isinstance(refused, InvalidRequest)
    assert field_of(refused) == "servers[2]"
