"""Create Virtual Machine: the titles that people know, in their order, and every refusal."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tests.unit.operations.estate import (
    GIB,
    Estate,
    actions,
    disk,
    done_by,
    field_of,
    finance,
    locks,
    new_machine,
    refusal,
    repository,
    server,
    titles,
)
from virtyard.api.actions.v1 import create_disk_file_pb2
from virtyard.api.inventory.v1 import (
    repository_pb2,
    server_pb2,
    virtual_disk_pb2,
    virtual_machine_pb2,
    write_objects_pb2,
)
from virtyard.api.operations.v1 import create_virtual_machine_pb2
from virtyard.kernel.errors import AlreadyExists, InvalidRequest, NotFound, VirtyardError, WrongState

Request = create_virtual_machine_pb2.CreateVirtualMachineRequest

DISK = ["Create Virtual Disk", "Add Virtual Disk to Virtual Machine"]
CARD = ["Create VNIC on Virtual Machine"]
COUNTS = list(itertools.product((0, 1, 3), repeat=2))


@pytest.mark.parametrize(("disks", "vnics"), COUNTS)
def test_titles_and_order_are_those_that_people_know(disks: int, vnics: int) -> None:
    """The golden table: disks and cards repeat, absent ones are absent, and each job follows the one before it."""
    plan = finance().plan(new_machine(disks, vnics))
    machine = ["Create Virtual Machine", "Add Virtual Machine to Server Pool"]
    assert titles(plan) == machine + DISK * disks + CARD * vnics
    assert [list(job.after) for job in plan.jobs] == [[], *([job.id] for job in plan.jobs[:-1])]


@pytest.mark.parametrize(("disks", "vnics"), COUNTS)
def test_locks_are_the_new_names_and_the_intentions_above_them(disks: int, vnics: int) -> None:
    """X on every name to be taken, IX on the pool and, if there are disks, on the repository; nothing else."""
    expected = {"virtualMachines/new": "X", "serverPools/Finance": "IX"}
    expected |= {f"virtualDisks/new-disk{index}": "X" for index in range(disks)}
    expected |= {f"vnics/new-vnic{index}": "X" for index in range(vnics)}
    expected |= {"repositories/R": "IX"} if disks else {}
    assert locks(finance().plan(new_machine(disks, vnics))) == expected


def test_everything_can_be_undone() -> None:
    """Creating a machine has no point of no return."""
    plan = finance().plan(new_machine(1, 1))
    assert {kind for _, _, kind in actions(plan)} == {"undoable"}
    assert ("CreateDiskFile", "RemoveDiskFile", "undoable") in actions(plan)


def test_image_is_made_before_its_record() -> None:
    """The record takes path and allocation from the image that was made."""
    job = next(job for job in finance().plan(new_machine(1)).jobs if job.title == "Create Virtual Disk")
    made, recorded = job.steps
    assert made.participant.startswith("servers/")
    assert recorded.participant == "inventory"
    assert [(binding.field_path, binding.step, binding.result_path) for binding in recorded.bindings] == [
        ("writes[0].create.virtual_disk.path", f"{job.id}/1", "path"),
        ("writes[0].create.virtual_disk.allocated_bytes", f"{job.id}/1", "allocated_bytes"),
    ]


def test_servers_own_fields_of_the_request_are_dropped() -> None:
    """A caller cannot place a machine, or choose its uid or state, by filling in what only the server sets."""
    request = new_machine()
    request.virtual_machine.server = "servers/a"
    request.virtual_machine.uid = "mine"
    request.virtual_machine.etag = "mine"
    request.virtual_machine.state = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING
    request.virtual_machine.placement.process_id = 1
    created = done_by(finance().plan(request), write_objects_pb2.WriteObjects)[0].writes[0].create.virtual_machine
    assert (created.server, created.etag, created.HasField("placement")) == ("", "", False)
    assert created.state == virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED
    assert created.uid not in {"", "mine"}


def test_machine_joins_its_pool_in_a_job_of_its_own() -> None:
    """The record is made without the pool; the second job writes that field and no other."""
    first, second = done_by(finance().plan(new_machine()), write_objects_pb2.WriteObjects)
    assert first.writes[0].create.virtual_machine.server_pool == ""
    assert list(second.writes[0].update.update_mask.paths) == ["server_pool"]
    assert second.writes[0].update.object.virtual_machine.server_pool == "serverPools/Finance"


def test_names_and_addresses_may_be_chosen() -> None:
    """Ids of disks and cards, and hardware addresses, are taken as asked."""
    request = new_machine(1, 1)
    request.disks[0].virtual_disk_id, request.disks[0].allocation = "root", virtual_disk_pb2.DISK_ALLOCATION_FULL
    request.vnics[0].vnic_id, request.vnics[0].mac_address = "lan", "52:54:00:AA:BB:CC"
    plan = finance().plan(request)
    writes = [effect.writes[0] for effect in done_by(plan, write_objects_pb2.WriteObjects)]
    assert {"virtualDisks/root", "vnics/lan"} <= locks(plan).keys()
    assert writes[-1].create.vnic.mac_address == "52:54:00:aa:bb:cc"
    assert done_by(plan, create_disk_file_pb2.CreateDiskFile)[0].full


def test_disk_work_is_spread_over_the_online_servers() -> None:
    """Each image has one server for it, the same whenever the plan is made, and an offline one gets none."""
    estate = finance()
    used = {step.participant for job in estate.plan(new_machine(12)).jobs for step in job.steps}
    assert used == {"inventory", "servers/a", "servers/b"}
    estate.get("servers/a").state = server_pb2.SERVER_STATE_OFFLINE
    assert list(estate.plan(new_machine(12)).servers) == ["servers/b"]


def _at(path: str, value: object) -> Callable[[Request], None]:
    """Return a change of one field of a request, as `disks[0].size_bytes`."""

    def change(request: Request) -> None:
        owner: object = request
        *above, last = path.replace("[0]", ".0").replace("[1]", ".1").split(".")
        for part in above:
            owner = owner[int(part)] if part.isdigit() else getattr(owner, part)  # type: ignore[index]  # a repeated field
        setattr(owner, last, value)

    return change


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("virtual_machine_id", "web", AlreadyExists),
        ("virtual_machine_id", "a/b", InvalidRequest),
        ("virtual_machine_id", "-a", InvalidRequest),
        ("virtual_machine.server_pool", "", InvalidRequest),
        ("virtual_machine.server_pool", "serverPools/none", NotFound),
        ("virtual_machine.memory_bytes", GIB + 1, InvalidRequest),
        ("virtual_machine.memory_bytes", -GIB, InvalidRequest),
        ("virtual_machine.memory_bytes", 0, InvalidRequest),
        ("virtual_machine.cpus", 0, InvalidRequest),
        ("virtual_machine.cpus", 65, InvalidRequest),
        ("virtual_machine.boot.kernel_path", "vmlinuz", InvalidRequest),
        ("virtual_machine.boot.initrd_path", "/storage/../etc/shadow", InvalidRequest),
        ("virtual_machine.display_name", "x" * 129, InvalidRequest),
        ("disks[0].virtual_disk_id", "web-disk0", AlreadyExists),
        ("disks[1].virtual_disk_id", "new-disk0", InvalidRequest),
        ("disks[0].virtual_disk_id", "a b", InvalidRequest),
        ("disks[0].size_bytes", 0, InvalidRequest),
        ("disks[0].size_bytes", GIB - 1, InvalidRequest),
        ("disks[0].size_bytes", -GIB, InvalidRequest),
        ("disks[1].repository", "repositories/none", NotFound),
        ("disks[0].repository", "repositories/Other", InvalidRequest),
        ("disks[0].repository", "repositories/Going", WrongState),
        ("vnics[0].vnic_id", "web-vnic0", AlreadyExists),
        ("vnics[1].vnic_id", "new-vnic0", InvalidRequest),
        ("vnics[0].mac_address", "01:00:5e:00:00:01", InvalidRequest),
        ("vnics[0].mac_address", "52:54:00:00:00", InvalidRequest),
    ],
)
def test_wrong_field_is_refused_by_name(field: str, value: object, error: type[VirtyardError]) -> None:
    """Each thing that cannot be is refused with its field, and nothing is planned."""
    estate = finance().add(repository("Other", path="/storage/o", pool="serverPools/Other"))
    going = repository_pb2.Repository(
        name="repositories/Going", server_pool="serverPools/Finance", state=repository_pb2.REPOSITORY_STATE_DELETING
    )
    request = new_machine(2, 2)
    _at(field, value)(request)
    refused = refusal(estate.add(going), request)
    assert type(refused) is error
    assert field_of(refused) == field
    assert refused.message.startswith(f"{field}: ")


def test_two_cards_cannot_have_one_address() -> None:
    """The second of two cards with the same address is refused."""
    request = new_machine(0, 2)
    for vnic in request.vnics:
        vnic.mac_address = "52:54:00:00:00:01"
    assert field_of(refusal(finance(), request)) == "vnics[1].mac_address"


@pytest.mark.parametrize(("disks", "vnics", "field"), [(21, 0, "disks"), (0, 9, "vnics")])
def test_too_many_disks_or_cards_are_refused(disks: int, vnics: int, field: str) -> None:
    """More than fits on a guest's bus is refused with the number that is allowed."""
    refused = refusal(finance(), new_machine(disks, vnics))
    assert field_of(refused) == field
    assert "at most" in refused.message


