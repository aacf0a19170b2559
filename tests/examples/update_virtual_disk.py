"""Update Virtual Disk: its labels; see `updating`."""

from __future__ import annotations

from tests.acceptance.asking import create_machine, new_disk
from tests.examples.updating import update
from virtyard.api.operations.v1 import update_virtual_disk_pb2

EXAMPLE = update(
    update_virtual_disk_pb2.UpdateVirtualDiskRequest,
    "virtualDisks/web-disk0",
    prepare=lambda site: [create_machine(site, "web", [new_disk(4)], 1)],
)
