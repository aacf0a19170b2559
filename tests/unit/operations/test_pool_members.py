"""Add and Remove Server: the pool's repositories come and go with the server, and the record with them."""

from __future__ import annotations

from tests.unit.operations.estate import actions, behind, done_by, finance, locks, titles
from virtyard.api.inventory.v1 import server_pb2, write_objects_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import add_server_to_server_pool_pb2, remove_server_from_server_pool_pb2

ADD = add_server_to_server_pool_pb2.AddServerToServerPoolRequest(name="serverPools/Finance", server="servers/c")
REMOVE = remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest(
    name="serverPools/Finance", server="servers/b"
)
ATTACH = ("AttachRepository", "DetachRepository", "undoable")
DETACH = ("DetachRepository", "AttachRepository", "undoable")
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
    """The records are enough, as it is given no work in the pool any more."""
    estate = finance()
    estate.get("servers/b").state = server_pb2.SERVER_STATE_OFFLINE
    plan = estate.plan(REMOVE)
    assert list(plan.servers) == []
    assert servers_recorded(plan) == {"repositories/R": ["servers/a"]}


def test_server_that_leaves_has_nothing_to_catch_up_with() -> None:
    """What it missed was the pool's, so it is not behind in its next one."""
    written = done_by(behind().plan(REMOVE), write_objects_pb2.WriteObjects)
    levels = [write.update for effect in written for write in effect.writes if write.update.object.HasField("server")]
    assert [list(level.update_mask.paths) for level in levels] == [["server_pool"], ["applied_revision"]]
    assert levels[1].object.server.applied_revision == 5
