"""No Operation: one job with one lock and one effect, in which an agent does nothing for a while."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from example.noop.v1 import noop_service_pb2, pass_pb2

from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.plan import Ids, PlanBuilder
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType

_LONGEST = 3_600_000


def selections(request: noop_service_pb2.NoOpRequest) -> Sequence[participant.Selection]:
    """Read the server."""
    return [select(request.server)]


def plan(request: noop_service_pb2.NoOpRequest, view: View, ids: Ids) -> plan_pb2.Plan:
    """Plan the one effect."""
    del ids
    if not 0 <= request.hold_milliseconds <= _LONGEST:
        text = f"{request.hold_milliseconds} is not allowed; it must be 0 to {_LONGEST}"
        raise InvalidRequest.of("hold_milliseconds", text)
    server = view.get(request.server, server_pb2.Server, field="server")
    target = request.target or server.name
    builder = PlanBuilder(view)
    job = builder.job("No Operation", target)
    job.step(
        "Do nothing",
        server.name,
        pass_pb2.Pass(target=target, hold_milliseconds=request.hold_milliseconds),
        undo=pass_pb2.Pass(target=target),
    )
    return builder.build()


OPERATION = OperationType(
    method="example.noop.v1.NoOpService.NoOp",
    selections=selections,
    plan=plan,
    descriptor_set=resources.files("example.noop").joinpath("descriptor.binpb").read_bytes(),
)