def test_without_an_online_server_each_is_named_with_its_state() -> None:
    """A disk needs a server that is online; the refusal says how each of them is."""
    estate = finance()
    estate.get("servers/a").state = server_pb2.SERVER_STATE_OFFLINE
    estate.get("servers/b").state = server_pb2.SERVER_STATE_UNSPECIFIED
    refused = refusal(estate, new_machine(1))
    assert isinstance(refused, WrongState)
    assert field_of(refused) == "disks[0].repository"
    assert "servers/a is offline, servers/b is not known" in refused.message


def test_machine_without_disks_needs_no_server() -> None:
    """Only the inventory is touched where there is no image to make."""
    estate = Estate(*(item for name, item in finance().objects.items() if not name.startswith("servers/")))
    assert list(estate.plan(new_machine(0, 1)).servers) == []


def test_read_set_notices_new_servers_and_names() -> None:
    """A server that joins the pool, or a disk that takes a name, between plan and lock changes what is read again."""
    before = finance().plan(new_machine(1)).read_set
    grown = finance().add(server("e", pool="serverPools/Finance")).add(disk("new-disk0", of="web"))
    after = grown.view(list(before.selections)).requirement()
    changed = {version.object for version in after.versions} ^ {
        version.object for version in before.versions if version.uid
    }
    assert {"servers/e", "virtualDisks/new-disk0"} <= changed
