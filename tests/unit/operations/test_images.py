"""Images: how they are imported and deleted, and what machines and disks may use which of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.operations.estate import (
    DISK_IMAGE,
    GIB,
    ISO_IMAGE,
    actions,
    done_by,
    field_of,
    finance,
    from_images,
    image,
    import_request,
    locks,
    refusal,
    repository,
    server,
    titles,
    with_cdrom,
)
from virtyard.api.actions.v1 import create_disk_file_pb2, import_image_file_pb2, start_guest_pb2
from virtyard.api.inventory.v1 import image_pb2, server_pb2, virtual_disk_pb2, virtual_machine_pb2, write_objects_pb2
from virtyard.api.operations.v1 import (
    create_virtual_disk_pb2,
    delete_image_pb2,
    delete_repository_pb2,
    edit_virtual_machine_pb2,
    start_virtual_machine_pb2,
)
from virtyard.kernel.errors import AlreadyExists, InvalidRequest, NotFound, VirtyardError, WrongState

MIB = 1 << 20
WEB = "virtualMachines/web"
DISK, CDROM = virtual_machine_pb2.BOOT_DEVICE_DISK, virtual_machine_pb2.BOOT_DEVICE_CDROM


def new_disk(**fields: Any) -> create_virtual_disk_pb2.CreateVirtualDiskRequest:
    """Return a request for a disk that is made from an image."""
    wanted = virtual_disk_pb2.VirtualDisk(**{"repository": "repositories/R", "image": DISK_IMAGE, **fields})
    return create_virtual_disk_pb2.CreateVirtualDiskRequest(virtual_disk_id="new", virtual_disk=wanted)


def edit(*paths: str, **fields: Any) -> edit_virtual_machine_pb2.EditVirtualMachineRequest:
    """Return a request that edits the machine."""
    request = edit_virtual_machine_pb2.EditVirtualMachineRequest(
        virtual_machine=virtual_machine_pb2.VirtualMachine(name=WEB, **fields)
    )
    request.update_mask.paths.extend(paths)
    return request


def test_the_file_is_copied_before_the_image_is_recorded() -> None:
    """The undo removes what the copy made; the record takes over what the copy found out."""
    plan = finance().plan(import_request(server="servers/b", sha256="AB" * 32))
    assert titles(plan) == ["Import Image"]
    assert actions(plan) == [
        ("ImportImageFile", "RemoveDiskFile", "undoable"),
        ("WriteObjects", "RevertWrites", "undoable"),
    ]
    assert locks(plan) == {"images/new": "X", "repositories/R": "IX"}
    (copy,) = done_by(plan, import_image_file_pb2.ImportImageFile)
    assert (copy.server_path, copy.sha256) == ("/storage/in/debian.qcow2", "ab" * 32)
    (record,) = done_by(plan, write_objects_pb2.WriteObjects)
    made = record.writes[0].create.image
    assert (made.state, made.source) == (image_pb2.IMAGE_STATE_READY, "servers/b:/storage/in/debian.qcow2")
    bound = {binding.field_path.rpartition(".")[2] for binding in plan.jobs[0].steps[1].bindings}
    assert bound == set(import_image_file_pb2.ImportImageFileResult.DESCRIPTOR.fields_by_name)


def test_an_upload_is_named_in_the_record() -> None:
    """By that the inventory knows that it was used."""
    plan = finance().plan(import_request(upload="uploads/0a"))
    (record,) = done_by(plan, write_objects_pb2.WriteObjects)
    assert record.writes[0].create.image.source == "uploads/0a"
    (copy,) = done_by(plan, import_image_file_pb2.ImportImageFile)
    assert (copy.WhichOneof("source"), copy.upload) == ("upload", "uploads/0a")


@pytest.mark.parametrize(
    ("fields", "field", "error"),
    [
        ({"image_id": "debian"}, "image_id", AlreadyExists),
        ({"image_id": "a b"}, "image_id", InvalidRequest),
        ({"image": image_pb2.Image(format=image_pb2.IMAGE_FORMAT_ISO)}, "image.repository", InvalidRequest),
        ({"image": image_pb2.Image(repository="repositories/R")}, "image.format", InvalidRequest),
        ({"server_path": ""}, "server_path", InvalidRequest),
        ({"server_path": "in/debian"}, "server_path", InvalidRequest),
        ({"server_path": "/storage/../etc/shadow"}, "server_path", InvalidRequest),
        ({"upload": "uploads/../a"}, "upload", InvalidRequest),
        ({"upload": "images/a"}, "upload", InvalidRequest),
        ({"sha256": "abc"}, "sha256", InvalidRequest),
        ({"server": "servers/c"}, "server", InvalidRequest),
        ({"server": "servers/none"}, "server", NotFound),
        ({"server": "servers/off"}, "server", WrongState),
    ],
)
def test_a_wrong_import_is_refused_by_its_field(fields: dict[str, Any], field: str, error: type[VirtyardError]) -> None:
    """Each thing that cannot be is refused, and nothing is planned."""
    estate = finance().add(server("off", pool="serverPools/Finance", state=server_pb2.SERVER_STATE_OFFLINE))
    estate.get("repositories/R").servers.append("servers/off")
    refused = refusal(estate, import_request(**fields))
    assert (type(refused), field_of(refused)) == (error, field)


def test_an_import_needs_a_source() -> None:
    """One of the two; both cannot be given at all."""
    request = import_request()
    request.ClearField("server_path")
    assert field_of(refusal(finance(), request)) == "source"


def test_an_image_in_a_drive_is_not_deleted() -> None:
    """The refusal names the machine."""
    refused = refusal(with_cdrom(), delete_image_pb2.DeleteImageRequest(name=ISO_IMAGE))
    assert isinstance(refused, WrongState)
    assert f"is in the CD-ROM drive of {WEB}" in refused.message


def test_a_deletion_can_be_taken_back_until_the_file_is_erased() -> None:
    """Marked, moved to the trash, erased as the point of no return, and forgotten."""
    plan = finance().plan(delete_image_pb2.DeleteImageRequest(name=DISK_IMAGE))
    assert actions(plan) == [
        ("WriteObjects", "RevertWrites", "undoable"),
        ("TrashDiskFile", "RestoreDiskFile", "undoable"),
        ("EraseDiskFiles", "", "pivot"),
        ("WriteObjects", "", "forward"),
    ]
    assert locks(plan) == {DISK_IMAGE: "X", "repositories/R": "IX"}


def test_a_repository_with_an_image_is_not_deleted() -> None:
    """It is named, as a disk would be."""
    estate = finance().add(repository("S", path="/storage/s")).add(image("other", repository="repositories/S"))
    refused = refusal(estate, delete_repository_pb2.DeleteRepositoryRequest(name="repositories/S"))
    assert "holds images/other" in refused.message


@pytest.mark.parametrize(("asked", "got"), [(0, 11 * MIB), (11 * MIB, 11 * MIB), (GIB, GIB)])
def test_a_disk_is_at_least_as_large_as_its_image(asked: int, got: int) -> None:
    """Without a size it gets that of the image, in whole MiB; the image is kept where it is meanwhile."""
    plan = finance().plan(new_disk(size_bytes=asked))
    assert locks(plan) == {DISK_IMAGE: "S", "virtualDisks/new": "X", "repositories/R": "IX"}
    (made,) = done_by(plan, create_disk_file_pb2.CreateDiskFile)
    assert (made.size_bytes, made.image.repository_path) == (got, "/storage/r")
    copying = plan.jobs[0].steps[0]
    assert (copying.counted.name, copying.counted.count) == (f"capacity/{copying.participant}/copy", 1)
    (record,) = done_by(plan, write_objects_pb2.WriteObjects)
    assert (record.writes[0].create.virtual_disk.image, record.writes[0].create.virtual_disk.size_bytes) == (
        DISK_IMAGE,
        got,
    )


@pytest.mark.parametrize(
    ("fields", "field", "error"),
    [
        ({"size_bytes": 10 * MIB}, "virtual_disk.size_bytes", InvalidRequest),
        ({"size_bytes": -MIB}, "virtual_disk.size_bytes", InvalidRequest),
        ({"image": ""}, "virtual_disk.size_bytes", InvalidRequest),
        ({"image": ISO_IMAGE}, "virtual_disk.image", InvalidRequest),
        ({"image": "images/none"}, "virtual_disk.image", NotFound),
        ({"image": "images/going"}, "virtual_disk.image", WrongState),
        ({"image": "images/far"}, "virtual_disk.image", InvalidRequest),
    ],
)
def test_a_disk_is_not_made_from_what_is_no_image_for_it(
    fields: dict[str, Any], field: str, error: type[VirtyardError]
) -> None:
    """Too small, of the wrong format, on its way out, or out of reach."""
    estate = finance().add(repository("Far", path="/far", pool="serverPools/Other"))
    estate.add(image("far", repository="repositories/Far")).add(image("going"))
    estate.get("images/going").state = image_pb2.IMAGE_STATE_DELETING
    refused = refusal(estate, new_disk(**fields))
    assert (type(refused), field_of(refused)) == (error, field)


def test_a_machine_is_made_from_images() -> None:
    """Both are kept where they are, the one that is copied and the one in the drive."""
    plan = finance().plan(from_images())
    held = locks(plan)
    assert (held[DISK_IMAGE], held[ISO_IMAGE]) == ("S", "S")
    record = done_by(plan, write_objects_pb2.WriteObjects)[0].writes[0].create.virtual_machine
    assert record.cdrom == ISO_IMAGE


@pytest.mark.parametrize(
    ("field", "value"),
    [("virtual_machine.cdrom", DISK_IMAGE), ("virtual_machine.cdrom", "images/none"), ("disks[0].image", ISO_IMAGE)],
)
def test_a_machine_is_not_made_from_other_images(field: str, value: str) -> None:
    """The field that names it is told."""
    request = from_images()
    if field == "virtual_machine.cdrom":
        request.virtual_machine.cdrom = value
    else:
        request.disks[0].image = value
    assert field_of(refusal(finance(), request)) == field


def test_a_guest_gets_its_drive_and_its_boot_order() -> None:
    """The image is kept where it is while the guest starts."""
    estate = with_cdrom()
    estate.get(WEB).boot.Clear()
    estate.get(WEB).boot.boot_order.extend([CDROM, DISK])
    plan = estate.plan(start_virtual_machine_pb2.StartVirtualMachineRequest(name=WEB))
    assert locks(plan)[ISO_IMAGE] == "S"
    (guest,) = done_by(plan, start_guest_pb2.StartGuest)
    assert list(guest.boot_order) == [CDROM, DISK]
    assert (guest.cdrom.repository_path, guest.cdrom.image_uid) == ("/storage/r", estate.get(ISO_IMAGE).uid)


def test_an_image_is_put_into_the_drive_and_taken_out() -> None:
    """While it is put in it is kept where it is, so that a deletion beside it finds the machine, or is found."""
    plan = finance().plan(edit(cdrom=ISO_IMAGE))
    assert locks(plan) == {WEB: "X", "serverPools/Finance": "IX", ISO_IMAGE: "S", "repositories/R": "IS"}
    emptied = with_cdrom().plan(edit("cdrom"))
    assert locks(emptied) == {WEB: "X", "serverPools/Finance": "IX"}


@pytest.mark.parametrize(
    ("cdrom", "error"), [(DISK_IMAGE, InvalidRequest), ("images/none", NotFound), ("images/far", InvalidRequest)]
)
def test_only_an_iso_image_that_is_reached_goes_into_the_drive(cdrom: str, error: type[VirtyardError]) -> None:
    """The refusal names the field."""
    estate = finance().add(repository("Far", path="/far", pool="serverPools/Other"))
    estate.add(image("far", iso=True, repository="repositories/Far"))
    refused = refusal(estate, edit(cdrom=cdrom))
    assert (type(refused), field_of(refused)) == (error, "virtual_machine.cdrom")


@pytest.mark.parametrize(
    ("boot", "field"),
    [
        ({"boot_order": [DISK, DISK]}, "boot_order"),
        ({"boot_order": [virtual_machine_pb2.BOOT_DEVICE_UNSPECIFIED]}, "boot_order"),
        ({"boot_order": [DISK], "kernel_path": "/storage/k"}, "boot_order"),
        ({"initrd_path": "/storage/i"}, "kernel_path"),
        ({"kernel_arguments": "quiet"}, "kernel_path"),
    ],
)
def test_a_boot_source_of_which_parts_do_nothing_is_refused(boot: dict[str, Any], field: str) -> None:
    """What would be ignored is not taken."""
    refused = refusal(finance(), edit(boot=virtual_machine_pb2.BootSource(**boot)))
    assert field_of(refused) == f"virtual_machine.boot.{field}"


def test_a_boot_order_takes_the_place_of_a_kernel() -> None:
    """The boot source is changed as a whole."""
    plan = finance().plan(edit(boot=virtual_machine_pb2.BootSource(boot_order=[CDROM, DISK])))
    (write,) = done_by(plan, write_objects_pb2.WriteObjects)
    boot = write.writes[0].update.object.virtual_machine.boot
    assert (list(boot.boot_order), boot.kernel_path) == ([CDROM, DISK], "")
