"""Webhooks: what one lets through is sent to its receiver, at least once, signed, again if need be.

An event is put in line in the commit that says how far the events were looked at, the end of an operation in the one
that ends it (`operation_ends`), so none is forgotten whenever the process ends; each leaves the line in a commit after
the receiver took it, so one may be sent twice, under the same id. A receiver that refuses is left alone for longer and
longer; what it refuses does not keep back the others. What was tried for a day, or is crowded out, is kept apart, and
sent again or forgotten when somebody asks for it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from virtyard.api.inventory.v1 import event_pb2, webhook_pb2
from virtyard.jobs.definitions import Definitions, concerns
from virtyard.jobs.due_events import due_event
from virtyard.jobs.run_states import RunStates
from virtyard.jobs.webhook_message import body_of, delivery_id, headers_of, secret_of
from virtyard.jobs.webhook_store import Delivery, WebhookStore, postpone, put_deliveries, take_off
from virtyard.kernel import event_types
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import VirtyardError
from virtyard.runtime.database import Database, Transaction
from virtyard.runtime.scope import TaskScope

__all__ = ["WEBHOOK_POLICY", "WebhookPolicy", "Webhooks"]

_GONE = 410
_LONGEST_ERROR = 300
_LONGEST_WAIT = 3600.0
_DOUBLINGS = 20
_OVERFLOW = "given up unsent: too many events wait for this receiver"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookPolicy:
    """How hard webhooks try."""

    give_up: timedelta
    """The time since an event was put in line after which it is given up."""
    pending: int
    """How many events may wait for each receiver."""
    dead: int
    """How many given up events of each webhook are kept."""
    timeout: float
    """Seconds within which a receiver must have answered."""
    first_pause: float
    """Seconds after a first failure; twice as many after each further one."""
    longest_pause: float
    """Seconds between two attempts at most, unless the receiver asks for more."""


WEBHOOK_POLICY = WebhookPolicy(
    give_up=timedelta(hours=24), pending=10_000, dead=1_000, timeout=10.0, first_pause=1.0, longest_pause=300.0
)
"""What a site does."""


class Webhooks:
    """Puts events in line and sends them."""

    def __init__(
        self,
        definitions: Definitions,
        states: RunStates,
        database: Database,
        clock: Clock,
        policy: WebhookPolicy = WEBHOOK_POLICY,
    ) -> None:
        """Work with these.

        Args:
            definitions: the webhooks there are.
            states: what each has sent.
            database: jobs.db.
            clock: the process's clock.
            policy: how hard to try.
        """
        self.store = WebhookStore(database)
        self._definitions, self._states, self._database = definitions, states, database
        self._clock, self._policy = clock, policy
        self._senders: dict[str, _Sender] = {}
        self._changed = asyncio.Event()
        definitions.listen(self._changed.set)

    def waiting(self, event: event_pb2.Event, belongs_to: Sequence[str]) -> list[webhook_pb2.Webhook]:
        """Return the webhooks that are to send an event, given what its object belongs to."""
        resting, places = webhook_pb2.WEBHOOK_STATE_DISABLED, {"", event.object, *belongs_to}
        known = [
            each
            for each in self._definitions.webhooks()
            if each.state != resting
            and each.within in places
            and each.content != webhook_pb2.WEBHOOK_CONTENT_OPERATIONS
        ]
        return [each for each in known if concerns(each, event)]

    async def take(self, event: event_pb2.Event, token: str, webhooks: list[webhook_pb2.Webhook]) -> None:
        """Put an event in line for these webhooks; durable with the token when this returns.

        Raises:
            RetryError: the database cannot be reached; the event is to be taken again.
        """
        now = self._clock.now().timestamp()
        deliveries = [_line_up(webhook, event, now) for webhook in webhooks]

        def write(transaction: Transaction) -> set[str]:
            crowded = self.put(transaction, deliveries)
            self._states.put_token(transaction, token)
            transaction.transition("jobs.webhook_queued")
            return crowded

        crowded = await self._database.write(write, after=lambda _: self._states.keep_token(token))
        for webhook in webhooks:
            if webhook.uid in crowded:
                await self.tell_crowded(webhook)
            self.wake(webhook.uid)

    def put(self, transaction: Transaction, deliveries: Sequence[Delivery]) -> set[str]:
        """Put deliveries in line in a transaction of the caller's; return the webhooks that have no room for all."""
        policy = self._policy
        return put_deliveries(transaction, deliveries, pending=policy.pending, dead=policy.dead, overflow=_OVERFLOW)

    def wake(self, uid: str) -> None:
        """Have a webhook look at what is in line, once that is durable."""
        if sender := self._senders.get(uid):
            sender.wake()

    async def tell_crowded(self, webhook: webhook_pb2.Webhook) -> None:
        """Raise the event that says that there is no room for all that waits for a receiver."""
        await self._tell(webhook, _OVERFLOW)

    async def retry(self, webhook: webhook_pb2.Webhook, identifier: str) -> int:
        """Put what was given up in line again, one delivery or all; returns how many."""
        count = await self.store.retry(webhook.uid, identifier, self._clock.now().timestamp())
        if sender := self._senders.get(webhook.uid):
            sender.hurry()
        return count

    async def discard(self, webhook: webhook_pb2.Webhook, identifier: str) -> int:
        """Forget what was given up, one delivery or all; returns how many."""
        return await self.store.discard(webhook.uid, identifier)

    async def secret(self, webhook: webhook_pb2.Webhook) -> bytes:
        """Return the secret that a webhook signs with now: 32 bytes."""
        return secret_of(await self.store.key(), webhook.uid, webhook.secret_version)

    async def run(self) -> None:
        """Send until cancelled."""
        await self._definitions.loaded()
        logging.getLogger("httpx").setLevel(logging.WARNING)
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=20)
        # Neither proxies nor certificates from the environment: what is reached is what the webhook says.
        async with (
            httpx.AsyncClient(
                trust_env=False, follow_redirects=False, timeout=self._policy.timeout, limits=limits
            ) as client,
            TaskScope("webhooks") as tasks,
        ):
            while True:
                self._changed.clear()
                await self._follow(client, tasks)
                await self._changed.wait()

    async def _follow(self, client: httpx.AsyncClient, tasks: TaskScope) -> None:
        """Have a sender for each webhook that is enabled, and for no other."""
        known = {each.uid: each for each in self._definitions.webhooks()}
        for uid, webhook in known.items():
            resting = webhook.state == webhook_pb2.WEBHOOK_STATE_DISABLED
            sender = self._senders.get(uid)
            if sender is None and not resting:
                self._senders[uid] = sender = _Sender(webhook, self, client)
                sender.task = tasks.start(sender.run(), name=webhook.name)
            elif sender is not None and resting:
                await self._end(uid)
            elif sender is not None and sender.webhook.etag != webhook.etag:
                sender.webhook = webhook
                sender.hurry()
        for uid in set(self._senders) - set(known):
            await self._end(uid)
        try:
            await self.store.forget_others(set(known))
        except VirtyardError as error:
            _log.warning("what deleted webhooks had still to send is forgotten later: %s", error)

    async def _end(self, uid: str) -> None:
        task = self._senders.pop(uid).task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    # What a sender needs.

    @property
    def policy(self) -> WebhookPolicy:
        """How hard to try."""
        return self._policy

    def now(self) -> float:
        """Return the wall time in seconds."""
        return self._clock.now().timestamp()

    async def headers(self, webhook: webhook_pb2.Webhook, delivery: Delivery) -> dict[str, str]:
        """Return the signed headers of an attempt that is made now."""
        key, version = await self.store.key(), webhook.secret_version
        secrets = [secret_of(key, webhook.uid, one) for one in (version, version - 1) if one > 0]
        return headers_of(secrets, delivery.id, self._clock.now(), delivery.body)

    async def note_taken(self, webhook: webhook_pb2.Webhook, delivery: Delivery) -> None:
        """Take a delivery off the line."""
        state = self._states.of(webhook.uid)
        state.name, state.last_error = webhook.name, ""
        state.runs += 1
        state.last_time.FromDatetime(self._clock.now())

        def write(transaction: Transaction) -> None:
            take_off(transaction, delivery)
            self._states.put(transaction, webhook.uid, state)
            transaction.transition("jobs.webhook_taken")

        await self._database.write(write, after=lambda _: self._states.keep(webhook.uid, state))

    async def note_failed(
        self, webhook: webhook_pb2.Webhook, delivery: Delivery, error: str, next_time: float | None
    ) -> None:
        """Note a failed attempt, and when the next is; None gives it up, of which an event tells."""
        if next_time is None:
            await self._tell(webhook, f"given up: {error}")
        state = self._states.of(webhook.uid)
        state.name, state.last_error = webhook.name, error

        def write(transaction: Transaction) -> None:
            postpone(transaction, delivery, next_time, error, self._policy.dead)
            self._states.put(transaction, webhook.uid, state)
            transaction.transition("jobs.webhook_failed")

        await self._database.write(write, after=lambda _: self._states.keep(webhook.uid, state))

    async def _tell(self, webhook: webhook_pb2.Webhook, error: str) -> None:
        """Raise the event that says that events are not delivered; once in an hour."""
        key = f"{webhook.uid}/failed/{self._clock.now().astimezone(UTC):%Y%m%d%H}"
        text = f"{webhook.name} could not deliver events: {error}"
        due = [due_event(key, event_types.WEBHOOK_FAILED, webhook.name, text)]
        await self._states.save(webhook.uid, self._states.of(webhook.uid), due=due)
        _log.warning("%s", text)


