"""Add and Remove Server: the pool's repositories come and go with the server, and the record with them."""

from __future__ import annotations

from tests.unit.operations.estate import actions, behind, clustered, done_by, finance, locks, refusal, titles
from virtyard.api.actions.v1 import clear_cluster_slot_pb2, detach_other_repositories_pb2, remove_other_bridges_pb2
from virtyard.api.inventory.v1 import server_pb2, write_objects_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import (
    add_server_to_server_pool_pb2,
    forget_server_pb2,
    remove_server_from_server_pool_pb2,
)

ADD = add_server_to_server_pool_pb2.AddServerToServerPoolRequest(name="serverPools/Finance", server="servers/c")
REMOVE = remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest(
    name="serverPools/Finance", server="servers/b"
)
ATTACH = ("AttachRepository", "DetachRepository", "undoable")
DETACH = ("DetachRepository", "AttachRepository", "undoable")
LEFTOVERS = ("DetachOtherRepositories", "DetachOtherRepositories", "undoable")
BRIDGES = ("RemoveOtherBridges", "RemoveOtherBridges", "undoable")
BRIDGE = ("CreateBridge", "RemoveBridge", "undoable")
WRITE = ("WriteObjects", "RevertWrites", "undoable")


def servers_recorded(plan: plan_pb2.Plan) -> dict[str, list[str]]:
    """Return the servers that a plan records for each repository."""
    writes = [write for effect in done_by(plan, write_objects_pb2.WriteObjects) for write in effect.writes]
    found = [write.update.object.repository for write in writes if write.update.object.HasField("repository")]
    return {repository.name: list(repository.servers) for repository in found}


def test_server_that_joins_gets_the_repositories_first() -> None:
    """One that cannot reach them is refused before it is a member; the jobs are those that people know."""
    plan = finance().plan(ADD)
    assert titles(plan) == ["Add Server to Server Pool"]
    assert actions(plan) == [ATTACH, WRITE, WRITE]
    assert servers_recorded(plan) == {"repositories/R": ["servers/a", "servers/b", "servers/c"]}
    assert locks(plan)["repositories/R"] == "X"


def test_server_that_leaves_gives_the_repositories_up() -> None:
    """Only those that it has."""
    plan = finance().plan(REMOVE)
    assert titles(plan) == ["Remove Server from Server Pool"]
    assert actions(plan) == [DETACH, WRITE, WRITE]
    assert servers_recorded(plan) == {"repositories/R": ["servers/a"]}
    assert locks(plan)["repositories/R"] == "X"


def test_server_that_leaves_while_it_is_offline_is_asked_for_nothing() -> None:
    """The records are enough, as it is given no work in the pool any more; what it keeps it gives up on its return."""
    estate = finance()
    estate.get("servers/b").state = server_pb2.SERVER_STATE_OFFLINE
    plan = estate.plan(REMOVE)
    assert list(plan.servers) == []
    assert servers_recorded(plan) == {"repositories/R": ["servers/a"]}
    assert levels(plan)[1] == (1, 0, ["desired_revision"])


def test_server_that_leaves_without_repositories_while_it_is_offline_misses_nothing() -> None:
    """There is nothing that it could keep."""
    estate = finance()
    estate.get("servers/b").state = server_pb2.SERVER_STATE_OFFLINE
    estate.get("repositories/R").servers[:] = ["servers/a"]
    assert [paths for *_, paths in levels(estate.plan(REMOVE))] == [["server_pool"]]


def test_server_that_leaves_has_nothing_to_catch_up_with() -> None:
    """It gives up all that it had of the pool, keeps its networks, and is not behind in its next one."""
    plan = behind().plan(REMOVE)
    assert actions(plan) == [LEFTOVERS, BRIDGES, BRIDGE, WRITE, WRITE]
    (bridges,) = done_by(plan, remove_other_bridges_pb2.RemoveOtherBridges)
    assert list(bridges.network_uids) == [finance().get("networks/lan").uid]
    assert levels(plan) == [(0, 0, ["server_pool"]), (0, 5, ["applied_revision"])]


