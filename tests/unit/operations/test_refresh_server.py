"""Refresh Server: a look at the host, its facts, and what it missed."""

from __future__ import annotations

from tests.unit.operations.estate import OF_REPORTS, actions, behind, clustered, done_by, finance, locks, titles
from virtyard.api.actions.v1 import (
    create_bridge_pb2,
    detach_other_repositories_pb2,
    leave_other_clusters_pb2,
    remove_other_bridges_pb2,
)
from virtyard.api.inventory.v1 import network_pb2, server_pb2, write_objects_pb2
from virtyard.api.operations.v1 import refresh_server_pb2

Request = refresh_server_pb2.RefreshServerRequest
WRITE = ("WriteObjects", "RevertWrites", "undoable")
LOOK = ("RefreshHost", "RefreshHost", "undoable")
BRIDGES = ("RemoveOtherBridges", "RemoveOtherBridges", "undoable")
BRIDGE = ("CreateBridge", "RemoveBridge", "undoable")
OTHERS = ("DetachOtherRepositories", "DetachOtherRepositories", "undoable")


def test_facts_of_the_host_are_recorded_and_nothing_else() -> None:
    """Every path is below `observed`, and each but none is bound to what was seen."""
    plan = finance().plan(Request(name="servers/a"))
    assert titles(plan) == ["Refresh Server"]
    assert actions(plan) == [LOOK, OTHERS, BRIDGES, BRIDGE, WRITE]
    (recorded,) = done_by(plan, write_objects_pb2.WriteObjects)
    paths = set(recorded.writes[0].update.update_mask.paths)
    assert all(path.startswith("observed.") for path in paths)
    bindings = plan.jobs[0].steps[-1].bindings
    assert {binding.field_path.partition("server.")[2] for binding in bindings} == paths
    seen = {field.name for field in server_pb2.ServerObservation.DESCRIPTOR.fields} - OF_REPORTS
    assert paths == {f"observed.{name}" for name in seen}
    assert locks(plan) == {"servers/a": "X", "serverPools/Finance": "IX"}


def test_host_is_met_before_anything_is_sent() -> None:
    """The look has the address at which the host was last heard, or else was discovered."""
    estate = finance()
    estate.get("servers/a").agent_address = "a:1"
    assert estate.plan(Request(name="servers/a")).jobs[0].steps[0].participant_address == "a:1"
    estate.get("servers/a").observed.agent_address = "a:2"
    assert estate.plan(Request(name="servers/a")).jobs[0].steps[0].participant_address == "a:2"


def test_server_that_is_offline_is_looked_at_all_the_same() -> None:
    """A look may be what it needs; that it does not answer is found out by asking."""
    estate = finance()
    estate.get("servers/a").state = server_pb2.SERVER_STATE_OFFLINE
    assert len(estate.plan(Request(name="servers/a")).jobs) == 1


def test_server_that_is_behind_catches_up() -> None:
    """In two rounds: what the host does, and what is recorded of it."""
    plan = behind().plan(Request(name="servers/b"))
    assert [step.title for step in plan.jobs[0].steps] == [
        "Look at the host",
        "Detach what it should not have",
        "Remove bridges that it should not have",
        "Make the bridge of networks/lan",
        "Attach repositories/R",
        "Record that it is up to date",
        "Record its facts",
    ]
    assert locks(plan) == {
        "servers/b": "X",
        "serverPools/Finance": "IX",
        "repositories/R": "IS",
        "repositories/S": "IS",
    }


def test_host_is_put_right_by_the_records_though_it_is_not_behind() -> None:
    """It keeps what is recorded and gets a bridge that it may lack; nothing tells of what a dead host did."""
    estate = behind()
    estate.get("servers/b").ClearField("desired_revision")
    plan = estate.plan(Request(name="servers/b"))
    (others,) = done_by(plan, detach_other_repositories_pb2.DetachOtherRepositories)
    assert list(others.repository_uids) == [estate.get("repositories/R").uid]
    (bridges,) = done_by(plan, remove_other_bridges_pb2.RemoveOtherBridges)
    assert list(bridges.network_uids) == [estate.get("networks/lan").uid]
    assert [made.network for made in done_by(plan, create_bridge_pb2.CreateBridge)] == ["networks/lan"]


def test_bridge_of_a_network_that_is_on_its_way_out_is_kept_and_not_made() -> None:
    """Who deletes it removes it; until then the record says that the server has it."""
    estate = finance()
    estate.get("networks/lan").state = network_pb2.NETWORK_STATE_DELETING
    plan = estate.plan(Request(name="servers/a"))
    (bridges,) = done_by(plan, remove_other_bridges_pb2.RemoveOtherBridges)
    assert list(bridges.network_uids) == [estate.get("networks/lan").uid]
    assert not done_by(plan, create_bridge_pb2.CreateBridge)


def test_server_without_a_pool_gives_up_what_it_kept_when_it_left() -> None:
    """It left while it was offline, so it could not be asked; there is nothing that it should have."""
    estate = behind()
    estate.get("servers/b").ClearField("server_pool")
    plan = estate.plan(Request(name="servers/b"))
    (others,) = done_by(plan, detach_other_repositories_pb2.DetachOtherRepositories)
    assert not others.repository_uids
    assert locks(plan) == {"servers/b": "X"}


def test_server_leaves_a_cluster_that_no_record_has_it_in() -> None:
    """It says so itself, as it was away when its slot was cleared; the cluster of its pool it stays in."""
    estate = clustered()
    estate.get("clusters/Ledger").uid = "own"
    server = estate.get("servers/x")
    server.observed.heartbeats.add(cluster_uid="own", slot=1)
    right = [OTHERS, BRIDGES, WRITE]
    assert actions(estate.plan(Request(name="servers/x"))) == [LOOK, *right]
    server.observed.heartbeats.add(cluster_uid="stray", slot=2)
    plan = estate.plan(Request(name="servers/x"))
    assert actions(plan) == [LOOK, ("LeaveOtherClusters", "LeaveOtherClusters", "undoable"), *right]
    (others,) = done_by(plan, leave_other_clusters_pb2.LeaveOtherClusters)
    assert list(others.cluster_uids) == ["own"]
