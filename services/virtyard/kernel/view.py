"""The part of the inventory that a plan is made from: objects read together, at one position of the feed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar, cast

from google.protobuf.message import Message

from virtyard.api.inventory.v1 import event_pb2, object_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import EtagMismatch, NotFound
from virtyard.kernel.names import kind_of, unwrap
from virtyard.kernel.relations import lock_parent

M = TypeVar("M", bound=Message)


class View:
    """Objects by name, with what was asked for; never changed once made."""

    def __init__(
        self,
        objects: Iterable[object_pb2.Object],
        selections: Sequence[participant.Selection],
        *,
        sequence: int = 0,
        owner_id: str = "",
        blocking: Iterable[event_pb2.Event] = (),
    ) -> None:
        """Keep the objects of one reading.

        Args:
            objects: every object that the selections led to.
            selections: what was asked for.
            sequence: position of the inventory's feed, a rising count.
            owner_id: the id of this Virtyard.
            blocking: the open events of these objects that block operation types.
        """
        self._objects = {cast("Any", message).name: message for message in map(unwrap, objects)}
        self.selections = tuple(selections)
        self.sequence = sequence
        self.owner_id = owner_id
        self.blocking = tuple(blocking)

    def find(self, name: str, message: type[M]) -> M | None:
        """Return the object of this name; None if it does not exist."""
        found = self._objects.get(name)
        return found if isinstance(found, message) else None

    def get(self, name: str, message: type[M], *, field: str = "", etag: str = "") -> M:
        """Return the object of this name.

        Args:
            name: the resource name.
            message: the class of the typed object.
            field: the request's field that named it, for the refusal; the field of the etag is beside it.
            etag: the etag that the caller read it with; empty for any.

        Raises:
            NotFound: it does not exist.
            EtagMismatch: it changed since.
        """
        found = self.find(name, message)
        if found is None:
            text = f"{kind_of(name).noun} {name} does not exist"
            raise NotFound(f"{field}: {text}" if field else text, resource=name, metadata={"field": field})
        if etag and etag != cast("Any", found).etag:
            at = f"{field.rpartition('.')[0]}.etag".lstrip(".")
            raise EtagMismatch(
                f"{at}: {name} has changed since it was read; it has etag {cast('Any', found).etag} now",
                resource=name,
                metadata={"field": at, "etag": cast("Any", found).etag},
            )
        return found

    def exists(self, name: str) -> bool:
        """Tell whether an object of this name was there."""
        return name in self._objects

    def of(self, message: type[M], **fields: object) -> list[M]:
        """Return the objects of a class whose fields have these values, by name."""
        found = [item for item in self._objects.values() if isinstance(item, message)]
        matching = [item for item in found if all(getattr(item, key) == value for key, value in fields.items())]
        return sorted(matching, key=lambda item: str(cast("Any", item).name))

    def ancestors(self, name: str) -> Iterator[str]:
        """Yield the names above an object in the lock tree, the nearest first."""
        current = self._objects.get(name)
        while current is not None and (parent := lock_parent(current)):
            yield parent
            current = self._objects.get(parent)

    def requirement(self) -> participant.Requirement:
        """Return what was read, with the version of each and what blocks it; names that were free have no uid."""
        absent = {selection.object for selection in self.selections} - self._objects.keys()
        versions = [participant.ObjectVersion(object=name) for name in absent]
        versions += [
            participant.ObjectVersion(object=name, uid=cast("Any", item).uid, generation=cast("Any", item).generation)
            for name, item in self._objects.items()
        ]
        versions.sort(key=lambda version: version.object)
        blocking = [event.name for event in self.blocking]
        return participant.Requirement(selections=self.selections, versions=versions, blocking_events=blocking)


def select(name: str, *follow: str) -> participant.Selection:
    """Return a selection of one object and what the paths lead to, as `server_pool/servers@server_pool`."""
    return participant.Selection(object=name, follow=follow)


def changed_objects(before: participant.Requirement, after: participant.Requirement) -> list[str]:
    """Return the names of objects that are not the same in two readings."""

    def versions(requirement: participant.Requirement) -> dict[str, tuple[str, int]]:
        return {version.object: (version.uid, version.generation) for version in requirement.versions}

    old, new = versions(before), versions(after)
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


__all__ = ["View", "changed_objects", "select"]
