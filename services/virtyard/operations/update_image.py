"""Update Image: what people say of it; see `updating`."""

from __future__ import annotations

from virtyard.api.operations.v1 import update_image_pb2
from virtyard.operations.updating import updates

OPERATION = updates(update_image_pb2.UpdateImageRequest, "Update Image")
