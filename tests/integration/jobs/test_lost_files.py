"""Objects whose files somebody removed by hand are deleted as any other, and leave nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.jobs.site import MIB, Site, machine
from virtyard.api.inventory.v1 import virtual_disk_pb2
from virtyard.api.operations.v1 import (
    create_virtual_disk_pb2,
    delete_repository_pb2,
    delete_virtual_disk_pb2,
    delete_virtual_machine_pb2,
)

REPOSITORY = "repositories/R"


def lose(site: Site, which: str) -> None:
    """Remove files of images, as nobody should."""
    for path in (site.share / "R" / "disks").iterdir():
        if which == "both" or (path.suffix == ".json") is (which == "record"):
            path.unlink()


def files(site: Site) -> list[Path]:
    """What is left of images in the repository."""
    return [path for path in (site.share / "R").rglob("*") if path.is_file() and path.parent.name != "R"]


@pytest.mark.parametrize("which", ["image", "record", "both"])
async def test_a_disk_whose_files_are_gone_can_be_deleted(site: Site, which: str) -> None:
    """It, and a machine with such disks, and then their repository."""
    disk = virtual_disk_pb2.VirtualDisk(repository=REPOSITORY, size_bytes=MIB)
    await site.succeed(create_virtual_disk_pb2.CreateVirtualDiskRequest(virtual_disk_id="d", virtual_disk=disk))
    await site.succeed(machine("web"))
    lose(site, which)
    await site.succeed(delete_virtual_disk_pb2.DeleteVirtualDiskRequest(name="virtualDisks/d"))
    await site.succeed(delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name="virtualMachines/web"))
    await site.wait_released()
    assert files(site) == []
    await site.succeed(delete_repository_pb2.DeleteRepositoryRequest(name=REPOSITORY))
