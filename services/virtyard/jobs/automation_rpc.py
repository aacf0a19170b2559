"""The service that shows what triggers have done."""

from __future__ import annotations

from virtyard.api.jobs.v1 import automation_service_pb2 as pb
from virtyard.jobs.definitions import Definitions
from virtyard.jobs.run_states import RunStates
from virtyard.kernel.names import check_name
from virtyard.runtime.call import Call

__all__ = ["AutomationService"]


class AutomationService:
    """Shows what definitions do."""

    def __init__(self, definitions: Definitions, states: RunStates) -> None:
        """Serve from these."""
        self._definitions = definitions
        self._states = states

    async def GetTriggerStatus(self, request: pb.GetTriggerStatusRequest, call: Call) -> pb.TriggerStatus:
        """Return a trigger with what it has done."""
        trigger = await self._definitions.get(check_name(request.name, "virtyard.io/Trigger", "name"))
        state = self._states.of(trigger.uid)
        return pb.TriggerStatus(
            trigger=trigger,
            last_time=state.last_time if state.HasField("last_time") else None,
            last_operation=state.last_operation,
            runs=state.runs,
            left_out=state.left_out,
            failed=state.failed,
            last_error=state.last_error,
        )
