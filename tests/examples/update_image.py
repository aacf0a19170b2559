"""Update Image: its labels; see `updating`."""

from __future__ import annotations

from tests.acceptance.asking import import_image
from tests.examples.updating import update
from virtyard.api.operations.v1 import update_image_pb2

EXAMPLE = update(
    update_image_pb2.UpdateImageRequest,
    "images/debian",
    prepare=lambda site: [import_image(site, "debian")],
)
