"""Create and Delete Network: a child for each server, which may be put off, whatever the records say of it."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from tests.unit.operations.estate import actions, done_by, field_of, finance, locks, refusal, silent, titles
from virtyard.api.inventory.v1 import network_pb2, write_objects_pb2
from virtyard.api.operations.v1 import create_network_pb2, delete_network_pb2
from virtyard.kernel.errors import NotFound

CREATE = create_network_pb2.CreateNetworkRequest(
    network_id="new", network=network_pb2.Network(), servers=["servers/a", "servers/b"]
)
DELETE = delete_network_pb2.DeleteNetworkRequest(name="networks/lan")
WRITE = ("WriteObjects", "RevertWrites", "undoable")
MAKE = ("CreateBridge", "RemoveBridge", "undoable")
REMOVE = ("RemoveBridge", "CreateBridge", "undoable")


def test_network_is_made_on_each_server_before_it_is_recorded() -> None:
    """Each server has a child that may be put off; the record has all of them, as that is what is wanted."""
    plan = finance().plan(CREATE)
    assert titles(plan) == ["Create Network", *["  Add Network to Server"] * 2]
    assert actions(plan) == [WRITE, MAKE, WRITE, MAKE, WRITE]
    assert [job.deferrable for job in plan.jobs] == [False, True, True]
    assert plan.jobs[0].steps[0].after_children
    recorded = done_by(plan, write_objects_pb2.WriteObjects)[0].writes[0].create.network
    assert list(recorded.servers) == ["servers/a", "servers/b"]


def test_network_is_taken_off_each_server_before_its_record_goes() -> None:
    """Each server has a child that may be put off; their locks keep whoever puts them right away meanwhile."""
    plan = finance().plan(DELETE)
    assert titles(plan) == ["Delete Network", *["  Remove Network from Server"] * 3]
    assert actions(plan) == [WRITE, WRITE, *[REMOVE, WRITE] * 3]
    assert [job.deferrable for job in plan.jobs] == [False, True, True, True]
    assert plan.jobs[0].steps[1].after_children
    assert [locks(plan)[f"servers/{name}"] for name in "abd"] == ["X"] * 3


@pytest.mark.parametrize("request_", [CREATE, DELETE], ids=["create", "delete"])
def test_server_that_is_offline_is_no_reason_for_a_refusal(request_: Message) -> None:
    """Whether it answers is asked when its turn comes; else it is noted that it missed a change."""
    plan = silent().plan(request_)
    (child,) = (job for job in plan.jobs if job.object == "servers/b")
    noted = write_objects_pb2.WriteObjects()
    assert child.steps[-1].if_deferred
    assert child.steps[-1].do.Unpack(noted)
    assert noted.writes[0].update.object.server.desired_revision == 1


def test_server_that_is_not_there_is_refused_by_its_place() -> None:
    """The refusal names the field."""
    refused = refusal(
        finance(),
        create_network_pb2.CreateNetworkRequest(
            network_id="new", network=network_pb2.Network(), servers=["servers/a", "servers/x"]
        ),
    )
    assert isinstance(refused, NotFound)
    assert field_of(refused) == "servers[1]"
