"""Acknowledging: a person takes note of events, after another look at what they tell of.

What an event tells of is looked at in the transaction that acknowledges it, or just before where the locks say it. Of a
CRITICAL one that still holds this is refused, as operations would be let through; force does it all the same. Who
acknowledges a WARNING says that it was seen, so that is done, and the event keeps what still held. It is no job: no
object changes, and the event itself keeps who did it, when, why, and whether by force.
"""

from __future__ import annotations

from dataclasses import dataclass

from virtyard.api.inventory.v1 import event_pb2, inventory_service_pb2
from virtyard.inventory.activity import LockActivity
from virtyard.inventory.belonging import BELONGING
from virtyard.inventory.conditions import still_holds
from virtyard.inventory.event_changes import acknowledge, read_event
from virtyard.inventory.event_log import read_events
from virtyard.inventory.listing import EVENTS, parse_place
from virtyard.inventory.model import Page, Query, Reader
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import ConditionHolds, InvalidRequest, Unavailable, VirtyardError
from virtyard.kernel.event_types import find
from virtyard.runtime.database import Database, Transaction

__all__ = ["Acknowledging", "triage"]

_MOST = 1000
_LONGEST_COMMENT = 4000
_WORST = "SELECT body FROM event WHERE open = 1 AND object IN ({names}) ORDER BY severity DESC, number DESC LIMIT 1"
_COUNT = "SELECT count(*) FROM event WHERE open = 1 AND object IN ({names})"


def triage(reader: Reader, name: str, *, within: bool) -> inventory_service_pb2.GetTriageEventResponse:
    """Return the worst open event of an object, the latest of several, and how many are open.

    Args:
        reader: a snapshot.
        name: the object, which need not exist any more.
        within: look also at what belongs to it.
    """
    names = BELONGING if within else "?"
    found = reader.execute(_WORST.format(names=names), (name,)).fetchone()
    (count,) = reader.execute(_COUNT.format(names=names), (name,)).fetchone()
    event = event_pb2.Event.FromString(found[0]) if found is not None else None
    return inventory_service_pb2.GetTriageEventResponse(event=event, open_events=count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledging:
    """Acknowledges events for people."""

    database: Database
    """inventory.db."""
    clock: Clock
    """Says when."""
    activity: LockActivity | None
    """Who locks what; None without a lock service."""

    async def one(self, request: inventory_service_pb2.AcknowledgeEventRequest, principal: str) -> event_pb2.Event:
        """Acknowledge an event; one that was acknowledged before stays as it was.

        Raises:
            NotFound: there is no such event.
            WrongState: nobody needs to acknowledge it.
            ConditionHolds: what it tells of still holds.
            Unavailable: whether that holds cannot be told now.
            InvalidRequest: the comment is too long.
        """
        _check_comment(request.comment)
        return await self._acknowledge(request.name, principal, request.comment, force=request.force)

    async def many(
        self, request: inventory_service_pb2.AcknowledgeEventsRequest, principal: str
    ) -> inventory_service_pb2.AcknowledgeEventsResponse:
        """Acknowledge the open events that a filter matches, each by itself, or tell what that would come to.

        Raises:
            InvalidRequest: the filter is missing or cannot be read, or the comment is too long; nothing was changed.
        """
        _check_comment(request.comment)
        if not request.filter.strip():
            raise InvalidRequest.of("filter", "is required: say which events, as 'type = JOB_FAILED'")
        text = f"open = true AND ({request.filter})"
        answer = inventory_service_pb2.AcknowledgeEventsResponse()
        token = ""
        while True:
            page = await self._page(text, token)
            for event in page.items[: _MOST - len(answer.acknowledgements)]:
                answer.acknowledgements.append(await self._try(event, request, principal))
            token = page.next_page_token
            if not token or len(answer.acknowledgements) == _MOST:
                return answer

    async def _page(self, text: str, token: str) -> Page:
        query = Query(collection=EVENTS, size=_MOST, filter=text, order_by="name", page_token=token)
        place = parse_place(query)
        return await self.database.read(lambda reader: read_events(reader, query, place))

    async def _try(
        self, event: event_pb2.Event, request: inventory_service_pb2.AcknowledgeEventsRequest, principal: str
    ) -> inventory_service_pb2.Acknowledgement:
        refusal = held = ""
        try:
            if request.validate_only:
                held, refused = await self.database.read(lambda reader: self._look(reader, event))
                refusal = refused.message if refused is not None and not request.force else ""
            else:
                done = await self._acknowledge(event.name, principal, request.comment, force=request.force)
                held = done.still_held
        except VirtyardError as error:
            refusal = error.message
        return inventory_service_pb2.Acknowledgement(
            event=event.name,
            type=event.type,
            object=event.object,
            acknowledged=not refusal,
            refusal=refusal,
            still_held="" if refusal else held,
        )

    async def _acknowledge(self, name: str, principal: str, comment: str, *, force: bool) -> event_pb2.Event:
        now = self.clock.now()

        def run(transaction: Transaction) -> event_pb2.Event:
            transaction.transition("inventory.acknowledged")
            event = read_event(transaction, name)
            held, refused = self._look(transaction, event)
            if refused is not None and not force:
                raise refused
            forced = refused is not None
            return acknowledge(
                transaction, name, by=principal, comment=comment, forced=forced, still_held=held, now=now
            )

        return await self.database.write(run)

    def _look(self, reader: Reader, event: event_pb2.Event) -> tuple[str, VirtyardError | None]:
        """Return what still holds of what an event tells of, and the error that refuses it without force."""
        error: VirtyardError
        try:
            holding = still_holds(reader, self.activity, event)
            error = _refusal(event, holding)
        except Unavailable as unknown:
            holding, error = unknown.message, unknown
        grave = event.severity == event_pb2.SEVERITY_CRITICAL
        return holding, error if holding and grave else None


def _refusal(event: event_pb2.Event, holding: str) -> ConditionHolds:
    kind = find(event.type)
    advice = kind.advice if kind is not None else ""
    return ConditionHolds(
        f"{event.name} cannot be acknowledged, as what it tells of still holds: {holding}. {advice} "
        "To acknowledge it all the same, use force; that is recorded",
        resource=event.name,
        metadata={"event": event.name, "object": event.object, "type": event.type},
    )


def _check_comment(comment: str) -> None:
    if len(comment) > _LONGEST_COMMENT:
        raise InvalidRequest.of(
            "comment", f"{len(comment)} characters are too many; at most {_LONGEST_COMMENT} are allowed"
        )
