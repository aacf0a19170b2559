"""The ends of operations, as webhooks send them: put in line in the very commit that ends an operation.

So no end is told that is not durable, and none is missed, whenever the process ends; there is no place in a feed that
could be lost. Where the webhooks are not known for certain, as at the start, or after an operation that has just made
or changed one, the end is put aside in its commit, and put in line once they are.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from google.longrunning import operations_pb2

from virtyard.api.inventory.v1 import webhook_pb2
from virtyard.api.jobs.v1 import operation_pb2
from virtyard.jobs.definitions import Definitions
from virtyard.jobs.model import Operation, operation_number
from virtyard.jobs.store import JobStore
from virtyard.jobs.webhook_message import body_of_end, delivery_id_of_end, end_type, shown_at_end
from virtyard.jobs.webhook_store import Delivery, put_aside, read_aside, take_from_aside
from virtyard.jobs.webhooks import Webhooks
from virtyard.kernel.errors import InvalidRequest, NotFound, VirtyardError
from virtyard.kernel.filters import compile_filter
from virtyard.kernel.names import collection_of
from virtyard.runtime.database import Transaction

__all__ = ["OperationEnds"]

_PAUSE = 1.0
_SENT = (webhook_pb2.WEBHOOK_CONTENT_OPERATIONS, webhook_pb2.WEBHOOK_CONTENT_EVENTS_AND_OPERATIONS)
_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Note:
    """What is written with the end of an operation, and what follows once it is durable."""

    put: Callable[[Transaction], set[str]]
    follow: Callable[[set[str]], None]
    crowded: set[str] = field(default_factory=set)

    def write(self, transaction: Transaction) -> None:
        """Write it, in the transaction of the end."""
        self.crowded = self.put(transaction)

    def committed(self) -> None:
        """Go on, once it is durable."""
        self.follow(self.crowded)


class OperationEnds:
    """Puts the ends of operations in line for the webhooks that are to send them."""

    def __init__(self, definitions: Definitions, store: JobStore, webhooks: Webhooks) -> None:
        """Look at every operation that the store ends from now on.

        Args:
            definitions: the webhooks there are.
            store: the scheduler's store.
            webhooks: sends what is in line.
        """
        self._definitions, self._store, self._webhooks = definitions, store, webhooks
        self._changed: set[str] = set()
        self._crowded: set[str] = set()
        self._reading = False
        self._woken = asyncio.Event()
        store.with_end = self.note

    def note(self, operation: Operation) -> _Note | None:
        """Return what is to be written with the end of an operation; None if nothing is."""
        changed = {lock.object for lock in operation.shape.plan.locks if collection_of(lock.object) == "webhooks"}

        def follow(crowded: set[str]) -> None:
            self._changed |= changed
            self._crowded |= crowded
            for each in deliveries:
                self._webhooks.wake(each.webhook)
            if aside or changed or crowded:
                self._woken.set()

        aside, deliveries, now = self._is_unsure, list[Delivery](), self._webhooks.now()
        if aside:
            return _Note(put=lambda transaction: put_aside(transaction, operation.name, now), follow=follow)
        deliveries += self._deliveries(operation)
        if not deliveries and not changed:
            return None
        return _Note(put=lambda transaction: self._put(transaction, deliveries), follow=follow)

    async def run(self) -> None:
        """Put in line what was put aside, until cancelled."""
        await self._definitions.loaded()
        while True:
            self._woken.clear()
            try:
                await self._catch_up()
            except VirtyardError as error:
                _log.debug("the ends of operations are put in line later: %s", error)
                await asyncio.sleep(_PAUSE)
                continue
            await self._woken.wait()

    @property
    def _is_unsure(self) -> bool:
        """Whether there may be another webhook than those that are known, or one of them may be another now."""
        return not self._definitions.are_loaded or bool(self._changed) or self._reading

    async def _catch_up(self) -> None:
        """Read the webhooks that have changed, then put in line the ends that were put aside meanwhile."""
        self._reading = True
        while self._changed:
            name = self._changed.pop()
            try:
                await self._definitions.refresh(name)
            except BaseException:
                self._changed.add(name)
                raise
        self._reading = False
        # As a write, so that it comes behind every end that was put aside until now.
        for name in await self._store.database.write(lambda transaction: read_aside(transaction.connection)):
            await self._put_in_line(name)
        for webhook in self._definitions.webhooks():
            if webhook.uid in self._crowded:
                await self._webhooks.tell_crowded(webhook)
                self._crowded.discard(webhook.uid)

    async def _put_in_line(self, name: str) -> None:
        try:
            deliveries = self._deliveries(await self._store.get(operation_number(name)))
        except NotFound:
            deliveries = []  # the history has forgotten it meanwhile

        def write(transaction: Transaction) -> set[str]:
            crowded = self._put(transaction, deliveries)
            take_from_aside(transaction, name)
            transaction.transition("jobs.webhook_ends")
            return crowded

        self._crowded |= await self._store.database.write(write)
        for each in deliveries:
            self._webhooks.wake(each.webhook)

    def _put(self, transaction: Transaction, deliveries: Sequence[Delivery]) -> set[str]:
        return self._webhooks.put(transaction, deliveries) if deliveries else set()

    def _deliveries(self, operation: Operation) -> list[Delivery]:
        """Return what is to be sent of an end: nothing, mostly."""
        asked = [each for each in self._definitions.webhooks() if _may_want(each, operation)]
        if not asked:
            return []
        try:
            shown = shown_at_end(operation)
            now, metadata = self._webhooks.now(), operation_pb2.OperationMetadata.FromString(shown.metadata.value)
            return [_line_up(each, operation, shown, now) for each in asked if _passes(each, metadata)]
        except Exception:  # noqa: BLE001 - whatever cannot be told must not keep an operation from ending; it is logged
            _log.exception("no webhook is told of the end of %s", operation.name)
            return []


def _line_up(
    webhook: webhook_pb2.Webhook, operation: Operation, shown: operations_pb2.Operation, now: float
) -> Delivery:
    identifier = delivery_id_of_end(webhook.uid, operation)
    return Delivery(
        place=0,
        webhook=webhook.uid,
        id=identifier,
        event=operation.name,
        event_type=end_type(operation),
        body=body_of_end(operation, shown, identifier),
        attempts=0,
        create_time=now,
        next_time=now,
        last_error="",
    )


def _may_want(webhook: webhook_pb2.Webhook, operation: Operation) -> bool:
    """Tell whether a webhook sends ends of operations, and of those that lock what it is for; none is about itself."""
    if webhook.content not in _SENT or webhook.state == webhook_pb2.WEBHOOK_STATE_DISABLED:
        return False
    locked = {lock.object for lock in operation.shape.plan.locks}
    return webhook.name not in locked and (not webhook.within or webhook.within in locked)


def _passes(webhook: webhook_pb2.Webhook, metadata: operation_pb2.OperationMetadata) -> bool:
    try:
        return compile_filter(webhook.operation_filter, operation_pb2.OperationMetadata.DESCRIPTOR)(metadata)
    except InvalidRequest as error:
        # It was written under a release that had another field.
        _log.warning("%s: %s", webhook.name, error)
        return False
