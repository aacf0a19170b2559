"""Confirm Server Dead: a person's proof that a silent host is off; what waits for it is settled without it (P17).

It writes what is observed of the server and no configuration, so it waits for none of the locks that operations hold
which are stuck on that very host. There is no way back: others act on the proof as soon as it is there.
"""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import confirm_server_dead_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.plan import Ids, PlanBuilder, update
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.servers import offline

Request = confirm_server_dead_pb2.ConfirmServerDeadRequest
LONGEST_PROOF = 500


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the server."""
    return [select(request.name)]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the record of the proof."""
    server = view.get(request.name, server_pb2.Server, field="name", etag=request.etag)
    if not request.proof.strip() or len(request.proof) > LONGEST_PROOF:
        allowed = f"1 to {LONGEST_PROOF} characters, not all of them blank, are allowed"
        raise InvalidRequest.of("proof", f"it has {len(request.proof)} characters; {allowed}")
    builder = PlanBuilder(view)
    lock = f"proofs/{server.name}"
    job = builder.job("Confirm Server Dead", server.name, lock=lock)
    proven = server_pb2.Server(name=server.name)
    proven.observed.death.reason = request.proof
    job.write("Record the proof", update(proven, "observed.death"), target=lock, pivot=True)
    return builder.build(server.name)


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.ConfirmServerDead",
    selections=selections,
    plan=plan,
    needs={"name": (offline,)},
    safe_in_quarantine=True,
    proves_dead=lambda request: str(request.name),
)
