"""The service that shows what triggers and schedules have done, what comes next, and what filters keep back."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from google.longrunning import operations_pb2

from virtyard.api.inventory.v1 import webhook_pb2
from virtyard.api.jobs.v1 import automation_service_pb2 as pb
from virtyard.jobs.automatic import InnerRequests
from virtyard.jobs.definitions import Definitions
from virtyard.jobs.job_filters import JobFilters
from virtyard.jobs.model import Operation
from virtyard.jobs.run_states import RunStates
from virtyard.jobs.schedules import Schedules
from virtyard.jobs.webhook_status import deliveries_of, discard_deliveries, retry_deliveries, secret_text, status_of
from virtyard.jobs.webhooks import Webhooks
from virtyard.kernel.any import type_of
from virtyard.kernel.names import check_name
from virtyard.kernel.permissions import permit
from virtyard.runtime.call import Call
from virtyard.runtime.rpc import role_of

_SHOWN = 5
"""How many of the next runs are shown."""

__all__ = ["AutomationService"]


class AutomationService:
    """Shows what definitions do."""

    def __init__(
        self,
        definitions: Definitions,
        states: RunStates,
        schedules: Schedules,
        inner: InnerRequests,
        filters: JobFilters,
        running: Callable[[], Iterable[Operation]],
        webhooks: Webhooks,
    ) -> None:
        """Serve from these."""
        self._webhooks = webhooks
        self._definitions = definitions
        self._states = states
        self._schedules = schedules
        self._inner = inner
        self._filters = filters
        self._running = running

    async def GetFilterStatus(self, request: pb.GetFilterStatusRequest, call: Call) -> pb.FilterStatus:
        """Return a filter with the operations that it keeps back, and those that match and are under way."""
        found = await self._definitions.get(check_name(request.name, "virtyard.io/Filter", "name"))
        held, active = self._filters.concerned(found, self._running())
        return pb.FilterStatus(filter=found, held_operations=held, active_operations=active)

    async def GetScheduleStatus(self, request: pb.GetScheduleStatusRequest, call: Call) -> pb.ScheduleStatus:
        """Return a schedule with what it has done, and when it is submitted next."""
        schedule = await self._definitions.get(check_name(request.name, "virtyard.io/Schedule", "name"))
        state = self._states.of(schedule.uid)
        status = pb.ScheduleStatus(
            schedule=schedule,
            last_time=state.last_time if state.HasField("last_time") else None,
            last_operation=state.last_operation,
            runs=state.runs,
            left_out=state.left_out,
            failed=state.failed,
            last_error=state.last_error,
            queued=len(state.queued_times),
        )
        for time in self._schedules.next_times(schedule, _SHOWN):
            status.next_times.add().FromDatetime(time)
        return status

    async def RunSchedule(self, request: pb.RunScheduleRequest, call: Call) -> operations_pb2.Operation:
        """Submit a schedule's request in the caller's name, if he may ask for it himself."""
        schedule = await self._definitions.get(check_name(request.name, "virtyard.io/Schedule", "name"))
        method = self._inner.method_of(type_of(schedule.request), "name")
        permit(call.principal, role_of(method), method.full_name)
        return await self._schedules.run_now(schedule, call.principal.identity, request.request_id)

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
            retry_times=[each.due_time for each in state.retries],
        )

    async def GetWebhookStatus(self, request: pb.GetWebhookStatusRequest, call: Call) -> pb.WebhookStatus:
        """Return a webhook with what it has sent."""
        return await status_of(await self._webhook(request.name), self._webhooks, self._states)

    async def GetWebhookSecret(self, request: pb.GetWebhookSecretRequest, call: Call) -> pb.WebhookSecret:
        """Return what a receiver checks signatures with."""
        return await secret_text(await self._webhook(request.name), self._webhooks)

    async def ListWebhookDeliveries(
        self, request: pb.ListWebhookDeliveriesRequest, call: Call
    ) -> pb.ListWebhookDeliveriesResponse:
        """Return a page of what a webhook has still to send, or has given up."""
        return await deliveries_of(await self._webhook(request.name), request, self._webhooks)

    async def RetryWebhookDeliveries(
        self, request: pb.RetryWebhookDeliveriesRequest, call: Call
    ) -> pb.RetryWebhookDeliveriesResponse:
        """Send again what a webhook has given up."""
        return await retry_deliveries(await self._webhook(request.name), request, self._webhooks)

    async def DiscardWebhookDeliveries(
        self, request: pb.DiscardWebhookDeliveriesRequest, call: Call
    ) -> pb.DiscardWebhookDeliveriesResponse:
        """Forget what a webhook has given up."""
        return await discard_deliveries(await self._webhook(request.name), request, self._webhooks)

    async def _webhook(self, name: str) -> webhook_pb2.Webhook:
        found: webhook_pb2.Webhook = await self._definitions.get(check_name(name, "virtyard.io/Webhook", "name"))
        return found
