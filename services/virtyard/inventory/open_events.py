"""Open events: which are neither acknowledged nor cleared, by object, kept in memory as the feed tells of them.

Every object that is read or watched shows its worst one, so that a tree of thousands needs no call for each. What is
here is read from the log when the inventory opens, and is bounded by the open events that the log keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from typing_extensions import override

from virtyard.api.inventory.v1 import event_pb2
from virtyard.api.type.v1 import activity_pb2
from virtyard.inventory.event_changes import TOPIC
from virtyard.inventory.model import Reader
from virtyard.kernel.event_type import severity_word
from virtyard.runtime.entry import Entry
from virtyard.runtime.feed import Feed

__all__ = ["InventoryFeed", "OpenEvents", "read_open"]

_OPEN = "SELECT number, object, severity FROM event INDEXED BY event_open WHERE open = 1"


def read_open(reader: Reader) -> list[tuple[int, str, int]]:
    """Return (number, object, severity) of every open event."""
    return reader.execute(_OPEN).fetchall()


class OpenEvents:
    """The open events of all objects."""

    def __init__(self) -> None:
        """Know none until `load`."""
        self.changed: Callable[[Iterable[str]], None] = lambda _: None
        """Is told the names of objects whose open events changed."""
        self._of: dict[str, dict[int, int]] = {}
        self._objects: dict[int, str] = {}

    def load(self, rows: Iterable[tuple[int, str, int]]) -> None:
        """Begin with what `read_open` gave."""
        for number, name, severity in rows:
            self._put(number, name, severity)

    def take(self, event: event_pb2.Event) -> None:
        """Take note of an event as it is now."""
        number = int(event.name.rpartition("/")[2])
        if event.open:
            self._put(number, event.object, int(event.severity))
            self.changed([event.object])
        elif number in self._objects:
            self.changed([self._drop(number)])

    def forget(self, numbers: Sequence[int]) -> None:
        """Forget events that the log does not keep any more."""
        gone = {self._drop(number) for number in numbers if number in self._objects}
        if gone:
            self.changed(gone)

    def show(self, name: str, shown: activity_pb2.Activity) -> None:
        """Put an object's worst open event into its activity, the latest of several.

        Args:
            name: the object.
            shown: its activity.
        """
        found = self._of.get(name)
        if not found:
            return
        severity, number = max((severity, number) for number, severity in found.items())
        shown.worst_event, shown.worst_severity = f"events/{number}", severity_word(severity)
        shown.open_events = len(found)

    def _put(self, number: int, name: str, severity: int) -> None:
        self._objects[number] = name
        self._of.setdefault(name, {})[number] = severity

    def _drop(self, number: int) -> str:
        name = self._objects.pop(number)
        of_object = self._of[name]
        del of_object[number]
        if not of_object:
            del self._of[name]
        return name


class InventoryFeed(Feed):
    """The feed of the inventory, which tells of open events before it shows the news."""

    def __init__(self, *, keepalive: float) -> None:
        """Make a feed that is not bound to a database yet."""
        super().__init__("inventory", keepalive=keepalive)
        self.open_events = OpenEvents()

    @override
    def publish(self, entries: Sequence[Entry]) -> None:
        """Show what has just been committed."""
        for entry in entries:
            if entry.topic == TOPIC and entry.sequence > self.head:
                self.open_events.take(event_pb2.Event.FromString(entry.body))
        super().publish(entries)