class _Sender:
    """Sends what is due for one webhook, one after the other."""

    def __init__(self, webhook: webhook_pb2.Webhook, webhooks: Webhooks, client: httpx.AsyncClient) -> None:
        self.webhook = webhook
        self.task: asyncio.Task[Any] | None = None
        self._webhooks, self._client = webhooks, client
        self._failures = 0
        self._quiet_until = 0.0
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look what is due; the receiver is left alone for as long as it was to be."""
        self._woken.set()

    def hurry(self) -> None:
        """Try now, because a person changed something."""
        self._failures, self._quiet_until = 0, 0.0
        self._woken.set()

    async def run(self) -> None:
        while True:
            self._woken.clear()
            try:
                wait = await self._send_one()
            except VirtyardError as error:
                # Nothing of it is lost: what was not noted is sent again.
                _log.warning("%s: %s", self.webhook.name, error)
                wait = self._webhooks.policy.first_pause
            except Exception:  # noqa: BLE001 - one webhook's trouble must not end the others; it is logged
                _log.exception("%s goes on after a pause", self.webhook.name)
                wait = self._webhooks.policy.longest_pause
            if wait is None or wait > 0:
                await self._sleep(wait)

    async def _send_one(self) -> float | None:
        """Send what is due first, if it is due; return the seconds to wait, None for until something comes."""
        delivery = await self._webhooks.store.due(self.webhook.uid)
        if delivery is None or delivery.next_time is None:
            return None
        wait = max(delivery.next_time, self._quiet_until) - self._webhooks.now()
        if wait > 0:
            return wait
        webhook = self.webhook
        error, gone, asked = await self._attempt(webhook, delivery)
        if not error:
            self._failures, self._quiet_until = 0, 0.0
            await self._webhooks.note_taken(webhook, delivery)
            return 0.0
        now = self._webhooks.now()
        old = now - delivery.create_time >= self._webhooks.policy.give_up.total_seconds()
        next_time = None if gone or old else now + max(asked, self._pause(delivery.attempts + 1))
        self._failures += 1
        self._quiet_until = now + max(asked, self._pause(self._failures))
        await self._webhooks.note_failed(webhook, delivery, error, next_time)
        return 0.0

    async def _attempt(self, webhook: webhook_pb2.Webhook, delivery: Delivery) -> tuple[str, bool, float]:
        """Send; return why it failed, empty if it did not, whether for good, and for how long to be quiet at least."""
        headers = await self._webhooks.headers(webhook, delivery)
        timeout = self._webhooks.policy.timeout
        try:
            async with (
                asyncio.timeout(timeout),
                self._client.stream("POST", webhook.url, content=delivery.body, headers=headers) as answer,
            ):
                status, after = answer.status_code, answer.headers.get("retry-after", "")
        except TimeoutError:
            return f"no answer within {timeout:g} s", False, 0.0
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return f"{type(error).__name__}: {error}"[:_LONGEST_ERROR], False, 0.0
        if httpx.codes.is_success(status):
            return "", False, 0.0
        text = f"the receiver answered {status} {httpx.codes.get_reason_phrase(status)}".rstrip()
        if httpx.codes.is_redirect(status):
            text += "; redirects are not followed"
        return text, status == _GONE, _asked_wait(after, self._webhooks.now())

    def _pause(self, failures: int) -> float:
        policy = self._webhooks.policy
        pause = min(policy.first_pause * 2.0 ** min(failures - 1, _DOUBLINGS), policy.longest_pause)
        return pause * random.uniform(0.75, 1.0)  # noqa: S311 - spreads attempts, guards nothing

    async def _sleep(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass


def _asked_wait(after: str, now: float) -> float:
    """Return for how many seconds a receiver asks to be left alone, by seconds or by a date (RFC 9110, 10.2.3)."""
    if after.isdigit():
        return min(float(after), _LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(after).timestamp() if after else now
    except ValueError:
        return 0.0
    return min(max(at - now, 0.0), _LONGEST_WAIT)


def _line_up(webhook: webhook_pb2.Webhook, event: event_pb2.Event, now: float) -> Delivery:
    identifier = delivery_id(webhook.uid, event)
    return Delivery(
        place=0,
        webhook=webhook.uid,
        id=identifier,
        event=event.name,
        event_type=event.type,
        body=body_of(event, identifier),
        attempts=0,
        create_time=now,
        next_time=now,
        last_error="",
    )
