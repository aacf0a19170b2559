"""Refresh Repository: one of its servers looks, and its space is recorded."""

from __future__ import annotations

from tests.unit.operations.estate import (
    DISK_IMAGE,
    ISO_IMAGE,
    actions,
    done_by,
    field_of,
    finance,
    locks,
    refusal,
    repository,
    titles,
)
from virtyard.api.actions.v1 import scan_repository_pb2
from virtyard.api.inventory.v1 import server_pb2, write_objects_pb2
from virtyard.api.operations.v1 import refresh_repository_pb2
from virtyard.kernel.errors import WrongState

ASKED = refresh_repository_pb2.RefreshRepositoryRequest(name="repositories/R")


def test_every_disk_of_it_is_looked_for() -> None:
    """The host is told which disks and images it should hold; what it saw of the space is recorded."""
    estate = finance()
    plan = estate.plan(ASKED)
    assert titles(plan) == ["Refresh Repository"]
    assert actions(plan) == [
        ("ScanRepository", "ScanRepository", "undoable"),
        ("WriteObjects", "RevertWrites", "undoable"),
    ]
    (look,) = done_by(plan, scan_repository_pb2.ScanRepository)
    assert [(file.object, file.uid) for file in look.files] == [
        (name, estate.get(name).uid)
        for name in ("virtualDisks/web-disk0", "virtualDisks/web-disk1", DISK_IMAGE, ISO_IMAGE)
    ]
    (recorded,) = done_by(plan, write_objects_pb2.WriteObjects)
    paths = list(recorded.writes[0].update.update_mask.paths)
    assert paths == ["total_bytes", "free_bytes", "promised_bytes"]
    assert [binding.result_path for binding in plan.jobs[0].steps[1].bindings] == paths
    assert locks(plan) == {"repositories/R": "X"}


def test_only_a_server_that_has_it_and_is_able_looks() -> None:
    """Not one that is merely in its pool, nor one that is behind; else each one's reason is given."""
    estate = finance().add(repository("R", path="/storage/r", servers=["servers/b"]))
    assert list(estate.plan(ASKED).servers) == ["servers/b"]
    estate.get("servers/b").desired_revision = 2
    refused = refusal(estate, ASKED)
    assert isinstance(refused, WrongState)
    assert field_of(refused) == "name"
    assert "servers/b is 2 changes behind" in refused.message
    assert "servers/a" not in refused.message
    estate.get("servers/b").state = server_pb2.SERVER_STATE_OFFLINE
    assert "servers/b is offline" in refusal(estate, ASKED).message
