"""Delete Virtual Machine: into the trash while it can be undone, then erased."""

from __future__ import annotations

import pytest

from tests.unit.operations.estate import (
    Estate,
    actions,
    done_by,
    every_case,
    field_of,
    finance,
    locks,
    refusal,
    running,
    titles,
)
from virtyard.api.actions.v1 import erase_disk_files_pb2
from virtyard.api.inventory.v1 import server_pb2, virtual_disk_pb2, virtual_machine_pb2, write_objects_pb2
from virtyard.api.operations.v1 import delete_virtual_machine_pb2
from virtyard.kernel.errors import EtagMismatch, NotFound, WrongState
from virtyard.kernel.plan_rules import Order

Request = delete_virtual_machine_pb2.DeleteVirtualMachineRequest
WEB = "virtualMachines/web"
ASKED = Request(name=WEB)


def spread() -> Estate:
    """Return a site whose machine has three disks in two repositories."""
    return every_case()["DeleteVirtualMachine full"][0]


def test_disks_go_to_the_trash_before_any_is_erased() -> None:
    """A child for each disk, then one erasure for each repository: the first is the pivot, the next go forward."""
    plan = spread().plan(ASKED)
    assert titles(plan) == ["Delete Virtual Machine", *["  Delete Virtual Disk"] * 3]
    trash = ("TrashDiskFile", "RestoreDiskFile", "undoable")
    assert actions(plan) == [
        ("WriteObjects", "RevertWrites", "undoable"),
        ("EraseDiskFiles", "", "pivot"),
        ("EraseDiskFiles", "", "forward"),
        ("WriteObjects", "", "forward"),
        trash,
        trash,
        trash,
    ]
    order = Order(plan)
    for child in ("2/1", "3/1", "4/1"):
        assert order.is_before("1/1", child)
        assert order.is_before(child, "1/2")


def test_erasure_names_the_disks_of_its_repository() -> None:
    """Each repository loses its own disks and no others."""
    estate = spread()
    uids = {name: estate.get(f"virtualDisks/web-disk{name}").uid for name in range(3)}
    erased = done_by(estate.plan(ASKED), erase_disk_files_pb2.EraseDiskFiles)
    assert [(item.repository_path, list(item.disk_uids)) for item in erased] == [
        ("/storage/r", [uids[0], uids[1]]),
        ("/storage/s", [uids[2]]),
    ]


def test_machine_and_disks_are_marked_first_and_removed_together() -> None:
    """Nobody starts a machine whose disks are going, and no record outlives another."""
    marked, removed = done_by(spread().plan(ASKED), write_objects_pb2.WriteObjects)
    first, *others = marked.writes
    assert first.update.object.virtual_machine.state == virtual_machine_pb2.VIRTUAL_MACHINE_STATE_DELETING
    states = {item.update.object.virtual_disk.state for item in others}
    assert states == {virtual_disk_pb2.VIRTUAL_DISK_STATE_DELETING}
    disks = [f"virtualDisks/web-disk{index}" for index in range(3)]
    assert [write.delete for write in removed.writes] == ["vnics/web-vnic0", *disks, WEB]


def test_disks_are_locked_with_their_repositories() -> None:
    """X on the machine, which covers its cards, and on each disk."""
    assert locks(finance().plan(ASKED)) == {
        WEB: "X",
        "serverPools/Finance": "IX",
        "virtualDisks/web-disk0": "X",
        "virtualDisks/web-disk1": "X",
        "repositories/R": "IX",
    }


def test_machine_without_disks_is_one_write_that_can_be_undone() -> None:
    """Nothing is erased, so there is no point of no return."""
    plan = every_case()["DeleteVirtualMachine bare"][0].plan(ASKED)
    assert titles(plan) == ["Delete Virtual Machine"]
    assert actions(plan) == [("WriteObjects", "RevertWrites", "undoable")]
    assert list(plan.servers) == []


def test_running_machine_is_refused() -> None:
    """It must be stopped first."""
    refused = refusal(running(), ASKED)
    assert isinstance(refused, WrongState)
    assert refused.message == f"name: {WEB} is running; it must be stopped"


def test_disks_that_no_online_server_reaches_are_refused() -> None:
    """The repository is named, and each server with its state."""
    estate = finance()
    for name in ("servers/a", "servers/b"):
        estate.get(name).state = server_pb2.SERVER_STATE_OFFLINE
    refused = refusal(estate, ASKED)
    assert isinstance(refused, WrongState)
    assert refused.resource == "repositories/R"


@pytest.mark.parametrize(
    ("estate", "asked", "error", "field"),
    [(Estate(), ASKED, NotFound, "name"), (finance(), Request(name=WEB, etag="old"), EtagMismatch, "etag")],
)
def test_absent_or_changed_machine_is_refused(
    estate: Estate, asked: Request, error: type[Exception], field: str
) -> None:
    """The name must exist, and be what the caller read."""
    refused = refusal(estate, asked)
    assert type(refused) is error
    assert field_of(refused) == field
