"""Update Filter: its labels; see `updating`."""

from __future__ import annotations

from tests.examples.create_filter import request
from tests.examples.updating import update
from virtyard.api.operations.v1 import update_filter_pb2

EXAMPLE = update(update_filter_pb2.UpdateFilterRequest, "filters/calm", prepare=lambda site: [request()])
