"""Troubles of hosts: storage that a server has lost and links that are down, told once when they come and when they go.

They are found by holding what a server reports against a table of what was told, in the transaction that stores the
report. So a report that comes late, twice, or from an agent that has just started tells nothing a second time, and what
happened while nobody listened is told by the first report after it. What an agent cannot tell changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from virtyard.api.inventory.v1 import network_pb2, repository_pb2, server_pb2
from virtyard.inventory.events import raise_event
from virtyard.inventory.model import FeedWriter, Reader
from virtyard.inventory.objects import read_row, read_rows
from virtyard.kernel import event_types
from virtyard.kernel.event_types import EventType

__all__ = [
    "begin_trouble",
    "end_trouble",
    "follow_links",
    "follow_storage",
    "forget_server",
    "has_trouble",
    "links_down",
    "troubles_of",
]

_LOST = server_pb2.STORAGE_STATE_LOST
_PRESENT = server_pb2.STORAGE_STATE_PRESENT
_UP, _DOWN = server_pb2.LINK_STATE_UP, server_pb2.LINK_STATE_DOWN
_KINDS = {
    server_pb2.LINK_KIND_BRIDGE: "the bridge",
    server_pb2.LINK_KIND_UPLINK: "the uplink",
    server_pb2.LINK_KIND_TAP: "a guest's interface",
}

_OF_PART = "SELECT object FROM trouble WHERE part = ?"
_OF_OBJECT = "SELECT part FROM trouble WHERE object = ?"
_LINKS_OF = f"{_OF_OBJECT} AND instr(part, '/') = 0"  # no interface has a slash in its name
_ONE = "SELECT 1 FROM trouble WHERE object = ? AND part = ?"
_ADD = "INSERT INTO trouble (object, part) VALUES (?, ?)"
_END = "DELETE FROM trouble WHERE object = ? AND part = ?"
_FORGET = "DELETE FROM trouble WHERE object = ? OR part = ?"
_CARRIED = "SELECT source FROM relation WHERE target = ? AND kind = 'networks' AND field = 'servers'"


def follow_storage(
    transaction: FeedWriter, server: str, observed: Iterable[server_pb2.ObservedRepository], now: datetime
) -> list[str]:
    """Tell of storage that a server has lost, or has again, and return the repositories that show something else now.

    A repository that is being made or removed, or is not presented to the server any more, is no loss.
    """
    told = {name for (name,) in transaction.execute(_OF_PART, (server,))}
    states = {(each.repository, each.uid): each for each in observed}
    if not told and all(each.state != _LOST for each in states.values()):
        return []
    changed = []
    for (name, uid), each in states.items():
        news = _PRESENT if name in told else _LOST
        repository = _presented(transaction, name, server) if each.state == news else None
        if repository is None or repository.uid != uid:
            continue
        if news == _LOST:
            text = f"{server} has lost {name}: {each.reason}"
            begin_trouble(transaction, name, server, event_types.STORAGE_LOST, text, now)
        else:
            text = f"{name} is there again on every server that had lost it, {server} was the last"
            _end_storage(transaction, name, server, text, now)
        changed.append(name)
    for name in sorted(told - set(changed)):
        # What is not reported may not have been looked at yet; what is not to be there is no loss any more.
        if _presented(transaction, name, server) is None:
            _end_storage(transaction, name, server, f"{name} is not missed on {server} any more", now)
            changed.append(name)
    return changed


def follow_links(
    transaction: FeedWriter, server: str, observed: Iterable[server_pb2.ObservedLink], now: datetime
) -> None:
    """Tell of links of a server that went down, and once all of them are up again.

    Those of a network that is being made or removed are not looked at.
    """
    told = set(links_down(transaction, server))
    links = {each.interface: each for each in observed}
    if not told and all(each.state != _DOWN for each in links.values()):
        return
    networks = _carried(transaction, server)
    if networks and not links:
        return  # its agent has not looked yet
    for name, each in links.items():
        network = networks.get(each.network_uid)
        if each.state == _DOWN and name not in told and network is not None:
            what = _KINDS.get(each.kind, "an interface")
            text = f"{name} of {server}, {what} of {network}, is down"
            begin_trouble(transaction, server, name, event_types.LINK_DOWN, text, now)
    for name in sorted(told):
        if name not in links or links[name].state == _UP:
            text = f"every link of {server} is up again, or gone with what it was for; {name} was the last"
            kind = event_types.LINK_UP if len(links_down(transaction, server)) == 1 else None
            end_trouble(transaction, server, name, kind, text, now)


def forget_server(transaction: Reader, server: str) -> None:
    """Forget the troubles of a server that is removed."""
    transaction.execute(_FORGET, (server, server))


def troubles_of(reader: Reader, name: str) -> list[str]:
    """Return what is wrong with an object by what was told, as the servers that lack a repository's storage."""
    return [part for (part,) in reader.execute(_OF_OBJECT, (name,)).fetchall()]


def links_down(reader: Reader, server: str) -> list[str]:
    """Return the links of a server that were told to be down, and not up again."""
    return [part for (part,) in reader.execute(_LINKS_OF, (server,)).fetchall()]


def has_trouble(reader: Reader, name: str, part: str) -> bool:
    """Return whether a trouble of an object was told that has not ended."""
    return reader.execute(_ONE, (name, part)).fetchone() is not None


def begin_trouble(transaction: FeedWriter, name: str, part: str, kind: EventType, text: str, now: datetime) -> None:
    """Tell of a trouble of an object that was not told of yet."""
    transaction.execute(_ADD, (name, part))
    event = event_types.new_event(kind, name, text)
    raise_event(transaction, f"{name}/{part}/{transaction.next_sequence}", event, now)


def end_trouble(
    transaction: FeedWriter, name: str, part: str, kind: EventType | None, text: str, now: datetime
) -> None:
    """End one trouble of an object, and tell of it if the object is there; silently without a type."""
    transaction.execute(_END, (name, part))
    row = read_row(transaction, name)
    if kind is not None and row is not None and not row.deleted:
        event = event_types.new_event(kind, name, text)
        raise_event(transaction, f"{name}/{part}/{transaction.next_sequence}", event, now)


def _end_storage(transaction: FeedWriter, name: str, server: str, text: str, now: datetime) -> None:
    """End one loss of a repository; the event that all is well comes with the last of them."""
    kind = event_types.STORAGE_BACK if len(troubles_of(transaction, name)) == 1 else None
    end_trouble(transaction, name, server, kind, text, now)


def _presented(reader: Reader, name: str, server: str) -> repository_pb2.Repository | None:
    """Return a repository that a server is to have; None if it is not there, or not in use."""
    row = read_row(reader, name)
    if row is None or row.deleted:
        return None
    repository = repository_pb2.Repository.FromString(row.body)
    ready = repository.state == repository_pb2.REPOSITORY_STATE_READY
    return repository if ready and server in repository.servers else None


def _carried(reader: Reader, server: str) -> dict[str, str]:
    """Return the networks that a server carries and that are in use, by uid."""
    names = [name for (name,) in reader.execute(_CARRIED, (server,))]
    found = {}
    for row in read_rows(reader, names).values():
        network = network_pb2.Network.FromString(row.body)
        if not row.deleted and network.state == network_pb2.NETWORK_STATE_READY:
            found[row.uid] = row.name
    return found