def test_server_that_joins_behind_gives_up_what_the_last_pool_left_on_it() -> None:
    """All but what it is to have here, before it gets that; then it is behind no more."""
    estate = finance()
    estate.get("servers/c").desired_revision, estate.get("servers/c").applied_revision = 3, 2
    plan = estate.plan(ADD)
    assert actions(plan) == [LEFTOVERS, BRIDGES, ATTACH, WRITE, WRITE]
    (kept,) = done_by(plan, detach_other_repositories_pb2.DetachOtherRepositories)
    assert list(kept.repository_uids) == [estate.get("repositories/R").uid]
    assert levels(plan) == [(0, 0, ["server_pool"]), (0, 3, ["applied_revision"])]


def test_server_that_is_forgotten_gives_all_up_before_its_host_is_given_back() -> None:
    """So the next owner of the host finds nothing of this one, whatever the records say; forced or not."""
    estate = finance()
    estate.get("servers/d").agent_address = "d:1"
    for force in (False, True):
        plan = estate.plan(forget_server_pb2.ForgetServerRequest(name="servers/d", force=force))
        assert [(done, undo) for done, undo, _ in actions(plan)] == [
            ("DetachOtherRepositories", "DetachOtherRepositories"),
            ("RemoveOtherBridges", "RemoveOtherBridges"),
            ("RemoveBridge", "CreateBridge"),
            ("ReleaseHost", "ClaimHost"),
            ("WriteObjects", "RevertWrites"),
        ]
        # What is recorded can be put back by its undo, so it is not among the others, which cannot.
        (others,) = done_by(plan, remove_other_bridges_pb2.RemoveOtherBridges)
        assert list(others.network_uids) == [estate.get("networks/lan").uid]
        assert plan.jobs[0].steps[0].participant_address == ("d:1" if force else "")


def test_server_that_is_offline_is_forgotten_by_force_without_its_host() -> None:
    """It cannot be asked; what it has stays there until it is discovered again."""
    estate = finance()
    estate.get("servers/d").state = server_pb2.SERVER_STATE_OFFLINE
    plan = estate.plan(forget_server_pb2.ForgetServerRequest(name="servers/d", force=True))
    assert [done for done, *_ in actions(plan)] == ["WriteObjects"]


def levels(plan: plan_pb2.Plan) -> list[tuple[int, int, list[str]]]:
    """Return of each write to a server the revisions desired and applied, and its paths."""
    written = done_by(plan, write_objects_pb2.WriteObjects)
    updates = [write.update for effect in written for write in effect.writes if write.update.object.HasField("server")]
    servers = [(update.object.server, list(update.update_mask.paths)) for update in updates]
    return [(server.desired_revision, server.applied_revision, paths) for server, paths in servers]


def leaving(name: str) -> remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest:
    """Return the request to remove a server of the clustered pool."""
    return remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest(
        name="serverPools/Ledger", server=f"servers/{name}"
    )


def test_server_leaves_a_clustered_pool_that_has_no_cluster() -> None:
    """A creation left it so that was to keep what was done; the last server stays, to delete the pool with."""
    estate = clustered()
    del estate.objects["clusters/Ledger"]
    assert titles(estate.plan(leaving("x"))) == ["Remove Server from Server Pool"]
    for name in ("y", "z"):
        estate.get(f"servers/{name}").ClearField("server_pool")
    assert "delete serverPools/Ledger instead" in refusal(estate, leaving("x")).message


def test_server_that_is_proven_dead_leaves_its_cluster_through_another() -> None:
    """Without the proof it is refused, as it may renew its slot; and with it too, if nobody is there to clear that."""
    estate = clustered()
    estate.get("servers/x").state = server_pb2.SERVER_STATE_OFFLINE
    assert "must be online, or proven dead" in refusal(estate, leaving("x")).message
    estate.get("servers/x").observed.death.reason = "burnt"
    plan = estate.plan(leaving("x"))
    assert titles(plan) == ["Leave Cluster", "Remove Server from Server Pool"]
    assert actions(plan) == [("ClearClusterSlot", "ClearClusterSlot", "undoable"), WRITE, WRITE]
    (clear,) = done_by(plan, clear_cluster_slot_pb2.ClearClusterSlot)
    assert (clear.server, clear.slot, clear.path) == ("servers/x", 1, "/storage/hb")
    assert plan.jobs[0].steps[0].participant in {"servers/y", "servers/z"}
    for name in ("y", "z"):
        estate.get(f"servers/{name}").state = server_pb2.SERVER_STATE_OFFLINE
    assert "no server that reaches heartbeatDevices/Ledger is online" in refusal(estate, leaving("x")).message
