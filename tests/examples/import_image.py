"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.acceptance.asking import import_image
from tests.examples.contract import Bad, Example
from virtyard.api.inventory.v1 import image_pb2

EXAMPLE = Example(
    request=lambda site: import_image(site, "debian"),
    titles=["Import Image"],
    prepare=lambda site: [import_image(site, "installer", iso=True), import_image(site, "other")],
    bad=(
        Bad(
            request=lambda site: import_image(site, "installer"),
            reason="ALREADY_EXISTS",
            field="image_id",
        ),
        Bad(
            request=lambda site: import_image(site, "debian", image=image_pb2.Image(repository="repositories/shared")),
            reason="INVALID_REQUEST",
            field="image.format",
        ),
        Bad(
            request=lambda site: import_image(site, "debian", path="../debian.raw"),
            reason="INVALID_REQUEST",
            field="server_path",
        ),
        Bad(
            request=lambda site: import_image(site, "debian", upload="servers/s1"),
            reason="INVALID_REQUEST",
            field="upload",
        ),
        Bad(
            request=lambda site: import_image(site, "debian", sha256="12 34"),
            reason="INVALID_REQUEST",
            field="sha256",
        ),
        Bad(
            request=lambda site: import_image(site, "debian", server="servers/s3"),
            reason="INVALID_REQUEST",
            field="server",
        ),
    ),
)
