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

__all__ = ["follow_links", "follow_storage", "forget_server"]

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
            _begin(transaction, name, server, event_types.STORAGE_LOST, f"{server} has lost {name}: {each.reason}", now)
        else:
            text = f"{name} is there again on every server that had lost it, {server} was the last"
            _end(transaction, name, server, event_types.STORAGE_BACK, text, now)
        changed.append(name)
    for name in sorted(told - set(changed)):
        # What is not reported may not have been looked at yet; what is not to be there is no loss any more.
        if _presented(transaction, name, server) is None:
            _end(transaction, name, server, event_types.STORAGE_BACK, f"{name} is not missed on {server} any more", now)
            changed.append(name)
    return changed


def follow_links(
    transaction: FeedWriter, server: str, observed: Iterable[server_pb2.ObservedLink], now: datetime
) -> None:
    """Tell of links of a server that went down, and once all of them are up again.

    Those of a network that is being made or removed are not looked at.
    """
    told = {part for (part,) in transaction.execute(_OF_OBJECT, (server,))}
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
            _begin(transaction, server, name, event_types.LINK_DOWN, text, now)
    for name in sorted(told):
        if name not in links or links[name].state == _UP:
            text = f"every link of {server} is up again, or gone with what it was for; {name} was the last"
            _end(transaction, server, name, event_types.LINK_UP, text, now)


def forget_server(transaction: Reader, server: str) -> None:
    """Forget the troubles of a server that is removed."""
    transaction.execute(_FORGET, (server, server))


def _begin(transaction: FeedWriter, name: str, part: str, kind: EventType, text: str, now: datetime) -> None:
    transaction.execute(_ADD, (name, part))
    event = event_types.new_event(kind, name, text)
    raise_event(transaction, f"{name}/{part}/{transaction.next_sequence}", event, now)


def _end(transaction: FeedWriter, name: str, part: str, kind: EventType, text: str, now: datetime) -> None:
    """End one trouble of an object; the event that all is well comes with the last of them, if the object is there."""
    transaction.execute(_END, (name, part))
    row = read_row(transaction, name)
    if row is not None and not row.deleted and transaction.execute(_OF_OBJECT, (name,)).fetchone() is None:
        event = event_types.new_event(kind, name, text)
        raise_event(transaction, f"{name}/{part}/{transaction.next_sequence}", event, now)


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
