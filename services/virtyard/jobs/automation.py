"""Automation: what the scheduler does by itself, put together; it begins once the scheduler runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

import grpc.aio
from google.protobuf.descriptor import MethodDescriptor

from virtyard.api.inventory.v1 import event_pb2
from virtyard.api.jobs.v1 import automation_service_pb2
from virtyard.jobs.automatic import AutomaticSubmission, InnerRequests, RolesOf
from virtyard.jobs.automation_rpc import AutomationService
from virtyard.jobs.definitions import Definitions
from virtyard.jobs.event_tail import EventTail
from virtyard.jobs.job_filters import JobFilters
from virtyard.jobs.model import Operation
from virtyard.jobs.operation_ends import OperationEnds
from virtyard.jobs.run_states import RunStates
from virtyard.jobs.schedules import Schedules
from virtyard.jobs.store import Due, JobStore
from virtyard.jobs.submission import Submission
from virtyard.jobs.triggers import Triggers
from virtyard.jobs.webhooks import WebhookPolicy, Webhooks
from virtyard.kernel.clock import Clock
from virtyard.runtime.rpc import Service

__all__ = ["Automation"]


class Automation:
    """Follows what the inventory defines and submits what is due by it."""

    def __init__(
        self,
        *,
        channel: grpc.aio.Channel,
        definitions: Definitions,
        filters: JobFilters,
        running: Callable[[], Iterable[Operation]],
        store: JobStore,
        submission: Submission,
        methods: Iterable[MethodDescriptor],
        look: Callable[[int], Awaitable[Operation]],
        clock: Clock,
        on_due: Callable[[Sequence[Due]], None],
        webhooks: WebhookPolicy,
        roles: RolesOf,
    ) -> None:
        """Work with these.

        Args:
            channel: a channel to the inventory.
            definitions: what the inventory defines.
            filters: keep operations back.
            running: the operations that are being run.
            store: the scheduler's database.
            submission: what every request goes through.
            methods: those of all operation services.
            look: finds an operation by its number.
            clock: the process's clock.
            on_due: hands over what is due in other services.
            webhooks: how hard webhooks try.
            roles: gives the roles of those in whose name something is submitted.
        """
        self.inner = InnerRequests(methods)
        self._states = RunStates(store.database, on_due)
        self._definitions = definitions
        self._filters, self._running = filters, running
        submit = AutomaticSubmission(submission, self.inner, roles)
        self._triggers = Triggers(self._definitions, self._states, store, submit, clock)
        self._schedules = Schedules(self._definitions, self._states, submit, look, clock)
        self._webhooks = Webhooks(self._definitions, self._states, store.database, clock, webhooks)
        self._ends = OperationEnds(self._definitions, store, self._webhooks)
        self._tail = EventTail(channel, self._definitions, self._states, self._take)

    @property
    def service(self) -> Service:
        """What shows it to others."""
        descriptor = automation_service_pb2.DESCRIPTOR.services_by_name["AutomationService"]
        return Service(
            descriptor,
            AutomationService(
                self._definitions,
                self._states,
                self._schedules,
                self.inner,
                self._filters,
                self._running,
                self._webhooks,
            ),
        )

    async def open(self) -> None:
        """Read what an earlier process left."""
        await self._states.recall()

    async def run(self) -> None:
        """Do what is due until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tail.follow(), name="event tail")
            tasks.create_task(self._schedules.run(), name="schedules")
            tasks.create_task(self._webhooks.run(), name="webhooks")
            tasks.create_task(self._ends.run(), name="ends of operations")
            tasks.create_task(self._triggers.retries.run(), name="retries")

    async def _take(self, event: event_pb2.Event, belongs_to: Sequence[str], token: str) -> None:
        """Have an event fire triggers, then put it in line for webhooks; the last of them moves the token."""
        webhooks = self._webhooks.waiting(event, belongs_to)
        await self._triggers.take(event, "" if webhooks else token)
        if webhooks:
            await self._webhooks.take(event, token, webhooks)
