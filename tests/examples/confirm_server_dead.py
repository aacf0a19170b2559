"""An example of its operation type; see `contract`."""

from __future__ import annotations

from tests.examples.contract import Bad, Example
from virtyard.api.operations.v1 import confirm_server_dead_pb2

Request = confirm_server_dead_pb2.ConfirmServerDeadRequest

EXAMPLE = Example(
    request=lambda site: Request(name="servers/s4", proof="its power cable is pulled"),
    titles=["Confirm Server Dead"],
    gone="s4",
    bad=(
        Bad(
            request=lambda site: Request(name="servers/s1", proof="it looks dead"),
            reason="WRONG_STATE",
            field="name",
        ),
        Bad(request=lambda site: Request(name="servers/s4", proof=" "), reason="INVALID_REQUEST", field="proof"),
    ),
)
