"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.examples.contract import Example
from tests.examples.create_filter import request
from virtyard.api.operations.v1 import delete_filter_pb2

EXAMPLE = Example(
    request=lambda site: delete_filter_pb2.DeleteFilterRequest(name="filters/calm"),
    titles=["Delete Filter"],
    prepare=lambda site: [request()],
)
