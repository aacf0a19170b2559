"""InventoryService: every Get and List is served by one handler that reads the kind from the method's descriptor."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

from google.api import resource_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from virtyard.api.inventory.v1 import event_pb2, inventory_service_pb2
from virtyard.api.type.v1 import activity_pb2
from virtyard.inventory.acknowledging import Acknowledging
from virtyard.inventory.belonging import Belonging
from virtyard.inventory.event_frames import watch_events
from virtyard.inventory.listing import EVENTS
from virtyard.inventory.model import Query, TypedObject
from virtyard.inventory.object_frames import ObjectFrames, compile_object_filter
from virtyard.inventory.sqlite_store import snapshot
from virtyard.inventory.store import InventoryStore
from virtyard.kernel.errors import InternalError, InvalidRequest
from virtyard.kernel.names import check_id
from virtyard.kernel.time_filters import filter_of
from virtyard.runtime.batches import messages
from virtyard.runtime.call import Call
from virtyard.runtime.feed import Feed

__all__ = ["InventoryRpc", "page_size"]

_DEFAULT_PAGE = 100
_LARGEST_PAGE = 1000


class InventoryRpc:
    """Serves reads and watches of objects and events."""

    def __init__(
        self,
        store: InventoryStore,
        feed: Feed,
        activity_of: Callable[[TypedObject], activity_pb2.Activity],
        acknowledging: Acknowledging,
        belonging: Belonging,
    ) -> None:
        """Use the store, its feed, and what is known of an object: its activity, and where it belongs."""
        self._belonging = belonging
        self._store = store
        self._acknowledging = acknowledging
        self._feed = feed
        self._activity_of = activity_of
        self._frames = ObjectFrames(activity_of)
        self._handlers = {
            method.full_name: self._handler(method)
            for method in inventory_service_pb2.DESCRIPTOR.services_by_name["InventoryService"].methods
            if not hasattr(self, method.name)
        }

    async def handle(self, method: MethodDescriptor, request: Any, call: Call) -> Message:
        """Answer a Get or a List.

        Raises:
            NotFound: there is no such object.
            InvalidRequest: a field of the request is wrong.
        """
        return await self._handlers[method.full_name](request)

    async def WatchObjects(
        self,
        request: inventory_service_pb2.WatchObjectsRequest,
        call: Call,
    ) -> AsyncGenerator[bytes, None]:
        """Watch objects of all kinds."""
        matches = compile_object_filter(request.filter)
        batches = self._feed.watch_batches(["object"], request.options, snapshot, matches)
        response = inventory_service_pb2.WatchObjectsResponse.DESCRIPTOR
        async for message in messages(batches, self._frames.encode, response, request.options):
            yield message

    async def WatchEvents(
        self,
        request: inventory_service_pb2.WatchEventsRequest,
        call: Call,
    ) -> AsyncGenerator[bytes, None]:
        """Watch events as they are recorded."""
        if request.within:
            _check_object(request.within, "within")
        frames = watch_events(self._feed, request, self._belonging)
        try:
            async for frame in frames:
                yield frame
        finally:
            await frames.aclose()

    async def CountEvents(
        self,
        request: inventory_service_pb2.CountEventsRequest,
        call: Call,
    ) -> inventory_service_pb2.CountEventsResponse:
        """Count events by type and severity.

        Raises:
            InvalidRequest: the filter cannot be read, or `within` is no name of an object.
        """
        if request.within:
            _check_object(request.within, "within")
        counted = await self._store.count_events(request.filter, within=request.within)
        ordered = sorted(counted.items(), key=lambda item: (-item[0][1], item[0][0]))
        return inventory_service_pb2.CountEventsResponse(
            counts=[
                event_pb2.EventCount(type=kind, severity=event_pb2.Severity.ValueType(severity), count=count)
                for (kind, severity), count in ordered
            ]
        )

    async def ExportEvents(
        self,
        request: inventory_service_pb2.ExportEventsRequest,
        call: Call,
    ) -> AsyncIterator[inventory_service_pb2.ExportEventsResponse]:
        """Yield the events of the log and of the archive.

        Raises:
            InvalidRequest: the filter or the times are wrong, or `within` is no name of an object.
        """
        if request.within:
            _check_object(request.within, "within")
        wanted = filter_of(request, event_pb2.Event.DESCRIPTOR)
        async for event in self._store.export_events(wanted, request.within):
            yield inventory_service_pb2.ExportEventsResponse(event=event)

    async def GetTriageEvent(
        self,
        request: inventory_service_pb2.GetTriageEventRequest,
        call: Call,
    ) -> inventory_service_pb2.GetTriageEventResponse:
        """Return the worst open event of an object.

        Raises:
            InvalidRequest: the name is no name of an object.
        """
        _check_object(request.name, "name")
        return await self._store.triage(request.name, within=request.within)

    async def AcknowledgeEvent(
        self,
        request: inventory_service_pb2.AcknowledgeEventRequest,
        call: Call,
    ) -> event_pb2.Event:
        """Acknowledge an event; see `Acknowledging.one`."""
        return await self._acknowledging.one(request, call.principal.identity)

    async def AcknowledgeEvents(
        self,
        request: inventory_service_pb2.AcknowledgeEventsRequest,
        call: Call,
    ) -> inventory_service_pb2.AcknowledgeEventsResponse:
        """Acknowledge the open events that match; see `Acknowledging.many`."""
        return await self._acknowledging.many(request, call.principal.identity)

    def _handler(self, method: MethodDescriptor) -> Callable[[Any], Awaitable[Message]]:
        """Return what answers a method: Get gives a resource, List has one repeated field of them."""
        if method.name.startswith("Get"):
            return self._getter(_collection(method.output_type))
        if method.name.startswith("List"):
            field = next(field for field in method.output_type.fields if field.is_repeated)
            return self._lister(_collection(field.message_type), GetMessageClass(method.output_type), field.name)
        raise InternalError(f"{method.full_name} is neither a Get nor a List")

    def _getter(self, collection: str) -> Callable[[Any], Awaitable[Message]]:
        async def get(request: Any) -> Message:
            first, slash, last = request.name.partition("/")
            if first != collection or not slash:
                raise InvalidRequest.of("name", f"{request.name!r} is not such a name; allowed is {collection}/ID")
            check_id(last, "name")
            found: Message = await self._store.get(request.name)
            self._show([found], collection)
            return found

        return get

    def _lister(self, collection: str, answer: type[Message], field: str) -> Callable[[Any], Awaitable[Message]]:
        async def list_page(request: Any) -> Message:
            within = request.within if collection == EVENTS else ""
            if within:
                _check_object(within, "within")
            page = await self._store.list(
                Query(
                    within=within,
                    archived=collection == EVENTS and request.archived,
                    collection=collection,
                    size=page_size(request.page_size),
                    filter=request.filter,
                    order_by=request.order_by,
                    page_token=request.page_token,
                )
            )
            self._show(page.items, collection)
            token = self._feed.stem.at(page.sequence)
            return answer(**{field: page.items, "next_page_token": page.next_page_token, "watch_token": token})

        return list_page

    def _show(self, items: Iterable[TypedObject], collection: str) -> None:
        """Put into objects what is known of them beside their records."""
        if collection == EVENTS:
            return
        for item in items:
            item.activity.CopyFrom(self._activity_of(item))


def page_size(asked: int) -> int:
    """Return how many items a page may have.

    Raises:
        InvalidRequest: the size is negative.
    """
    if asked < 0:
        raise InvalidRequest.of("page_size", f"{asked} is not allowed; allowed are 0 for {_DEFAULT_PAGE}, and more")
    return min(asked or _DEFAULT_PAGE, _LARGEST_PAGE)


def _check_object(name: str, field: str) -> None:
    """Refuse what is no resource name.

    Raises:
        InvalidRequest: it is not of the form collection/ID.
    """
    collection, slash, last = name.partition("/")
    if not collection or not slash or not last:
        raise InvalidRequest.of(field, f"{name!r} is not the name of an object; allowed is one as virtualMachines/web")


def _collection(descriptor: Any) -> str:
    return str(descriptor.GetOptions().Extensions[resource_pb2.resource].plural)
