"""InventoryService: every Get and List is served by one handler that reads the kind from the method's descriptor."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Any

from google.api import resource_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from virtyard.api.inventory.v1 import inventory_service_pb2
from virtyard.inventory.activity import LockActivity
from virtyard.inventory.listing import EVENTS
from virtyard.inventory.model import Query, TypedObject
from virtyard.inventory.object_frames import ObjectFrames, compile_object_filter
from virtyard.inventory.sqlite_store import snapshot
from virtyard.inventory.store import InventoryStore
from virtyard.kernel.errors import InternalError, InvalidRequest
from virtyard.kernel.names import check_id
from virtyard.runtime.batches import messages
from virtyard.runtime.call import Call
from virtyard.runtime.feed import Feed

__all__ = ["InventoryRpc", "page_size"]

_DEFAULT_PAGE = 100
_LARGEST_PAGE = 1000


class InventoryRpc:
    """Serves reads and watches of objects and events."""

    def __init__(self, store: InventoryStore, feed: Feed, activity: LockActivity | None) -> None:
        """Use the store, its feed, and what is known of locks; None where nothing is."""
        self._store = store
        self._feed = feed
        self._activity = activity
        self._frames = ObjectFrames(self._activity_of)
        self._handlers = {
            method.full_name: self._handler(method)
            for method in inventory_service_pb2.DESCRIPTOR.services_by_name["InventoryService"].methods
            if not method.server_streaming
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
            page = await self._store.list(
                Query(
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
        """Put into objects who locks them."""
        if collection == EVENTS:
            return
        for item in items:
            activity = self._activity_of(item.name)
            if activity is not None:
                item.activity.CopyFrom(activity)

    def _activity_of(self, name: str) -> Any:
        return self._activity.of(name) if self._activity is not None else None


def page_size(asked: int) -> int:
    """Return how many items a page may have.

    Raises:
        InvalidRequest: the size is negative.
    """
    if asked < 0:
        raise InvalidRequest.of("page_size", f"{asked} is not allowed; allowed are 0 for {_DEFAULT_PAGE}, and more")
    return min(asked or _DEFAULT_PAGE, _LARGEST_PAGE)


def _collection(descriptor: Any) -> str:
    return str(descriptor.GetOptions().Extensions[resource_pb2.resource].plural)
